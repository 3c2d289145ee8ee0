// StateSet: which states of the bytes were seen before, by hash, for a tool and its children.
//
// The hash of an image is a sum over its words that are not 0, so that it can follow single
// changes. 64 bits: among a million states two different ones share a hash once in some ten million
// runs, and then one state too few is counted.
//
//   #include <thole/shm/testing/state_set.h>
//   bool Example(const std::byte* image, uint64_t bytes) {
//     thole::shm::testing::StateSet seen(1024);
//     return seen.Insert(thole::shm::testing::HashOfBytes(image, bytes));
//   }
#pragma once

#include <sys/mman.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace thole::shm::testing {

/// What a word adds to the hash of its image.
inline uint64_t HashOfWord(uint64_t index, uint64_t value) {
  if (value == 0) return 0;
  uint64_t z = value ^ (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

inline uint64_t HashOfBytes(const std::byte* bytes, uint64_t size) {
  uint64_t hash = 0;
  for (uint64_t i = 0; i < size / 8; ++i) {
    uint64_t value = 0;
    std::memcpy(&value, bytes + i * 8, 8);
    hash += HashOfWord(i, value);
  }
  return hash;
}

/// Shared with forked children, one of which inserts at a time.
class StateSet {
 public:
  /// `room` is a power of two; beyond three quarters of it states count as known.
  explicit StateSet(uint64_t room) : mask_(room - 1) {
    void* memory = mmap(nullptr, (room + 1) * 8, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || !std::has_single_bit(room)) {
      std::perror("no memory for a set of states");
      std::abort();
    }
    count_ = static_cast<uint64_t*>(memory);
    slots_ = count_ + 1;
  }
  ~StateSet() { munmap(count_, (mask_ + 2) * 8); }
  StateSet(const StateSet&) = delete;
  StateSet& operator=(const StateSet&) = delete;
  /// True for the first time.
  bool Insert(uint64_t hash) {
    if (*count_ > mask_ / 4 * 3) return false;
    if (hash == 0) hash = 1;  // 0 is an empty slot
    for (uint64_t i = hash & mask_;; i = (i + 1) & mask_) {
      if (slots_[i] == hash) return false;
      if (slots_[i] != 0) continue;
      slots_[i] = hash;
      ++*count_;
      return true;
    }
  }

 private:
  uint64_t mask_;
  uint64_t* count_;
  uint64_t* slots_;
};

}  // namespace thole::shm::testing
