// What the answers of the heap must be, by the model of blocks; and a participant that asks it.
#pragma once

#include <string>
#include <vector>

#include "heap_model.h"
#include "machine.h"

namespace thole::proptests {

/// Words of an order: place (shelf, or the number of an own block), size, alignment. Of a reply:
/// where and how large the block is, whether its bytes are as they were written, then the heap.
enum HeapCall : uint32_t { kAllocate = kFirstOwnCall, kFree, kShrink };
enum HeapWord {
  kOffset,
  kSize,
  kIntact,
  kUsed,
  kFreeBytes,
  kHeapBytes,
  kBlocksUsed,
  kLargestBefore,
  kLargest,
  kCached,
  kShelfOffsets,  // of each place; 0 = nothing there
  kShelfSizes = kShelfOffsets + kShelf,
  kHeapWords = kShelfSizes + kShelf,
};

Subject HeapSubject();

struct HeapLaws {
  static constexpr bool kMayTakeEffectLater = false;
  static constexpr size_t kOwnMax = 20;
  HeapModel model;
  /// Shelf places with whose block somebody died: his until the repair, as one's own loans are.
  std::map<uint64_t, int> in_doubt = {};
  bool operator==(const HeapLaws&) const = default;

  bool Resolve(int life, Order& order, uint64_t fresh) const;
  std::string Accept(int life, const Order& order, const Reply& reply, bool quiet);
  std::vector<HeapLaws> Outcomes(int life, const Order& order, bool quiet) const;
  void Gone(const std::vector<int>& lives);
  bool NextOfFinish(int life, Order& order, uint64_t fresh) const;
  bool LastLook(uint64_t number, Order& order, uint64_t fresh) const;

 private:
  std::string AcceptAllocate(int life, const Order& order, const Reply& reply, bool quiet);
  std::string AcceptWhole(const Reply& reply);
};

}  // namespace thole::proptests
