// The trap: stops a process at a random instruction inside a call of the library.
//
// A call is a microsecond of each millisecond, so stopping at random moments hardly ever hits one.
// The processor's watchpoint does: it stops the process when it stores to the `in_call` word of one
// of its lanes. From there it takes a random number of steps, an instruction each. What is killed
// then dies at any instruction of any call. Needs ptrace of one's own children, on x86-64.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <random>

#include "demo/aim.h"
#include "thole/shm/segment.h"

namespace thole::cli::demo {

enum class TrapResult {
  kInside,       ///< it is stopped inside a call
  kMissed,       ///< it came into none in time, or ended
  kUnsupported,  ///< this system does not let us; nothing was changed
};

/// To be called by the thread that started the process, which is traced from then on: all that can
/// be done with it afterwards is to kill it.
TrapResult TrapInsideCall(const shm::Segment& segment, const Target& target,
                          std::chrono::steady_clock::time_point until, std::mt19937_64& random);

}  // namespace thole::cli::demo
