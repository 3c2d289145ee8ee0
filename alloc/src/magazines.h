// Magazines: the fast path of the heap. What one lane keeps for its next requests.
//
// Bytes and invariants: magazine_data.h. Step tables: persistent_tlsf_allocator.h. A value that
// refers to heap and lane, on the stack of one call.
#pragma once

#include "heap.h"
#include "thole/shm/lane.h"

namespace thole::alloc {

/// The magazine that serves a request; kMagazines = none does.
constexpr uint32_t MagazineFor(const Request& request) {
  const uint64_t units = RoundUpToClass(request.units);
  if (units > kMagazineUnitsMax || request.align > kLineUnits) return kMagazines;
  const auto small = static_cast<uint32_t>(units);
  if (request.align == 1) return PlainMagazine(small);
  return small % kLineUnits == 0 ? LineMagazine(small) : kMagazines;
}

class Magazines {
 public:
  /// `batch`: how many small blocks a refill or flush moves at once; at least 1.
  Magazines(const Heap& heap, shm::Lane& lane, uint32_t batch) noexcept
      : heap_(heap), lane_(lane), data_(*heap.MagazinesOf(lane.data())), batch_(batch) {}

  /// Moves a block from `magazine`, which serves `request`, to `holder`; refills it when it is
  /// empty.
  shm::BlockResult Take(uint32_t magazine, const Request& request, shm::Word64& holder,
                        shm::Deadline deadline) noexcept;
  /// Moves the block that `holder` names, and that was read, to its magazine; `next` becomes its
  /// holder's value. `loan`, if given, is the loan that `holder` belongs to. Needs the lock only
  /// when the magazine is full to overflowing.
  shm::BlockResult Put(const Block& block, shm::Word64& holder, uint64_t next, shm::LoanData* loan,
                       LockMode mode) noexcept;
  /// Whether `Put` can take a block that `holder` names.
  bool CanPut(const Block& block, const shm::Word64& holder) const noexcept;
  /// Gives all blocks back when somebody asked for it since the last time.
  void HearRequests() noexcept {
    const uint32_t asked = heap_.data().asked.load(std::memory_order_relaxed);  // A-b
    if (asked != data_.asked.load(std::memory_order_relaxed)) [[unlikely]]      // own lane
      Obey(asked);
  }
  /// Gives all blocks back to the lists. kBusy: some of them are still here.
  shm::BlockResult FlushAll(LockMode mode) noexcept;
  uint32_t cached_units() const noexcept;

 private:
  uint32_t BatchOf(uint32_t units) const noexcept;
  bool IsFull(const MagazineHead& head, const Block& block) const noexcept;
  shm::BlockResult TakeAndRefill(const Request& request, shm::Word64& holder,
                                 shm::Deadline deadline) noexcept;
  shm::BlockResult Flush(uint32_t magazine, uint32_t blocks, LockMode mode) noexcept;
  void Obey(uint32_t asked) noexcept;
  void Count(int64_t units, int32_t blocks) noexcept;

  const Heap& heap_;
  shm::Lane& lane_;
  MagazinesData& data_;
  uint32_t batch_;
};

}  // namespace thole::alloc
