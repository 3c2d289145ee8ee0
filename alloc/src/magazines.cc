#include "magazines.h"

#include <algorithm>

#include "edit.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;

// Only the lane's own thread looks at its magazines while it lives.
constexpr auto kOwn = std::memory_order_relaxed;

// From this size on a magazine holds few blocks.
constexpr uint32_t kManyUnitsMax = 64;
constexpr uint32_t kFewer = 4;  // a batch of large blocks is so many times smaller

// What the magazines of one lane may hold: a small part of the heap, and not much of a cache.
constexpr uint32_t kCapUnitsMax = 65536;  // 1 MiB
constexpr uint32_t kCapUnitsMin = 64;     // 1 KiB
constexpr uint32_t kCapPart = 256;        // of the heap
// How far a magazine may grow beyond that while the heap's lock is busy.
constexpr uint32_t kOverflow = 4;

uint32_t CapUnits(const Heap& heap) {
  return std::clamp(heap.units() / kCapPart, kCapUnitsMin, kCapUnitsMax);
}

}  // namespace

uint32_t Magazines::cached_units() const noexcept {
  return CountPair::Unpack(data_.cached.load(kOwn)).units;  // own lane
}

uint32_t Magazines::BatchOf(uint32_t units) const noexcept {
  return units <= kManyUnitsMax ? batch_ : std::max(batch_ / kFewer, 1u);
}

bool Magazines::IsFull(const MagazineHead& head, const Block& block) const noexcept {
  return head.blocks >= 2 * BatchOf(block.size()) ||
         cached_units() + block.size() > CapUnits(heap_);
}

bool Magazines::CanPut(const Block& block, const shm::Word64& holder) const noexcept {
  return block.size() <= kMagazineUnitsMax &&
         heap_.view().OffsetOf(&holder) % BlockIntent::kHolderStep == 0;
}

void Magazines::Count(int64_t units, int32_t blocks) noexcept {
  CountPair cached = CountPair::Unpack(data_.cached.load(kOwn));  // own lane
  cached.units += static_cast<uint32_t>(units);
  cached.blocks += static_cast<uint32_t>(blocks);
  data_.cached.store(cached.Pack(), std::memory_order_release);  // after the head; a statistic
}

BlockResult Magazines::Take(uint32_t magazine, const Request& request, shm::Word64& holder,
                            shm::Deadline deadline) noexcept {
  shm::Word64& head_word = data_.heads[magazine];
  const uint32_t blocks = MagazineHead::Unpack(head_word.load(kOwn)).blocks;  // own lane
  if (blocks == 0) [[unlikely]]
    return TakeAndRefill(request, holder, deadline);
  const auto block = heap_.ReadCached(data_, magazine);
  if (!block) return BlockResult::kCorrupt;
  const uint32_t next = Link::Unpack(heap_.LinkOf(block->unit).load(kOwn)).next;  // own block
  const uint64_t at = heap_.view().OffsetOf(&holder) / BlockIntent::kHolderStep;
  lane_.data().block_intent.store(BlockIntent{block->unit, static_cast<uint32_t>(at)}.Pack(),
                                  std::memory_order_release);  // take.1, before all that follows
  THOLE_CRASH_POINT("alloc.take.1");
  head_word.store(MagazineHead{next, blocks - 1}.Pack(), std::memory_order_release);  // take.2
  THOLE_CRASH_POINT("alloc.take.2");
  HeaderWord word = block->word;
  word.kind = BlockKind::kUsed;
  word.slot = lane_.slot() + 1;
  block->header->word.store(word.Pack(), std::memory_order_release);  // A-a; take.3, before COMMIT
  Count(-int64_t{block->size()}, -1);
  THOLE_CRASH_POINT("alloc.take.3");
  holder.store((uint64_t{block->unit} + 1) * kUnitBytes,
               std::memory_order_release);  // take.4 COMMIT
  THOLE_CRASH_POINT("alloc.take.4");
  lane_.data().block_intent.store(0, std::memory_order_release);  // take.5, after COMMIT
  THOLE_CRASH_POINT("alloc.take.5");
  return BlockResult::kOk;
}

BlockResult Magazines::Put(const Block& block, shm::Word64& holder, uint64_t next,
                           shm::LoanData* loan, LockMode mode) noexcept {
  const uint32_t magazine = MagazineOf(block.unit, block.word);
  shm::Word64& head_word = data_.heads[magazine];
  MagazineHead head = MagazineHead::Unpack(head_word.load(kOwn));  // own lane
  if (IsFull(head, block)) [[unlikely]] {
    const uint32_t batch = BatchOf(block.size());
    if (head.blocks == 0) return heap_.Free(lane_, holder, next, loan, mode);
    const bool may_overflow = head.blocks < kOverflow * batch;
    const BlockResult flushed =
        Flush(magazine, batch, may_overflow ? LockMode{.try_only = true} : mode);
    if (flushed != BlockResult::kOk && !may_overflow) return flushed;
    head = MagazineHead::Unpack(head_word.load(kOwn));  // own lane
  }
  const uint64_t at = heap_.view().OffsetOf(&holder) / BlockIntent::kHolderStep;
  lane_.data().block_intent.store(BlockIntent{block.unit, static_cast<uint32_t>(at)}.Pack(),
                                  std::memory_order_release);  // put.1, before all that follows
  THOLE_CRASH_POINT("alloc.put.1");
  holder.store(next, std::memory_order_release);  // put.2 COMMIT
  THOLE_CRASH_POINT("alloc.put.2");
  HeaderWord word = block.word;
  word.kind = BlockKind::kCached;
  word.slot = lane_.slot() + 1;
  heap_.LinkOf(block.unit)
      .store(Link{head.first, 0}.Pack(),
             std::memory_order_release);                             // put.3, before the head
  block.header->word.store(word.Pack(), std::memory_order_release);  // put.3, before the head
  THOLE_CRASH_POINT("alloc.put.3");
  head_word.store(MagazineHead{block.unit, head.blocks + 1}.Pack(),
                  std::memory_order_release);  // put.4, after the header
  Count(block.size(), 1);
  THOLE_CRASH_POINT("alloc.put.4");
  lane_.data().block_intent.store(0, std::memory_order_release);  // put.5, after the head
  THOLE_CRASH_POINT("alloc.put.5");
  if (loan == nullptr) return BlockResult::kOk;
  for (shm::Word64* rest : {&loan->lease, &loan->where, &loan->ticket}) {
    if (rest->load(kOwn) != 0) rest->store(0, std::memory_order_release);  // put.6, after COMMIT
    THOLE_CRASH_POINT("alloc.put.6");
  }
  return BlockResult::kOk;
}

BlockResult Magazines::TakeAndRefill(const Request& request, shm::Word64& holder,
                                     shm::Deadline deadline) noexcept {
  const HeapLock lock(lane_, heap_.data().lock, {.deadline = deadline});
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.allocate.1");
  BlockResult result = heap_.AllocateLocked(lane_, request, {.holder = &holder});
  const BlockResult taken = result;
  const uint32_t batch = BatchOf(static_cast<uint32_t>(request.units));
  for (uint32_t more = 1; more < batch && result == BlockResult::kOk; ++more) {
    if (cached_units() + request.units > CapUnits(heap_)) break;
    result = heap_.AllocateLocked(lane_, request, {.magazines = &data_});
  }
  return taken;
}

BlockResult Magazines::Flush(uint32_t magazine, uint32_t blocks, LockMode mode) noexcept {
  const HeapLock lock(lane_, heap_.data().lock, mode);
  if (!lock) return lock.failure();
  shm::Word64& head_word = data_.heads[magazine];
  for (; blocks > 0; --blocks) {
    const MagazineHead head = MagazineHead::Unpack(head_word.load(kOwn));  // own lane
    if (head.blocks == 0) break;
    const auto block = heap_.ReadCached(data_, magazine);
    if (!block) return BlockResult::kCorrupt;
    THOLE_CRASH_POINT("alloc.free.1");
    const Link link = Link::Unpack(heap_.LinkOf(block->unit).load(kOwn));  // own block
    const BlockResult freed = heap_.FreeLocked(
        lane_, *block, head_word, MagazineHead{link.next, head.blocks - 1}.Pack(), nullptr, &data_);
    if (freed != BlockResult::kOk) return freed;
  }
  return BlockResult::kOk;
}

BlockResult Magazines::FlushAll(LockMode mode) noexcept {
  for (uint32_t magazine = 0; magazine < kMagazines; ++magazine) {
    while (MagazineHead::Unpack(data_.heads[magazine].load(kOwn)).blocks != 0) {  // own lane
      const BlockResult flushed = Flush(magazine, BatchOf(kManyUnitsMax), mode);
      if (flushed == BlockResult::kBusy) return flushed;
      // A chain that cannot be: its blocks are lost to the lists, the audit tells of them.
      if (flushed != BlockResult::kOk)
        data_.heads[magazine].store(0, std::memory_order_release);  // own
    }
  }
  data_.cached.store(0, std::memory_order_release);  // after the heads
  return BlockResult::kOk;
}

void Magazines::Obey(uint32_t asked) noexcept {
  if (FlushAll({.try_only = true}) == BlockResult::kBusy) return;  // again at the next call
  data_.asked.store(asked, std::memory_order_release);             // after the flush
}

}  // namespace thole::alloc
