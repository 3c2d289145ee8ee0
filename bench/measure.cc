#include "measure.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "peer.h"

namespace thole::bench {

void Fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(EXIT_FAILURE);
}

int64_t CpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

double NsPerTick() {
  constexpr int64_t kLongEnoughNs = 20'000'000;
  const int64_t began = NowNs();
  const uint64_t first = Ticks();
  int64_t took = 0;
  while (took < kLongEnoughNs) took = NowNs() - began;
  return static_cast<double>(took) / static_cast<double>(Ticks() - first);
}

// Bins of one tick up to twice kSteps, then kSteps for each doubling.
constexpr uint32_t Distribution::BinOf(uint64_t ticks) {
  if (ticks < kSteps) return static_cast<uint32_t>(ticks);
  const auto shift = static_cast<uint32_t>(std::bit_width(ticks)) - 1 - kStepBits;
  return shift * kSteps + static_cast<uint32_t>(ticks >> shift);
}

constexpr uint64_t Distribution::LeastOf(uint32_t bin) {
  if (bin < 2 * kSteps) return bin;
  const uint32_t shift = bin / kSteps - 1;
  return uint64_t{kSteps + bin % kSteps} << shift;
}

void Distribution::Add(uint64_t ticks) {
  static_assert(LeastOf(BinOf(127)) == 127 && LeastOf(BinOf(128)) == 128);
  static_assert(LeastOf(BinOf(129)) == 128 && LeastOf(BinOf(1000)) == 1000);
  static_assert(BinOf(UINT64_MAX) == kSteps * (64 - kStepBits + 1) - 1);
  ++bins_[BinOf(ticks)];
  ++count_;
  max_ = std::max(max_, ticks);
}

uint64_t Distribution::Quantile(double part) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (uint32_t bin = 0; bin < bins_.size(); ++bin) {
    seen += bins_[bin];
    if (seen >= wanted && seen != 0) return LeastOf(bin);
  }
  return 0;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Report(const char* metric, const char* unit, std::span<const double> samples,
            const char* system) {
  std::printf("{");
  if (system != nullptr) std::printf("\"system\": \"%s\", ", system);
  std::printf("\"metric\": \"%s\", \"unit\": \"%s\", \"samples\": [", metric, unit);
  for (size_t i = 0; i < samples.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", samples[i]);
  std::printf("]}\n");
}

}  // namespace thole::bench
