// Deadline: the moment until which a call may wait. Every blocking call takes one.
//
//   #include <thole/shm/deadline.h>
//   auto soon = thole::shm::Deadline::In(std::chrono::milliseconds(20));
//   auto never_wait = thole::shm::Deadline::Now();
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace thole::shm {

/// An absolute moment on the monotonic clock, in nanoseconds. Arithmetic saturates, so that
/// `In(nanoseconds::max())` is the same as `Never()`. A value; thread-safe; no cost.
class Deadline {
 public:
  /// Do not wait at all.
  static constexpr Deadline Now() { return Deadline(0); }
  /// Wait for as long as it takes.
  static constexpr Deadline Never() { return Deadline(kNever); }
  /// At an absolute moment of CLOCK_MONOTONIC.
  static constexpr Deadline At(int64_t monotonic_ns) { return Deadline(monotonic_ns); }
  /// A span of time from this moment on. A span below zero is `Now()`.
  static Deadline In(std::chrono::nanoseconds span) {
    if (span.count() <= 0) return Now();
    const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::steady_clock::now().time_since_epoch())
                            .count();
    return span.count() >= kNever - now ? Never() : Deadline(now + span.count());
  }

  constexpr int64_t monotonic_ns() const { return at_ns_; }
  constexpr bool never() const { return at_ns_ == kNever; }
  constexpr bool now() const { return at_ns_ == 0; }
  constexpr bool PassedAt(int64_t monotonic_ns) const { return monotonic_ns >= at_ns_; }
  /// The earlier of this deadline and another moment.
  constexpr Deadline Before(int64_t monotonic_ns) const {
    return Deadline(monotonic_ns < at_ns_ ? monotonic_ns : at_ns_);
  }

 private:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  constexpr explicit Deadline(int64_t at_ns) : at_ns_(at_ns) {}
  int64_t at_ns_;
};

}  // namespace thole::shm
