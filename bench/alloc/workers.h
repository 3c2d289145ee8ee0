// One or two workers, each on a processor of its own, and where they meet.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "measure.h"
#include "peer.h"
#include "thole/shm/word.h"

namespace thole::bench {

inline constexpr uint32_t kWorkersMax = 2;

/// A bare ring, one producer and one consumer, nothing safe about it: the same for every system, so
/// that it cancels out. Both sides wait until they can go on for half a ring, so that looking at a
/// clock before and after costs little.
class Ring {
 public:
  static constexpr uint64_t kCells = 1024;

  /// Puts the `number`th value. Returns the CPU time spent on waiting.
  int64_t Push(uint64_t number, uint64_t value);
  /// Gets the `number`th value of `numbers`. The same.
  int64_t Pop(uint64_t number, uint64_t numbers, uint64_t& value);

 private:
  static constexpr uint64_t kEnough = kCells / 2;

  alignas(shm::kCacheLine) std::atomic<uint64_t> pushed_{0};
  alignas(shm::kCacheLine) std::atomic<uint64_t> popped_{0};
  alignas(shm::kCacheLine) uint64_t pushed_seen_ = 0;  // the consumer's
  alignas(shm::kCacheLine) uint64_t popped_seen_ = 0;  // the producer's
  uint64_t cells_[kCells] = {};
};

/// Quantiles of a call in nanoseconds.
struct Times {
  double p50, p99, p999, max;
};

/// What a worker found out.
struct Outcome {
  double wall_ns;
  double cpu_ns;  // waiting for the other worker is not in it
  Times allocate;
  Times free;
};

/// In memory that fork shares.
struct Meeting {
  std::atomic<uint32_t> arrived{0};
  Outcome outcomes[kWorkersMax] = {};
  Ring ring;

  /// Waits for the other worker. Once.
  void Wait(uint32_t workers);
};

/// Runs `work(index)` for each worker, this thread being number 0; the other one is a forked
/// process or a thread. Whoever fails ends the program.
void RunWorkers(uint32_t workers, bool processes, const std::function<void(uint32_t)>& work);

}  // namespace thole::bench
