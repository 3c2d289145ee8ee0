// ImageShadow: what an image holds, followed store by store: a hash of it at any time, and the way
// back to how it was at a mark.
//
// Part of the simulator's runtime, as sim_core.h: never instrumented, includes nothing of thole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace thole::shm::testing {

class ImageShadow {
 public:
  /// `bytes` is a multiple of 8.
  ImageShadow(std::byte* image, uint64_t bytes);
  /// After each store to the image.
  void Update(uint64_t offset, uint64_t bytes);
  /// Of the words that are not as they were at the mark: equal bytes, equal hash.
  uint64_t hash() const { return hash_; }
  /// Comes back here from now on.
  void Mark();
  /// A hash of all bytes at the mark.
  uint64_t hash_of_mark() const { return hash_of_mark_; }
  void Rewind();
  /// Whether all stores were shown.
  bool IsTrue() const;

 private:
  struct Change {
    uint64_t word;
    uint64_t before;
  };
  std::byte* image_;
  std::vector<uint64_t> words_;
  std::vector<Change> changes_;  // since the mark, oldest first
  uint64_t hash_ = 0;
  uint64_t hash_of_mark_ = 0;
};

/// Scatters 64 bits, so that sums of the results hardly ever meet (the end of splitmix64).
inline uint64_t Scatter(uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
/// The hash of a list, by its hash so far and its next element.
inline uint64_t Append(uint64_t hash, uint64_t next) {
  return Scatter((hash ^ next) * 0x9e3779b97f4a7c15 + hash);
}

}  // namespace thole::shm::testing
