// Shapes: heaps in which an operation takes each of its ways, built on the kept loans.
#pragma once

#include <initializer_list>
#include <vector>

#include "kept.h"
#include "thole/alloc/heap_data.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc::testing {

/// Kept loans 0.. get blocks of so many units each, then some of them are freed in order. `full`:
/// what is left of the heap goes to the last kept loan. On a heap without magazines the blocks lie
/// one behind the other.
struct Shape {
  std::vector<uint32_t> units = {};
  std::vector<uint32_t> freed = {};
  bool full = false;
};

inline constexpr uint32_t kRest = kKept - 1;

inline uint64_t BytesOf(uint32_t units) { return (units - uint64_t{1}) * kUnitBytes; }

inline shm::BlockResult FreeKept(PersistentTlsfAllocator& heap, shm::Lane& lane, uint32_t index) {
  const shm::Segment& segment = lane.attachment().segment();
  KeptOf(segment)->filled[index] = 0;
  return heap.FreeLoan(lane, KeptLoan(segment, index), shm::Deadline::Never());
}

inline void Build(PersistentTlsfAllocator& heap, shm::Lane& lane, const Shape& shape) {
  const shm::Segment& segment = lane.attachment().segment();
  const auto fill = [&](uint32_t index, uint64_t size) {
    if (heap.AllocateTo(lane, KeptLoan(segment, index), size, 16, shm::Deadline::Never()) ==
        shm::BlockResult::kOk) {
      FillKept(segment, heap, index);
    }
  };
  for (uint32_t i = 0; i < shape.units.size(); ++i) fill(i, BytesOf(shape.units[i]));
  if (shape.full) fill(kRest, heap.Statistics().largest_free_bytes - kUnitBytes);
  for (uint32_t index : shape.freed) {
    static_cast<void>(FreeKept(heap, lane, index));
  }
}

}  // namespace thole::alloc::testing
