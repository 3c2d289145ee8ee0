// RunHeap: what a simulated run allocates, so that all of it can be put back as it was at a mark.
//
// A run that is repeated begins with the same worlds and processes each time. To make them takes
// longer than all the rest: so they are made once, and what a run did to them is undone with their
// bytes, without a destructor. For that, `operator new` takes from one region while somebody is
// inside; what is deleted there is only forgotten. Objects on the region may point to each other
// and to what does not change, nothing outside may point to what is made after the mark.
//
// Part of the simulator's runtime, as sim_core.h: never instrumented, includes nothing of thole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace thole::shm::testing {

class RunHeap {
 public:
  /// Empty, from now on; what was there is forgotten.
  static void Clear();
  /// What was taken so far; it always begins at the same address.
  static std::span<std::byte> used();
  /// `copy` is what `used` was once, and is again.
  static void Restore(std::span<const std::byte> copy);
  static void Mark();
  static void Rewind();
  static bool Contains(uint64_t address);
  /// A word there that holds an address of the run heap, null if none does.
  static const void* FindAddress(const void* begin, const void* end);
  /// Null when it is full: then the heap of the process must do.
  static void* Allocate(size_t bytes, size_t align);
};

/// Whether allocations go to the run heap. One thread, many fibers: all are inside or none is. A
/// fuzzer has other threads, which are never inside.
extern constinit thread_local bool inside_run_heap;

class InsideRunHeap {
 public:
  explicit InsideRunHeap(bool inside = true) : before_(inside_run_heap) {
    inside_run_heap = inside;
  }
  ~InsideRunHeap() { inside_run_heap = before_; }
  InsideRunHeap(const InsideRunHeap&) = delete;
  InsideRunHeap& operator=(const InsideRunHeap&) = delete;

 private:
  const bool before_;
};

/// For what the simulator itself notes while a fiber runs.
class OutsideRunHeap : InsideRunHeap {
 public:
  OutsideRunHeap() : InsideRunHeap(false) {}
};

}  // namespace thole::shm::testing
