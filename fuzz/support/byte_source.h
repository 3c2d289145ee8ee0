// ByteSource: an input as a row of decisions. Past its end every decision is 0, so that each input,
// also the empty one, is a program.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

namespace thole::fuzz {

class ByteSource {
 public:
  ByteSource(const uint8_t* data, size_t size) : rest_(data, size) {}
  explicit ByteSource(std::span<const uint8_t> bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  size_t left() const { return rest_.size(); }

  /// The next bytes as a little-endian number.
  template <class T>
  T Number() {
    static_assert(std::is_integral_v<T>);
    T value{};
    const std::span<const uint8_t> bytes = Bytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  uint8_t Byte() { return Number<uint8_t>(); }
  /// 0 .. limit - 1, from as few bytes as it takes: what they mean stays the same under mutation.
  uint64_t Below(uint64_t limit) {
    if (limit <= 1) return 0;
    if (limit <= 0x100) return Byte() % limit;
    return (limit <= 0x1'0000 ? Number<uint16_t>() : Number<uint64_t>()) % limit;
  }
  bool Chance(uint64_t one_in) { return Below(one_in) == 1; }
  /// Sizes of all magnitudes: numbers around powers of two are as likely as small ones.
  uint64_t Size(uint32_t bits_max) {
    const uint64_t magnitude = Below(bits_max + 1);
    const uint64_t power = uint64_t{1} << std::min<uint64_t>(magnitude, 63);
    return power - 1 + Below(std::min<uint64_t>(power, 0x1'0000));
  }
  /// Up to `count` bytes.
  std::span<const uint8_t> Bytes(size_t count) {
    const std::span<const uint8_t> bytes = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }
  /// A text of a length that the input says, up to `length_max`.
  std::string Text(size_t length_max) {
    const std::span<const uint8_t> bytes = Bytes(Below(length_max + 1));
    return {bytes.begin(), bytes.end()};
  }
  std::span<const uint8_t> Rest() { return Bytes(rest_.size()); }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace thole::fuzz
