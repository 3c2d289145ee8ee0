#include "workloads.h"

#include <algorithm>

namespace thole::bench {

Sizes::Sizes(const Work& work, uint64_t seed) : sizes_(kSizes) {
  Random random(seed);
  const double octaves = std::log2(static_cast<double>(work.bytes_max) / work.bytes_min);
  for (uint32_t& size : sizes_) {
    const double part = static_cast<double>(random.Next() >> 11) * 0x1p-53;
    size = work.log_uniform ? static_cast<uint32_t>(work.bytes_min * std::exp2(part * octaves))
                            : work.bytes_min + random.Below(work.bytes_max - work.bytes_min + 1);
  }
}

StopWatch::StopWatch() : ns_per_tick_(NsPerTick()) {
  Distribution empty;
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t began = Ticks();
    empty.Add(Ticks() - began);
  }
  own_ticks_ = empty.Quantile(0.5);
}

Times StopWatch::TimesOf(const Distribution& distribution) const {
  const auto ns = [&](uint64_t ticks) { return static_cast<double>(ticks) * ns_per_tick_; };
  return {ns(distribution.Quantile(0.5)), ns(distribution.Quantile(0.99)),
          ns(distribution.Quantile(0.999)), ns(distribution.max())};
}

}  // namespace thole::bench
