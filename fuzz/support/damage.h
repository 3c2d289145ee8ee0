// Damage: overwriting words of a segment as the bytes of an input say, and taking it back.
//
// A patch is 11 bytes: a word, how, a value. Plain random values are nearly always refused by the
// first check, so most ways derive the new value from what stands in the segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "byte_source.h"

namespace thole::fuzz {

class Damage {
 public:
  explicit Damage(std::span<std::byte> image) : image_(image) {}
  /// One patch.
  void Overwrite(ByteSource& input);
  /// As many as the input has, at most `count_max`.
  void OverwriteAll(ByteSource& input, size_t count_max);
  /// Makes the header's checksum fit again, as a writer would that means harm.
  void FixHeader();
  /// Undoes everything, newest first. Only right where nobody else wrote to the image.
  void TakeBack();
  size_t count() const { return before_.size(); }

 private:
  struct Word {
    size_t at;
    uint64_t value;
  };
  uint64_t Load(size_t at) const;
  void Store(size_t at, uint64_t value);

  std::span<std::byte> image_;
  std::vector<Word> before_;
};

}  // namespace thole::fuzz
