// What a program of this folder is asked to measure.
//
//   alloc_bench_SYSTEM WORK [--processes 1|2] [--mode MODE] [--batch N] [--quick]
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace thole::bench {

enum class Mode { kThroughput, kLatency, kFootprint, kRecovery };

/// A workload; README.md describes them.
struct Work {
  std::string_view name;
  uint32_t live;        // blocks that a worker holds at once
  uint32_t bytes_min;   // sizes of blocks
  uint32_t bytes_max;   //
  bool log_uniform;     // each doubling of the size is as frequent; else each size
  uint32_t pairs;       // allocations, and frees, that are measured
  uint64_t heap_bytes;  // of a system that wants to know
};
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr Work kWorks[] = {
    {"pairs", 1, 64, 64, false, 3'000'000, 64 * kMiB},
    {"small", 10'000, 16, 4096, false, 300'000, 192 * kMiB},
    {"all-sizes", 1'000, 16, 1 << 20, true, 50'000, 768 * kMiB},
    {"hand-over", 1, 16, 1024, false, 600'000, 64 * kMiB},
};
inline constexpr uint32_t kLiveMax = 10'000;

struct Options {
  Work work = kWorks[0];
  uint32_t processes = 1;
  Mode mode = Mode::kThroughput;
  uint32_t batch = 8;  // thole: HeapOptions::batch
  bool all = false;    // every work in every mode
  bool quick = false;  // see that it works: no figure of such a run is worth anything
};

/// The same with less of everything when only a quick look is wanted.
inline Options Scaled(Options options) {
  if (!options.quick) return options;
  options.work.pairs /= 200;
  options.work.live = (options.work.live + 9) / 10;
  options.work.heap_bytes = std::max(options.work.heap_bytes / 2, 32 * kMiB);
  return options;
}

/// Ends the program with a usage text when the words are not understood.
Options ParseOptions(int argc, char** argv);

}  // namespace thole::bench
