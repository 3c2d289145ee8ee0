// What every measuring program shares: clocks, a distribution of times, and the lines that
// tools/bench reads.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "thole/shm/status.h"

namespace thole::bench {

/// The value, or the end: where something failed there is nothing to report.
template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return *std::move(value);
}
inline void Must(const absl::Status& status) {
  if (!status.ok()) Must(absl::StatusOr<bool>(status));
}
/// Ends the measurement unless `ok`. Inline: it stands beside what is measured.
[[noreturn]] void Fail(const char* what);
inline void Check(bool ok, const char* what) {
  if (!ok) [[unlikely]]
    Fail(what);
}

/// CPU time of the calling thread: neighbours on the same processor are not in it.
int64_t CpuNs();

/// A counter of the processor that is cheap to read, and what one of its ticks is worth.
inline uint64_t Ticks() {
#if defined(__x86_64__)
  unsigned processor;
  return __builtin_ia32_rdtscp(&processor);
#elif defined(__aarch64__)
  uint64_t ticks;
  asm volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
  return ticks;
#endif
}
double NsPerTick();

/// Keeps the compiler from forgetting a value, or what was written where it points.
template <class T>
inline void Keep(const T& value) {
  asm volatile("" : : "g"(value) : "memory");
}

/// A distribution of ticks. Exact below 128, above that to one part in 64.
class Distribution {
 public:
  void Add(uint64_t ticks);
  uint64_t Quantile(double part) const;
  uint64_t max() const { return max_; }
  uint64_t count() const { return count_; }

 private:
  static constexpr uint32_t kStepBits = 6;
  static constexpr uint32_t kSteps = 1u << kStepBits;
  static constexpr uint32_t BinOf(uint64_t ticks);
  static constexpr uint64_t LeastOf(uint32_t bin);

  std::array<uint64_t, kSteps * (64 - kStepBits + 1)> bins_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

/// Numbers that look random and are the same in every run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {  // splitmix64
    uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((Next() >> 32) * bound >> 32); }

 private:
  uint64_t state_;
};

double Median(std::vector<double> values);

/// Prints {"metric": .., "unit": .., "samples": [..]} on a line of its own. `system` names whom
/// it was measured on, where that is not the program itself.
void Report(const char* metric, const char* unit, std::span<const double> samples,
            const char* system = nullptr);
inline void Report(const char* metric, const char* unit, double sample) {
  Report(metric, unit, std::span(&sample, 1));
}

}  // namespace thole::bench
