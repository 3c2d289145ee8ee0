// FreeLists: the FREE blocks by size, and the two bitmap levels that find a list in O(1).
#pragma once

#include <cstdint>

#include "edit.h"
#include "heap.h"

namespace thole::alloc {

/// Where in a FREE block a request goes: `gap` units stay free before it (0 or at least a block),
/// it gets `size`, the rest behind it is 0 or at least a block.
struct Placement {
  Block block;
  uint32_t gap = 0;
  uint32_t size = 0;
};

/// Whether and where `request` fits into `block`.
std::optional<Placement> Fit(const Block& block, const Request& request) noexcept;

enum class FindResult : uint8_t { kFound, kNone, kCorrupt };

/// Under the heap's lock. The changing calls log; false = the bytes cannot be.
class FreeLists {
 public:
  FreeLists(const Heap& heap, Edit& edit) : heap_(heap), data_(heap.data()), edit_(edit) {}

  FindResult Find(const Request& request, Placement& found) const noexcept;
  [[nodiscard]] bool Unlink(const Block& block) noexcept;
  [[nodiscard]] bool Insert(uint32_t unit, uint32_t size) noexcept;
  /// Adds to the counters; differences may be negative.
  void Count(int64_t used_units, int32_t used_blocks, int32_t free_blocks) noexcept;

 private:
  FindResult NextList(SizeClass& list) const noexcept;
  FindResult Search(const Request& request, Placement& found) const noexcept;
  std::optional<Block> ReadListed(uint32_t unit, SizeClass list) const noexcept;
  void ClearBit(SizeClass list) noexcept;
  void SetBit(SizeClass list) noexcept;

  const Heap& heap_;
  HeapData& data_;
  Edit& edit_;
};

}  // namespace thole::alloc
