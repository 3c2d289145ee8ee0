// How much memory a heap occupies for what lives in it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "workloads.h"

namespace thole::bench {

inline constexpr uint64_t kPageBytes = 4096;

/// Bytes of memory that this process has mapped and touched, shared ones included.
uint64_t ResidentBytes();

/// The most that was resident over the most that lived, in a replacement whose blocks are touched
/// on every page.
template <class Worker>
double FootprintOf(const Work& work, Worker& worker) {
  Sizes sizes(work, 1);
  Random random(100);
  std::vector<uint32_t> lives(work.live, 0);
  const uint64_t before = ResidentBytes();
  uint64_t live = 0, live_most = 0, resident_most = 0;
  const auto place = [&](uint32_t i) {
    lives[i] = sizes.Next();
    std::byte* block = worker.Allocate(i, lives[i]);
    Check(block != nullptr, "the heap is too small for this work");
    for (uint64_t at = 0; at < lives[i]; at += kPageBytes) block[at] = std::byte{1};
    block[lives[i] - 1] = std::byte{1};
    Keep(block);
    live += lives[i];
    live_most = std::max(live_most, live);
  };
  for (uint32_t i = 0; i < work.live; ++i) place(i);
  for (uint32_t i = 0; i < work.pairs; ++i) {
    const uint32_t at = random.Below(work.live);
    worker.Free(at);
    live -= lives[at];
    place(at);
    // At a new peak at any rate: a heap may give memory back when less lives.
    if (live == live_most || i % 1024 == 0)
      resident_most = std::max(resident_most, ResidentBytes());
  }
  return static_cast<double>(resident_most - std::min(before, resident_most)) /
         static_cast<double>(live_most);
}

}  // namespace thole::bench
