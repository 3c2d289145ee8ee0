#include "free_lists.h"

#include <algorithm>
#include <bit>

namespace thole::alloc {
namespace {

// How many blocks are looked at one by one when no list promises a fit.
constexpr int kSearchMax = 16;

// Every word here is read under the heap's lock: L1 made the last holder's stores visible.
constexpr auto kLocked = std::memory_order_relaxed;

}  // namespace

std::optional<Placement> Fit(const Block& block, const Request& request) noexcept {
  const uint64_t payload = shm::RoundUp(uint64_t{block.unit} + 1, request.align);
  uint64_t gap = payload - 1 - block.unit;
  if (gap != 0 && gap < kBlockUnitsMin) gap += request.align;
  if (gap + request.units > block.size()) return std::nullopt;
  const uint64_t room = block.size() - gap;
  // A whole class size, so that the block is found again by the same request once it is free.
  uint64_t size = std::min(RoundUpToClass(request.units), room);
  if (room - size < kBlockUnitsMin) size = room;
  return Placement{block, static_cast<uint32_t>(gap), static_cast<uint32_t>(size)};
}

// The first list with a block from `list` on.
FindResult FreeLists::NextList(SizeClass& list) const noexcept {
  // TRUST: the maps by their width; a row bit without a column bit by the test.
  uint32_t columns =
      data_.second_level[list.row].load(kLocked) & (~uint32_t{0} << list.column);  // L1
  if (columns == 0) {
    const uint32_t rows = data_.first_level.load(kLocked) & (~uint32_t{0} << (list.row + 1));  // L1
    if (rows == 0) return FindResult::kNone;
    list.row = static_cast<uint32_t>(std::countr_zero(rows));
    if (list.row >= kRows) return FindResult::kCorrupt;
    columns = data_.second_level[list.row].load(kLocked);  // L1
    if (columns == 0) return FindResult::kCorrupt;
  }
  list.column = static_cast<uint32_t>(std::countr_zero(columns));
  return FindResult::kFound;
}

std::optional<Block> FreeLists::ReadListed(uint32_t unit, SizeClass list) const noexcept {
  const auto block = heap_.Read(unit);
  if (!block || !block->free() || ClassOf(block->size()) != list) return std::nullopt;
  return block;
}

FindResult FreeLists::Find(const Request& request, Placement& found) const noexcept {
  // In the worst case the payload's place costs the alignment and the room of a gap's header.
  const uint64_t sure = RoundUpToClass(request.units + (request.align > 1 ? request.align + 1 : 0));
  if (sure <= heap_.units()) {
    SizeClass list = ClassOf(static_cast<uint32_t>(sure));
    const FindResult result = NextList(list);
    if (result == FindResult::kCorrupt) return result;
    if (result == FindResult::kFound) {
      const uint32_t head = data_.heads[list.row][list.column].load(kLocked);  // L1
      const auto block = ReadListed(head, list);
      const auto placement = block ? Fit(*block, request) : std::nullopt;
      if (!placement) return FindResult::kCorrupt;
      found = *placement;
      return FindResult::kFound;
    }
  }
  return Search(request, found);
}

// No list holds only blocks that fit. Some of the blocks in the smaller lists may.
FindResult FreeLists::Search(const Request& request, Placement& found) const noexcept {
  int looks = kSearchMax;
  SizeClass list = ClassOf(static_cast<uint32_t>(request.units));
  while (looks > 0) {
    const FindResult result = NextList(list);
    if (result != FindResult::kFound) return result;
    uint32_t unit = data_.heads[list.row][list.column].load(kLocked);  // L1
    for (; unit != 0 && looks > 0; --looks) {
      const auto block = ReadListed(unit, list);
      if (!block) return FindResult::kCorrupt;
      if (const auto placement = Fit(*block, request)) {
        found = *placement;
        return FindResult::kFound;
      }
      unit = Link::Unpack(heap_.LinkOf(unit).load(kLocked)).next;  // L1
    }
    list = list.column + 1 < kColumns ? SizeClass{list.row, list.column + 1}
                                      : SizeClass{list.row + 1, 0};
    if (list.row == kRows) break;
  }
  return FindResult::kNone;
}

bool FreeLists::Unlink(const Block& block) noexcept {
  const SizeClass list = ClassOf(block.size());
  // TRUST: both links must lead to FREE blocks of this list that link back, or to its head.
  const Link link = Link::Unpack(heap_.LinkOf(block.unit).load(kLocked));  // L1
  if (link.next != 0) {
    if (!ReadListed(link.next, list)) return false;
    shm::Word64& word = heap_.LinkOf(link.next);
    const Link next = Link::Unpack(word.load(kLocked));  // L1
    if (next.prev != block.unit) return false;
    edit_.Set(word, Link{next.next, link.prev}.Pack());
  }
  if (link.prev != 0) {
    if (!ReadListed(link.prev, list)) return false;
    shm::Word64& word = heap_.LinkOf(link.prev);
    const Link prev = Link::Unpack(word.load(kLocked));  // L1
    if (prev.next != block.unit) return false;
    edit_.Set(word, Link{link.next, prev.prev}.Pack());
    return true;
  }
  shm::Word32& head = data_.heads[list.row][list.column];
  if (head.load(kLocked) != block.unit) return false;  // L1
  edit_.Set(head, link.next);
  if (link.next == 0) ClearBit(list);
  return true;
}

// A new block of a list stands first: it is the one most likely in the cache.
bool FreeLists::Insert(uint32_t unit, uint32_t size) noexcept {
  const SizeClass list = ClassOf(size);
  shm::Word32& head = data_.heads[list.row][list.column];
  // TRUST: a head must be a FREE block of this list without a predecessor.
  const uint32_t old = head.load(kLocked);  // L1
  // Logged like every other word: the block may be a predecessor that is FREE before the move, or
  // hold the bytes of a user who keeps them if the move is taken back.
  edit_.Set(heap_.LinkOf(unit), Link{old, 0}.Pack());
  if (old != 0) {
    if (!ReadListed(old, list)) return false;
    shm::Word64& word = heap_.LinkOf(old);
    const Link first = Link::Unpack(word.load(kLocked));  // L1
    if (first.prev != 0) return false;
    edit_.Set(word, Link{first.next, unit}.Pack());
  } else {
    SetBit(list);
  }
  edit_.Set(head, unit);
  return true;
}

void FreeLists::ClearBit(SizeClass list) noexcept {
  shm::Word32& row = data_.second_level[list.row];
  const uint32_t columns = row.load(kLocked) & ~(1u << list.column);  // L1
  edit_.Set(row, columns);
  if (columns != 0) return;
  edit_.Set(data_.first_level, data_.first_level.load(kLocked) & ~(1u << list.row));  // L1
}

void FreeLists::SetBit(SizeClass list) noexcept {
  shm::Word32& row = data_.second_level[list.row];
  const uint32_t columns = row.load(kLocked);  // L1
  edit_.Set(row, columns | 1u << list.column);
  if (columns != 0) return;
  edit_.Set(data_.first_level, data_.first_level.load(kLocked) | 1u << list.row);  // L1
}

void FreeLists::Count(int64_t used_units, int32_t used_blocks, int32_t free_blocks) noexcept {
  CountPair used = CountPair::Unpack(data_.used.load(kLocked));  // L1
  used.units += static_cast<uint32_t>(used_units);
  used.blocks += static_cast<uint32_t>(used_blocks);
  edit_.Set(data_.used, used.Pack());
  const CountPair before = CountPair::Unpack(data_.peak_and_free.load(kLocked));  // L1
  const CountPair after{std::max(before.units, used.units),
                        before.blocks + static_cast<uint32_t>(free_blocks)};
  if (after.Pack() != before.Pack()) edit_.Set(data_.peak_and_free, after.Pack());
}

}  // namespace thole::alloc
