// Fiber: a second stack in the same thread; switching costs a few nanoseconds.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) || defined(THOLE_FIBER_UCONTEXT)
#define THOLE_FIBER_IS_UCONTEXT 1
#include <ucontext.h>
#endif

namespace thole::shm::testing {

/// Where a stack of execution stands while another one runs.
struct FiberPlace {
#ifdef THOLE_FIBER_IS_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
};

/// Saves the present place in `from` and goes on at `to`.
void SwitchFiber(FiberPlace& from, FiberPlace& to);

/// A stack with a guard page. It may be started anew at any time: what was on it is forgotten.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  /// The next switch to `place()` calls `entry`, which must never return.
  void Start(void (*entry)());
  FiberPlace& place() { return place_; }

 private:
  static constexpr size_t kStackBytes = 512 << 10;
  char* stack_;
  FiberPlace place_;
};

}  // namespace thole::shm::testing
