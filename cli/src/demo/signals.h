// SignalWatch: Ctrl-C and the like arrive where the supervisor waits, and nowhere else.
#pragma once

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

namespace thole::cli::demo {

/// Waits for one of the signals, which must be blocked in every thread. 0 = none came in time.
inline int WaitForSignal(const sigset_t& signals, int64_t nanoseconds) {
  const int64_t left = std::max<int64_t>(nanoseconds, 0);
  const timespec span{left / 1'000'000'000, static_cast<long>(left % 1'000'000'000)};
  return std::max(sigtimedwait(&signals, nullptr, &span), 0);
}

/// Blocks the signals that end a program, and SIGCHLD, for this thread and those that it starts,
/// while it lives.
class SignalWatch {
 public:
  SignalWatch() {
    sigemptyset(&watched_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&watched_, signal);
    sigset_t blocked = watched_;
    sigaddset(&blocked, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~SignalWatch() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Waits for so long; true when one of them came.
  bool WaitFor(int64_t nanoseconds) { return WaitForSignal(watched_, nanoseconds) > 0; }

 private:
  sigset_t watched_;
  sigset_t before_;
};

}  // namespace thole::cli::demo
