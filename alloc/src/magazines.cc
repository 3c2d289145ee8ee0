#include "magazines.h"

#include "edit.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;

// How many times its batch a magazine may hold while the heap's lock is busy.
constexpr uint32_t kOverflow = 4;

// Blocks of every size are flushed by so many under one lock.
constexpr uint32_t kFlushAll = 8;

}  // namespace

BlockResult Magazines::Take(uint32_t magazine, Request request, shm::Word64& holder,
                            shm::Deadline deadline) noexcept {
  HearRequests();
  const uint64_t head = data_.heads[magazine].load(std::memory_order_relaxed);  // own lane
  if (MagazineHead::Unpack(head).blocks == 0) return TakeAndRefill(request, holder, deadline);
  return TryTake(magazine, request, holder) ? BlockResult::kOk : BlockResult::kCorrupt;
}

BlockResult Magazines::TakeAndRefill(Request request, shm::Word64& holder,
                                     shm::Deadline deadline) noexcept {
  const HeapLock lock(lane_, heap_.data().lock, {.deadline = deadline});
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.allocate.1");
  BlockResult result = heap_.AllocateLocked(lane_, request, {.holder = &holder});
  const BlockResult taken = result;
  const uint32_t batch = batches_.Of(static_cast<uint32_t>(request.units));
  for (uint32_t more = 1; more < batch && result == BlockResult::kOk; ++more) {
    if (cached_units() + request.units > heap_.cached_units_max()) break;
    result = heap_.AllocateLocked(lane_, request, {.magazines = &data_});
  }
  return taken;
}

BlockResult Magazines::Put(const Block& block, shm::LoanData& loan, LockMode mode) noexcept {
  HearRequests();
  const uint32_t magazine = MagazineOf(block.unit, block.bits);
  shm::Word64& head_word = data_.heads[magazine];
  MagazineHead head = MagazineHead::Unpack(head_word.load(std::memory_order_relaxed));  // own lane
  if (IsFull(head, block.size())) {
    if (head.blocks == 0) return heap_.Free(lane_, loan.block, 0, &loan, mode);
    const BlockResult made = MakeRoom(magazine, block.size(), mode);
    if (made != BlockResult::kOk) return made;
    head = MagazineHead::Unpack(head_word.load(std::memory_order_relaxed));  // own lane
  }
  Move(block, head, head_word, loan);
  return BlockResult::kOk;
}

// For one more block in a full magazine. While the lock is busy the magazine may grow for a while.
BlockResult Magazines::MakeRoom(uint32_t magazine, uint32_t units, LockMode mode) noexcept {
  const uint32_t batch = batches_.Of(units);
  const uint64_t head = data_.heads[magazine].load(std::memory_order_relaxed);  // own lane
  const bool may_overflow = MagazineHead::Unpack(head).blocks < kOverflow * batch;
  const BlockResult flushed =
      Flush(magazine, batch, may_overflow ? LockMode{.try_only = true} : mode);
  return may_overflow ? BlockResult::kOk : flushed;
}

void Magazines::ClearRest(shm::LoanData& loan) noexcept {
  for (shm::Word64* rest : {&loan.lease, &loan.where, &loan.ticket}) {
    if (rest->load(std::memory_order_relaxed) == 0) continue;  // own loan
    rest->store(0, std::memory_order_release);                 // put.6, after COMMIT
    THOLE_CRASH_POINT("alloc.put.6");
  }
}

BlockResult Magazines::Flush(uint32_t magazine, uint32_t blocks, LockMode mode) noexcept {
  const HeapLock lock(lane_, heap_.data().lock, mode);
  if (!lock) return lock.failure();
  shm::Word64& head_word = data_.heads[magazine];
  for (; blocks > 0; --blocks) {
    const MagazineHead head =
        MagazineHead::Unpack(head_word.load(std::memory_order_relaxed));  // own lane
    if (head.blocks == 0) break;
    const auto block = heap_.ReadCached(data_, magazine);
    if (!block) return BlockResult::kCorrupt;
    THOLE_CRASH_POINT("alloc.free.1");
    const Link link =
        Link::Unpack(heap_.LinkOf(block->unit).load(std::memory_order_relaxed));  // own block
    const BlockResult freed = heap_.FreeLocked(
        lane_, *block, head_word, MagazineHead{link.next, head.blocks - 1}.Pack(), nullptr, &data_);
    if (freed != BlockResult::kOk) return freed;
  }
  return BlockResult::kOk;
}

BlockResult Magazines::FlushAll(LockMode mode) noexcept {
  for (uint32_t magazine = 0; magazine < kMagazines; ++magazine) {
    const shm::Word64& head = data_.heads[magazine];
    const auto blocks = [&head] {
      return MagazineHead::Unpack(head.load(std::memory_order_relaxed)).blocks;  // own lane
    };
    while (blocks() != 0) {
      const BlockResult flushed = Flush(magazine, kFlushAll, mode);
      if (flushed == BlockResult::kBusy) return flushed;
      // A chain that cannot be: its blocks are lost to the lists, the audit tells of them.
      if (flushed != BlockResult::kOk)
        data_.heads[magazine].store(0, std::memory_order_release);  // own
    }
  }
  data_.cached.store(0, std::memory_order_release);  // after the heads
  return BlockResult::kOk;
}

void Magazines::Obey() noexcept {
  const uint32_t asked = heap_.data().asked.load(std::memory_order_relaxed);  // A-b
  if (FlushAll({.try_only = true}) == BlockResult::kBusy) return;             // at the next call
  data_.asked.store(asked, std::memory_order_release);                        // after the flush
}

}  // namespace thole::alloc
