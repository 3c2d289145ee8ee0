// Words: the only things that several processes may touch at once.
//
// A word is a lock-free atomic of 32 or 64 bits inside the segment. Every load and store of shared
// bytes that another process may touch goes through one. They cost nothing over plain accesses on
// the machines we run on, and the simulator sees each of them with its memory order.
//
//   #include <thole/shm/word.h>
//   uint64_t Read(const thole::shm::Word64& word) {
//     return word.load(std::memory_order_acquire);  // an order always cites its reason
//   }
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace thole::shm {

using Word64 = std::atomic<uint64_t>;
using Word32 = std::atomic<uint32_t>;

static_assert(Word64::is_always_lock_free && sizeof(Word64) == 8 && alignof(Word64) == 8);
static_assert(Word32::is_always_lock_free && sizeof(Word32) == 4 && alignof(Word32) == 4);
static_assert(std::has_unique_object_representations_v<Word64>);
static_assert(std::endian::native == std::endian::little, "the layout is little-endian");

/// Distance that keeps two words from sharing a cache line. A literal: the library constant depends
/// on compiler flags, and shared bytes must not.
inline constexpr size_t kCacheLine = 64;

/// Rounds up to a multiple of `step`, a power of two.
constexpr uint64_t RoundUp(uint64_t value, uint64_t step) {
  return (value + step - 1) & ~(step - 1);
}

}  // namespace thole::shm
