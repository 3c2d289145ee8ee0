// Crash tests: a real child that is really killed at a named crash point.
//
// The body runs in a forked child and must open its segment itself: whatever it inherited answers
// kForkedHandle. When RunAndDieAt returns, the child is gone and the kernel has dropped its locks.
//
//   #include <thole/shm/testing/crash_test.h>
//   using thole::shm::testing::CrashPointHits;
//   void Body() {}  // opens the segment, joins, runs the operation
//   std::vector<CrashPointHits> Points() {
//     return thole::shm::testing::CrashPointsOf("alloc.", Body);
//   }
//   bool DiesAtTheSecondHit(const CrashPointHits& point) {
//     return thole::shm::testing::RunAndDieAt(point.name, 2, Body).died_there;
//   }
//
// Only in tests of VARIANT checked. Header only; may be called before main, to make the parameters
// of a test. A child that runs longer than a minute ends by SIGALRM, one whose parent ends is
// killed.
#pragma once

#ifndef THOLE_CHECKED
#error "crash points exist in the checked variant only: thole_test(... VARIANT checked)"
#endif

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <new>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/crash_point.h"

namespace thole::shm::testing {

/// A crash point and how often a run came by.
struct CrashPointHits {
  std::string name;
  uint32_t hits = 0;
  friend void PrintTo(const CrashPointHits& point, std::ostream* out) {
    *out << point.name << " (" << point.hits << " hits)";
  }
};

/// How a child ended. True when it was killed at the wanted point.
struct CrashEnd {
  bool died_there = false;
  int signal = 0;     ///< that ended it, if any
  int exit_code = 0;  ///< 0 when it ran to its end
  explicit operator bool() const { return died_there; }
  std::string ToString() const {
    if (died_there) return "killed at the point";
    if (signal != 0) return "ended elsewhere by signal " + std::to_string(signal);
    return "ran to its end with exit code " + std::to_string(exit_code);
  }
};

namespace crash_test_internal {

constexpr uint32_t kNamesMax = 256;
constexpr uint32_t kNameBytes = 64;

// Shared by parent and child, so that it outlives the child.
struct Board {
  std::atomic<uint32_t> reached{0};    // the wanted point was hit for the nth time
  std::atomic<uint32_t> hits_left{0};  // until the child dies
  std::atomic<uint32_t> names{0};
  std::atomic<uint32_t> lock{0};
  struct {
    char name[kNameBytes];
    std::atomic<uint32_t> hits;
  } seen[kNamesMax] = {};
};

inline Board* board = nullptr;  // of the run that this process is in
inline char wanted[kNameBytes] = {};

inline void DieThere(const char* step) {
  if (std::strcmp(step, wanted) != 0) return;
  if (board->hits_left.fetch_sub(1, std::memory_order_seq_cst) != 1) return;  // counts threads too
  board->reached.store(1, std::memory_order_seq_cst);                         // before the signal
  kill(getpid(), SIGKILL);
  for (;;) pause();  // never gets here: the signal comes before the call returns
}

inline void Record(const char* step) {
  while (board->lock.exchange(1, std::memory_order_acquire) != 0) {  // other threads of the child
  }
  const uint32_t count = board->names.load(std::memory_order_relaxed);  // under the lock
  uint32_t i = 0;
  while (i < count && std::strcmp(board->seen[i].name, step) != 0) ++i;
  if (i < kNamesMax) {
    if (i == count) {
      std::snprintf(board->seen[i].name, kNameBytes, "%s", step);
      board->names.store(count + 1, std::memory_order_relaxed);  // under the lock
    }
    board->seen[i].hits.fetch_add(1, std::memory_order_relaxed);  // under the lock
  }
  board->lock.store(0, std::memory_order_release);  // after the entry
}

class SharedBoard {
 public:
  SharedBoard() {
    void* page =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) std::abort();
    board_ = new (page) Board;
  }
  ~SharedBoard() { munmap(board_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const { return board_; }
  Board* get() const { return board_; }

 private:
  Board* board_;
};

inline CrashEnd RunWithHook(Board* of_run, CrashPointHook hook,
                            const std::function<void()>& child_body) {
  std::fflush(nullptr);  // or the child would print it once more
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(120);
    alarm(60);
    board = of_run;
    crash_point_hook = hook;
    child_body();
    std::fflush(nullptr);
    _exit(0);  // no destructors of the parent's objects, no test report
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  CrashEnd end;
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  end.died_there =
      end.signal == SIGKILL && of_run->reached.load(std::memory_order_seq_cst) != 0;  // it is gone
  return end;
}

}  // namespace crash_test_internal

/// Runs `child_body` in a child that is killed when it comes by `point` for the `nth` time (1 = the
/// first). Not `died_there` means that it never came there: then it ran to its end or crashed.
[[nodiscard]] inline CrashEnd RunAndDieAt(std::string_view point, uint32_t nth,
                                          const std::function<void()>& child_body) {
  crash_test_internal::SharedBoard board;
  std::snprintf(crash_test_internal::wanted, crash_test_internal::kNameBytes, "%.*s",
                static_cast<int>(point.size()), point.data());
  board->hits_left.store(nth, std::memory_order_seq_cst);  // before the child exists
  return crash_test_internal::RunWithHook(board.get(), crash_test_internal::DieThere, child_body);
}

/// Runs `child_body` to its end in a child and tells which points with this prefix it came by, in
/// the order of their first hits, and how often. Empty when the child did not end well, so that a
/// test over the result must also check that it is not empty.
inline std::vector<CrashPointHits> CrashPointsOf(std::string_view prefix,
                                                 const std::function<void()>& child_body) {
  crash_test_internal::SharedBoard board;
  const CrashEnd end =
      crash_test_internal::RunWithHook(board.get(), crash_test_internal::Record, child_body);
  std::vector<CrashPointHits> points;
  if (end.signal != 0 || end.exit_code != 0) {
    std::fprintf(stderr, "the recording run %s\n", end.ToString().c_str());
    return points;
  }
  for (uint32_t i = 0; i < board->names.load(std::memory_order_seq_cst); ++i) {  // it is gone
    const std::string_view name(board->seen[i].name);
    const uint32_t hits = board->seen[i].hits.load(std::memory_order_seq_cst);  // it is gone
    if (name.substr(0, prefix.size()) == prefix) points.push_back({std::string(name), hits});
  }
  return points;
}

/// For parameterised tests: "log.3" -> "log_3".
inline std::string TestNameOf(std::string_view point) {
  std::string name(point);
  for (char& c : name) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) c = '_';
  }
  return name;
}

}  // namespace thole::shm::testing
