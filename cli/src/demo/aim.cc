#include "aim.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

namespace thole::cli::demo {
namespace {

using shm::SlotState;
using shm::SlotWord;

// True once it is stopped; false when it ended instead. It is not reaped here.
bool Stop(pid_t pid) {
  if (kill(pid, SIGSTOP) != 0) return false;
  siginfo_t info{};
  int waited;
  do {
    waited = waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WEXITED | WNOWAIT);
  } while (waited != 0 && errno == EINTR);
  return waited == 0 && info.si_code == CLD_STOPPED;
}

}  // namespace

std::optional<Seat> FindSeat(const shm::Segment& segment, pid_t pid) {
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    const shm::SlotData* slot = segment.Slot(i);
    if (slot == nullptr) break;
    if (slot->pid.load(std::memory_order_acquire) != static_cast<uint32_t>(pid)) continue;  // P-a
    const auto word = SlotWord::Unpack(slot->word.load(std::memory_order_acquire));         // P-a
    if (word.state == SlotState::kLive) return Seat{i, word.generation};
  }
  return std::nullopt;
}

bool IsInsideCall(const shm::Segment& segment, const Seat& seat) {
  bool inside = false;
  for (uint32_t i = 0; i < segment.lanes_per_participant(); ++i) {
    const shm::LaneData* lane = segment.LaneAt(seat.slot, i);
    inside |= lane != nullptr && lane->in_call.load(std::memory_order_acquire) != 0;  // stopped
  }
  const shm::SlotData* slot = segment.Slot(seat.slot);
  if (slot == nullptr) return false;
  const auto word = SlotWord::Unpack(slot->word.load(std::memory_order_acquire));  // P-c: whose?
  return inside && word.generation == seat.generation && word.state != SlotState::kFree;
}

bool StopInsideCall(const shm::Segment& segment, const Target& target,
                    std::chrono::steady_clock::time_point until) {
  do {
    if (!IsInsideCall(segment, target.seat)) continue;
    if (!Stop(target.pid)) return false;
    if (IsInsideCall(segment, target.seat)) return true;
    kill(target.pid, SIGCONT);
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

}  // namespace thole::cli::demo
