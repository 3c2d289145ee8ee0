// HostilePeer: somebody who may write overwrites words of the image between two accesses.
//
// It aims: mostly at the word that is about to be accessed, or at one that lately was, with values
// that are likely to be believed - offsets, small numbers, what another word holds, one bit off.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace thole::shm::testing {

class HostilePeer {
 public:
  HostilePeer(std::byte* image, uint64_t bytes) : image_(image), words_(bytes / 8) {}

  /// A new run: how often it strikes follows from the seed as well.
  void Begin(uint64_t seed);
  /// Before an access at `offset`. Returns whether a word was overwritten.
  bool Strike(uint64_t offset);
  uint64_t where() const { return last_ * 8; }
  uint64_t value() const;

 private:
  uint64_t Random(uint64_t limit);
  uint64_t ValueFor(uint64_t old);
  uint64_t Get(uint64_t word) const;
  void Set(uint64_t word, uint64_t value);

  std::byte* image_;
  uint64_t words_;
  uint64_t random_ = 0;
  uint64_t one_in_ = 1;
  uint64_t left_ = 0;
  uint64_t last_ = 0;
  std::array<uint64_t, 64> recent_{};  // words
  uint64_t seen_ = 0;
};

}  // namespace thole::shm::testing
