// Crash points: the executable names of the steps in our step tables.
//
// THOLE_CRASH_POINT("alloc.free.3") is nothing in a shipped build. In the checked build that the
// crash tests link, the test's hook is called with the name and may kill the process there.
//
//   #include <thole/shm/crash_point.h>
//   void Step() { THOLE_CRASH_POINT("example.step.1"); }
#pragma once

#ifdef THOLE_CHECKED
#include <cassert>
#include <cstdio>
#include <cstdlib>

namespace thole::shm {
using CrashPointHook = void (*)(const char* step);
/// Set by a crash test before it starts, read by every crash point. Checked builds only.
// tidy: global: a test reaches the points of code that it does not construct
inline CrashPointHook crash_point_hook = nullptr;
}  // namespace thole::shm

#define THOLE_CRASH_POINT(step)                                                          \
  do {                                                                                   \
    if (::thole::shm::crash_point_hook != nullptr) ::thole::shm::crash_point_hook(step); \
  } while (false)
/// An invariant of ours. Never for what another process may have written.
#define THOLE_DCHECK(condition)                                                              \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
#else
#define THOLE_CRASH_POINT(step) \
  do {                          \
  } while (false)
#define THOLE_DCHECK(condition) \
  do {                          \
  } while (false)
#endif
