// Allocate, Free, Shrink, Grow: the moves. Step tables: persistent_tlsf_allocator.h.
#include <algorithm>
#include <bit>

#include "edit.h"
#include "free_lists.h"
#include "heap.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;

constexpr uint64_t FreeWord(uint32_t unit, uint32_t size) {
  return HeaderWord{size, BlockKind::kFree, 0, 0, 0, HeaderCheck(unit, size)}.Pack();
}

// log2 of the alignment, less that of a unit, as far as 4 bits go.
uint32_t AlignField(uint64_t align_units) {
  return std::min<uint32_t>(static_cast<uint32_t>(std::countr_zero(align_units)), 15);
}

// The block behind `block`, if it is FREE. False = its header cannot be.
bool FreeSuccessor(const Heap& heap, const Block& block, std::optional<Block>& successor) {
  // TRUST: end() is at most the sentinel; the successor must say what lies before it.
  const uint32_t end = block.end();
  if (heap.HeaderAt(end)->prev.load(std::memory_order_relaxed) != block.size()) return false;  // L1
  if (end == heap.sentinel()) return true;
  successor = heap.Read(end);
  if (!successor) return false;
  if (!successor->free()) successor.reset();
  return true;
}

// The block before `block`, if it is FREE. False = its header cannot be.
bool FreePredecessor(const Heap& heap, const Block& block, std::optional<Block>& predecessor) {
  // TRUST: prev by the room before the block, and by the size of what is there.
  const uint32_t prev = block.header->prev.load(std::memory_order_relaxed);  // L1
  if (block.unit == heap.first()) return prev == 0;
  if (prev == 0 || prev > block.unit - heap.first()) return false;
  predecessor = heap.Read(block.unit - prev);
  if (!predecessor || predecessor->size() != prev) return false;
  if (!predecessor->free()) predecessor.reset();
  return true;
}

// Cuts what the request does not need off both ends of an unlinked block. The headers of new blocks
// lie in free bytes: nothing is lost if they are written and the move is taken back.
bool Carve(const Heap& heap, Edit& edit, FreeLists& lists, const Placement& place,
           const HeaderWord& word) {
  const Block& whole = place.block;
  const uint32_t unit = whole.unit + place.gap;
  const uint32_t end = unit + place.size;
  const uint32_t tail = whole.end() - end;
  if (place.gap != 0) {
    edit.Set(whole.header->word, FreeWord(whole.unit, place.gap));
    if (!lists.Insert(whole.unit, place.gap)) return false;
    heap.HeaderAt(unit)->prev.store(place.gap, std::memory_order_release);  // before COMMIT
  }
  if (tail != 0) {
    BlockHeaderData* header = heap.HeaderAt(end);
    header->word.store(FreeWord(end, tail), std::memory_order_release);  // before COMMIT
    header->prev.store(place.size, std::memory_order_release);           // before COMMIT
    edit.Set(heap.HeaderAt(whole.end())->prev, tail);
    if (!lists.Insert(end, tail)) return false;
  } else if (place.gap != 0) {
    edit.Set(heap.HeaderAt(end)->prev, place.size);
  }
  // Logged also where the bytes were free, so that no rolled back block keeps a header that says
  // USED.
  edit.Set(heap.HeaderAt(unit)->word, word.Pack());
  return true;
}

// Takes the FREE neighbours of `block` out of their lists. `joined` becomes the range of all three.
bool JoinNeighbours(const Heap& heap, Edit& edit, FreeLists& lists, const Block& block,
                    Block& joined, int32_t& neighbours) {
  std::optional<Block> successor;
  std::optional<Block> predecessor;
  if (!FreeSuccessor(heap, block, successor)) return false;
  if (!FreePredecessor(heap, block, predecessor)) return false;
  joined = block;
  if (successor) {
    if (!lists.Unlink(*successor)) return false;
    joined.bits += successor->size();  // its size
    ++neighbours;
  }
  if (predecessor) {
    if (!lists.Unlink(*predecessor)) return false;
    // What is inside of a free block is no block: a second free of it is refused.
    edit.Set(block.header->word, uint64_t{0});
    joined.bits += predecessor->size();  // its size
    joined.unit = predecessor->unit;
    joined.header = predecessor->header;
    ++neighbours;
  }
  return true;
}

void ClearLoan(Edit& edit, shm::LoanData& loan) {
  for (shm::Word64* word : {&loan.lease, &loan.ticket, &loan.where}) {
    if (word->load(std::memory_order_relaxed) != 0) edit.Set(*word, uint64_t{0});  // own loan
  }
}

// Adds to what the magazines of a lane hold; differences may be negative.
void CountCached(Edit& edit, MagazinesData& magazines, int64_t units, int32_t blocks) {
  CountPair cached = CountPair::Unpack(magazines.cached.load(std::memory_order_relaxed));  // own
  cached.units += static_cast<uint32_t>(units);
  cached.blocks += static_cast<uint32_t>(blocks);
  edit.Set(magazines.cached, cached.Pack());
}

// False: no magazine takes a block of that size.
bool HandOver(const Heap& heap, Edit& edit, const Receiver& receiver, uint32_t unit,
              const HeaderWord& word) {
  if (receiver.magazines == nullptr) {
    edit.Set(*receiver.holder, (uint64_t{unit} + 1) * kUnitBytes);
    return true;
  }
  const uint32_t magazine = MagazineOf(unit, word.Pack());
  if (magazine == kMagazines) return false;
  shm::Word64& head_word = receiver.magazines->heads[magazine];
  const MagazineHead head =
      MagazineHead::Unpack(head_word.load(std::memory_order_relaxed));  // own lane
  // Logged: until the commit it is the link of a FREE block.
  edit.Set(heap.LinkOf(unit), Link{head.first, 0}.Pack());
  edit.Set(head_word, MagazineHead{unit, head.blocks + 1}.Pack());
  CountCached(edit, *receiver.magazines, word.size, 1);
  return true;
}

}  // namespace

bool EverFits(const Heap& heap, const Request& request) noexcept {
  if (request.units > heap.units() || request.align > heap.sentinel()) return false;
  Block whole;
  whole.unit = heap.first();
  whole.bits = heap.units();
  return Fit(whole, request).has_value();
}

BlockResult Heap::AllocateLocked(shm::Lane& lane, Request request,
                                 Receiver receiver) const noexcept {
  Edit edit(lane, kAllocateWords);
  FreeLists lists(*this, edit);
  Placement place;
  const FindResult found = lists.Find(request, place);
  if (found == FindResult::kNone) return BlockResult::kFull;
  if (found == FindResult::kCorrupt || !lists.Unlink(place.block)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.allocate.2");
  const uint32_t unit = place.block.unit + place.gap;
  const HeaderWord word{place.size,
                        receiver.holder == nullptr ? BlockKind::kCached : BlockKind::kUsed,
                        lane.slot() + 1,
                        AlignField(request.align),
                        0,
                        HeaderCheck(unit, place.size)};
  if (!Carve(*this, edit, lists, place, word)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.allocate.3");
  const bool tail = place.gap + place.size < place.block.size();
  lists.Count(place.size, 1, (place.gap != 0 ? 1 : 0) + (tail ? 1 : 0) - 1);
  if (!HandOver(*this, edit, receiver, unit, word)) return BlockResult::kFull;
  THOLE_CRASH_POINT("alloc.allocate.4");
  edit.Commit();  // allocate.5 COMMIT
  THOLE_CRASH_POINT("alloc.allocate.5");
  return BlockResult::kOk;
}

BlockResult Heap::Allocate(shm::Lane& lane, shm::Word64& holder, Request request,
                           shm::Deadline deadline) const noexcept {
  const HeapLock lock(lane, data().lock, {.deadline = deadline});
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.allocate.1");
  return AllocateLocked(lane, request, {.holder = &holder});
}

BlockResult Heap::FreeLocked(shm::Lane& lane, const Block& block, shm::Word64& holder,
                             uint64_t next, shm::LoanData* loan,
                             MagazinesData* magazines) const noexcept {
  Edit edit(lane, kFreeWords);
  FreeLists lists(*this, edit);
  Block joined;
  int32_t neighbours = 0;
  if (!JoinNeighbours(*this, edit, lists, block, joined, neighbours)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.free.2");
  edit.Set(joined.header->word, FreeWord(joined.unit, joined.size()));
  if (neighbours != 0) edit.Set(HeaderAt(joined.end())->prev, joined.size());
  if (!lists.Insert(joined.unit, joined.size())) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.free.3");
  lists.Count(-int64_t{block.size()}, -1, 1 - neighbours);
  edit.Set(holder, next);
  if (loan != nullptr) ClearLoan(edit, *loan);
  if (magazines != nullptr) CountCached(edit, *magazines, -int64_t{block.size()}, -1);
  THOLE_CRASH_POINT("alloc.free.4");
  edit.Commit();  // free.5 COMMIT
  THOLE_CRASH_POINT("alloc.free.5");
  return BlockResult::kOk;
}

BlockResult Heap::Free(shm::Lane& lane, shm::Word64& holder, uint64_t next, shm::LoanData* loan,
                       LockMode mode) const noexcept {
  const HeapLock lock(lane, data().lock, mode);
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.free.1");
  const auto block = ReadUsed(holder.load(std::memory_order_relaxed));  // the caller's own word
  if (!block) return BlockResult::kInvalid;
  return FreeLocked(lane, *block, holder, next, loan, nullptr);
}

BlockResult Heap::Shrink(shm::Lane& lane, const shm::Word64& holder, uint64_t size_bytes,
                         shm::Deadline deadline) const noexcept {
  const uint64_t offset = holder.load(std::memory_order_relaxed);  // the caller's own word
  const auto block = ReadUsed(offset);  // only its owner changes it: no lock needed to look
  const uint64_t needed = UnitsFor(size_bytes);
  if (size_bytes == 0 || !block || needed > block->size()) return BlockResult::kInvalid;
  const uint64_t kept = RoundUpToClass(needed);
  if (kept + kBlockUnitsMin > block->size()) return BlockResult::kOk;

  const HeapLock lock(lane, data().lock, {.deadline = deadline});
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.shrink.1");
  Edit edit(lane, kShrinkWords);
  FreeLists lists(*this, edit);
  std::optional<Block> successor;
  if (!FreeSuccessor(*this, *block, successor)) return BlockResult::kCorrupt;
  if (successor && !lists.Unlink(*successor)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.shrink.2");
  HeaderWord word = block->word();
  word.size = static_cast<uint32_t>(kept);
  word.check = HeaderCheck(block->unit, word.size);
  edit.Set(block->header->word, word.Pack());
  // The tail's bytes are the user's until the commit: its header is logged, too.
  const uint32_t unit = block->unit + word.size;
  const uint32_t end = successor ? successor->end() : block->end();
  BlockHeaderData* tail = HeaderAt(unit);
  edit.Set(tail->word, FreeWord(unit, end - unit));
  edit.Set(tail->prev, word.size);
  edit.Set(HeaderAt(end)->prev, end - unit);
  if (!lists.Insert(unit, end - unit)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.shrink.3");
  lists.Count(int64_t{word.size} - block->size(), 0, successor ? 0 : 1);
  edit.Commit();  // shrink.4 COMMIT
  THOLE_CRASH_POINT("alloc.shrink.4");
  return BlockResult::kOk;
}

BlockResult Heap::Grow(shm::Lane& lane, const shm::Word64& holder, uint64_t size_bytes,
                       shm::Deadline deadline) const noexcept {
  const auto block = ReadUsed(holder.load(std::memory_order_relaxed));  // the caller's own word
  if (size_bytes == 0 || !block) return BlockResult::kInvalid;
  const uint64_t needed = UnitsFor(size_bytes);
  if (needed <= block->size()) return BlockResult::kOk;
  if (needed > sentinel_ - block->unit) return BlockResult::kTooLarge;

  const HeapLock lock(lane, data().lock, {.deadline = deadline});
  if (!lock) return lock.failure();
  THOLE_CRASH_POINT("alloc.grow.1");
  std::optional<Block> successor;
  if (!FreeSuccessor(*this, *block, successor)) return BlockResult::kCorrupt;
  if (!successor || needed > successor->end() - block->unit) return BlockResult::kFull;
  Edit edit(lane, kGrowWords);
  FreeLists lists(*this, edit);
  if (!lists.Unlink(*successor)) return BlockResult::kCorrupt;
  THOLE_CRASH_POINT("alloc.grow.2");
  const uint32_t all = successor->end() - block->unit;
  HeaderWord word = block->word();
  word.size = static_cast<uint32_t>(std::min<uint64_t>(RoundUpToClass(needed), all));
  if (all - word.size < kBlockUnitsMin) word.size = all;
  word.check = HeaderCheck(block->unit, word.size);
  edit.Set(block->header->word, word.Pack());
  const uint32_t rest = all - word.size;
  edit.Set(HeaderAt(successor->end())->prev, rest != 0 ? rest : word.size);
  if (rest != 0) {
    // May lie on the successor's link, which a rollback needs: logged, although its bytes are free.
    const uint32_t unit = block->unit + word.size;
    edit.Set(HeaderAt(unit)->word, FreeWord(unit, rest));
    edit.Set(HeaderAt(unit)->prev, word.size);
    if (!lists.Insert(unit, rest)) return BlockResult::kCorrupt;
  }
  THOLE_CRASH_POINT("alloc.grow.3");
  lists.Count(int64_t{word.size} - block->size(), 0, rest != 0 ? 0 : -1);
  edit.Commit();  // grow.4 COMMIT
  THOLE_CRASH_POINT("alloc.grow.4");
  return BlockResult::kOk;
}

}  // namespace thole::alloc
