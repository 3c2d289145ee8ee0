// The worker of a system whose blocks are named by pointers. Such a heap has
//
//   void* Allocate(uint64_t bytes);  // null when there is no room
//   void Free(void* block);
//   uint64_t OffsetOf(void* block);  // the same in every process
//   void* At(uint64_t offset);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "options.h"

namespace thole::bench {

template <class Heap>
class PointerWorker {
 public:
  PointerWorker(Heap& heap, uint32_t) : heap_(heap), blocks_(kLiveMax) {}

  std::byte* Allocate(uint32_t place, uint64_t bytes) {
    blocks_[place] = heap_.Allocate(bytes);
    return static_cast<std::byte*>(blocks_[place]);
  }
  void Free(uint32_t place) { heap_.Free(blocks_[place]); }
  uint64_t Give(uint32_t place) { return heap_.OffsetOf(blocks_[place]); }
  void Accept(uint32_t place, uint64_t given) { blocks_[place] = heap_.At(given); }

 private:
  Heap& heap_;
  std::vector<void*> blocks_;
};

}  // namespace thole::bench
