// Untrusted<T>: a number read from the segment that nobody has checked yet.
//
// Shared bytes are testimony, not fact. What locates, indexes, sizes or bounds a loop stays wrapped
// until one of the checks below hands out a plain value.
//
//   #include <thole/shm/untrusted.h>
//   bool Use(thole::shm::Untrusted<uint32_t> index, int (&table)[8], int* out) {
//     const auto checked = index.Below(8);
//     if (!checked) return false;
//     *out = table[*checked];
//     return true;
//   }
#pragma once

#include <concepts>
#include <optional>

namespace thole::shm {

/// A value; thread-safe; no cost. `T` is an unsigned integer.
template <std::unsigned_integral T>
class Untrusted {
 public:
  constexpr explicit Untrusted(T raw) : raw_(raw) {}

  /// The value if it is smaller than `limit`.
  constexpr std::optional<T> Below(T limit) const {
    return raw_ < limit ? std::optional<T>(raw_) : std::nullopt;
  }
  /// The value if it lies in [low, high].
  constexpr std::optional<T> Within(T low, T high) const {
    return raw_ >= low && raw_ <= high ? std::optional<T>(raw_) : std::nullopt;
  }
  /// The value for comparing, printing and handing on to another check; never for locating.
  constexpr T raw() const { return raw_; }

 private:
  T raw_;
};

}  // namespace thole::shm
