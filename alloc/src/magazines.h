// Magazines: the fast path of the heap. What one lane keeps for its next requests.
//
// Bytes and invariants: magazine_data.h. Step tables: persistent_tlsf_allocator.h. The two moves
// that need no lock are inline: each of their instructions is paid by every message.
#pragma once

#include "heap.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/lane.h"

namespace thole::alloc {

/// Which magazine serves a request; kMagazines = none.
constexpr uint32_t MagazineFor(Request request) {
  if (request.units > kMagazineUnitsMax) return kMagazines;
  const auto units = static_cast<uint32_t>(request.units);
  if (request.align == 1) return PlainMagazine(static_cast<uint32_t>(RoundUpToClass(units)));
  return request.align == kLineUnits ? LineMagazine(units) : kMagazines;
}
static_assert(MagazineFor({65, 1}) == PlainMagazine(66) && MagazineFor({66, 1}) == 65);

/// How many blocks a refill or a flush moves, by their size. A value.
class Batches {
 public:
  explicit constexpr Batches(uint32_t small) : small_(small) {}
  constexpr uint32_t Of(uint32_t units) const {
    return units <= kManyUnitsMax ? small_ : std::max(small_ / kFewer, 1u);
  }

 private:
  static constexpr uint32_t kManyUnitsMax = 64;  // from this size on a magazine holds few blocks
  static constexpr uint32_t kFewer = 4;
  uint32_t small_;
};

/// A value that refers to heap and lane, on the stack of one call.
class Magazines {
 public:
  Magazines(const Heap& heap, shm::Lane& lane, Batches batches) noexcept
      : heap_(heap), lane_(lane), data_(heap.MagazinesOf(lane.data())), batches_(batches) {}

  /// Whether the block intent can name such a holder.
  bool CanName(const shm::Word64& holder) const noexcept {
    return heap_.view().OffsetOf(&holder) % BlockIntent::kHolderStep == 0;
  }
  /// Moves the first block of `magazine`, which serves `request`, to `holder`. False: there is
  /// none, or something else comes first; `Take` knows.
  bool TryTake(uint32_t magazine, Request request, shm::Word64& holder) noexcept;
  /// The same on every way; refills an empty magazine.
  shm::BlockResult Take(uint32_t magazine, Request request, shm::Word64& holder,
                        shm::Deadline deadline) noexcept;
  /// Moves a block of up to kMagazineUnitsMax that `loan` holds, and that was read, to its
  /// magazine, and empties the loan. False: the magazine is full, or something else comes first;
  /// `Put` knows.
  bool TryPut(const Block& block, shm::LoanData& loan) noexcept;
  /// The same on every way. Needs the lock only when the magazine is full to overflowing.
  shm::BlockResult Put(const Block& block, shm::LoanData& loan, LockMode mode) noexcept;
  /// Gives all blocks back when somebody asked for it since the last time.
  void HearRequests() noexcept {
    if (IsAsked()) [[unlikely]]
      Obey();
  }
  /// Gives all blocks back to the lists. kBusy: some of them are still here.
  shm::BlockResult FlushAll(LockMode mode) noexcept;
  uint32_t cached_units() const noexcept {
    return CountPair::Unpack(data_.cached.load(kOwn)).units;  // own lane
  }

 private:
  // Only the lane's own thread looks at its magazines while it lives.
  static constexpr auto kOwn = std::memory_order_relaxed;

  // TRUST: whether a first block is one and is what was asked for.
  static bool Serves(const Block& block, Request request) noexcept {
    return block.kind() == BlockKind::kCached && block.size() >= request.units &&
           block.size() <= kMagazineUnitsMax && ((block.unit + 1) & (request.align - 1)) == 0;
  }
  bool IsAsked() const noexcept {
    return heap_.data().asked.load(std::memory_order_relaxed) !=  // A-b
           data_.asked.load(kOwn);                                // own lane
  }
  bool IsFull(const MagazineHead& head, uint32_t units) const noexcept {
    return head.blocks >= 2 * batches_.Of(units) ||
           cached_units() + units > heap_.cached_units_max();
  }
  // Before all that follows, and after it.
  void NameIntent(uint32_t unit, const shm::Word64& holder) noexcept {
    const uint64_t at = heap_.view().OffsetOf(&holder) / BlockIntent::kHolderStep;
    lane_.data().block_intent.store(BlockIntent{unit, static_cast<uint32_t>(at)}.Pack(),
                                    std::memory_order_release);  // take.1, put.1
  }
  void ClearIntent() noexcept {
    lane_.data().block_intent.store(0, std::memory_order_release);  // take.5, put.5
  }
  void AddCached(uint64_t counts) noexcept {
    data_.cached.store(data_.cached.load(kOwn) + counts,  // own lane
                       std::memory_order_release);        // after the head; a statistic
  }

  void Move(const Block& block, const MagazineHead& head, shm::Word64& head_word,
            shm::LoanData& loan) noexcept;
  [[gnu::noinline]] static void ClearRest(shm::LoanData& loan) noexcept;
  shm::BlockResult TakeAndRefill(Request request, shm::Word64& holder,
                                 shm::Deadline deadline) noexcept;
  shm::BlockResult MakeRoom(uint32_t magazine, uint32_t units, LockMode mode) noexcept;
  shm::BlockResult Flush(uint32_t magazine, uint32_t blocks, LockMode mode) noexcept;
  void Obey() noexcept;

  const Heap& heap_;
  shm::Lane& lane_;
  MagazinesData& data_;
  Batches batches_;
};

[[gnu::always_inline]] inline bool Magazines::TryTake(uint32_t magazine, Request request,
                                                      shm::Word64& holder) noexcept {
  shm::Word64& head_word = data_.heads[magazine];
  const MagazineHead head = MagazineHead::Unpack(head_word.load(kOwn));  // own lane
  if (head.blocks == 0 || IsAsked()) [[unlikely]]
    return false;
  const auto block = heap_.Read(head.first);
  if (!block || !Serves(*block, request)) [[unlikely]]
    return false;
  const uint32_t next = Link::Unpack(heap_.LinkOf(block->unit).load(kOwn)).next;  // own block
  NameIntent(block->unit, holder);
  THOLE_CRASH_POINT("alloc.take.1");
  head_word.store(MagazineHead{next, head.blocks - 1}.Pack(),
                  std::memory_order_release);  // take.2, after take.1
  THOLE_CRASH_POINT("alloc.take.2");
  block->header->word.store(WithKind(block->bits, BlockKind::kUsed, lane_.slot()),
                            std::memory_order_release);  // A-a; take.3, before COMMIT
  AddCached(-CountPair{block->size(), 1}.Pack());
  THOLE_CRASH_POINT("alloc.take.3");
  holder.store((uint64_t{block->unit} + 1) * kUnitBytes,
               std::memory_order_release);  // take.4 COMMIT
  THOLE_CRASH_POINT("alloc.take.4");
  ClearIntent();
  THOLE_CRASH_POINT("alloc.take.5");
  return true;
}

[[gnu::always_inline]] inline bool Magazines::TryPut(const Block& block,
                                                     shm::LoanData& loan) noexcept {
  shm::Word64& head_word = data_.heads[MagazineOf(block.unit, block.bits)];
  const MagazineHead head = MagazineHead::Unpack(head_word.load(kOwn));  // own lane
  if (IsFull(head, block.size()) || IsAsked()) [[unlikely]]
    return false;
  Move(block, head, head_word, loan);
  return true;
}

[[gnu::always_inline]] inline void Magazines::Move(const Block& block, const MagazineHead& head,
                                                   shm::Word64& head_word,
                                                   shm::LoanData& loan) noexcept {
  NameIntent(block.unit, loan.block);
  THOLE_CRASH_POINT("alloc.put.1");
  loan.block.store(0, std::memory_order_release);  // put.2 COMMIT
  THOLE_CRASH_POINT("alloc.put.2");
  heap_.LinkOf(block.unit)
      .store(Link{head.first, 0}.Pack(), std::memory_order_release);  // put.3, before the head
  block.header->word.store(WithKind(block.bits, BlockKind::kCached, lane_.slot()),
                           std::memory_order_release);  // put.3, before the head
  THOLE_CRASH_POINT("alloc.put.3");
  head_word.store(MagazineHead{block.unit, head.blocks + 1}.Pack(),
                  std::memory_order_release);  // put.4, after the header
  AddCached(CountPair{block.size(), 1}.Pack());
  THOLE_CRASH_POINT("alloc.put.4");
  ClearIntent();
  THOLE_CRASH_POINT("alloc.put.5");
  const uint64_t rest = loan.lease.load(kOwn) | loan.where.load(kOwn) |  // own loan
                        loan.ticket.load(kOwn);                          // own loan
  if (rest != 0) [[unlikely]]
    ClearRest(loan);
}

}  // namespace thole::alloc
