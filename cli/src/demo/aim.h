// Aiming: finding out whether a process is inside a call of the library, and stopping it there.
//
// Only looks at the segment, as a debugger would: each lane of a participant has a word that is not
// 0 while a call runs in it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "thole/shm/segment.h"

namespace thole::cli::demo {

/// A participant's place, as long as the generation stays.
struct Seat {
  uint32_t slot = 0;
  uint32_t generation = 0;
};

/// The seat of a process; none before it joined.
std::optional<Seat> FindSeat(const shm::Segment& segment, pid_t pid);
/// Whether one of its lanes is in a call; false when the seat is somebody else's by now. After a
/// death it may also be false because the dead was repaired already.
bool IsInsideCall(const shm::Segment& segment, const Seat& seat);

/// A process and its seat.
struct Target {
  pid_t pid = 0;
  Seat seat;
};

/// Watches the target until it is inside a call and stops it there (SIGSTOP); was it too quick, it
/// goes on. False when `until` came first, or the target ended. The way for systems without traps.
bool StopInsideCall(const shm::Segment& segment, const Target& target,
                    std::chrono::steady_clock::time_point until);

}  // namespace thole::cli::demo
