// Aiming: finding out whether a process is inside a call of the library, and stopping it there.
//
// Only looks at the segment, as a debugger would: each lane of a participant has a word that is not
// 0 while a call runs in it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

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

struct Target {
  pid_t pid = 0;
  Seat seat;
};

/// Watches the targets until one is inside a call and stops it there (SIGSTOP); who was too quick
/// goes on. The index of the stopped one; none when `until` came first. Targets may end meanwhile.
std::optional<size_t> StopInsideCall(const shm::Segment& segment, std::span<const Target> targets,
                                     std::chrono::steady_clock::time_point until);

}  // namespace thole::cli::demo
