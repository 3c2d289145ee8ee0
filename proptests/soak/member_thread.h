// What producers and consumers have in common: pauses, patience, complaints.
#pragma once

#include <string>

#include "board.h"
#include "member.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/scenario.h"

namespace thole::soak {

/// How long a call may wait. Short, so that a pause begins soon.
inline constexpr auto kPatience = std::chrono::milliseconds(50);

/// Errors that pass by themselves: full, nothing there yet, somebody in the middle of a step.
inline bool PassesByItself(const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
         absl::IsUnavailable(status);
}

class MemberThread {
 public:
  MemberThread(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
               uint32_t thread)
      : task_(task),
        board_(board),
        system_(system),
        member_(board->members[task.member]),
        record_(member_.threads[thread]),
        thread_(thread),
        random_(task.seed + thread) {}

 protected:
  int64_t NowNs() const { return system_.attachment()->platform().NowNs(); }
  uint32_t phase() const { return board_->phase.load(); }
  /// Stands still while the phase is one in which this thread has to.
  void StandStill(bool (*must)(uint32_t phase));
  void Wait(int64_t nanoseconds);
  /// The member ends, because of this. False, for a short way out.
  bool Complain(const std::string& what);
  bool Complain(const std::string& what, const absl::Status& status) {
    return Complain(what + ": " + std::string(status.message()));
  }
  bool complained() const { return member_.complained.load() != 0; }
  /// Runs a call that may wait for kPatience, and notes by how much it was late.
  template <class Work>
  auto Timed(const Work& work) {
    const uint32_t stops = member_.stops.load();
    const int64_t begin = NowNs();
    auto result = work(Deadline::In(kPatience));
    NoteDuration(stops, NowNs() - begin);
    return result;
  }
  /// Makes, checks, removes a named buffer. `held` keeps one for a while.
  bool UseTable(registry::BufferHandle& held);
  /// Before everything is to be empty: nothing is held any more, nor left to a later call because
  /// somebody else was inside a lock.
  void GiveBack(registry::BufferHandle& held);

  const MemberTask& task_;
  const SharedBoard& board_;
  UnifiedCommunicationSystem& system_;
  MemberRecord& member_;
  ThreadRecord& record_;
  const uint32_t thread_;
  shm::testing::Random random_;

 private:
  void NoteDuration(uint32_t stops, int64_t took_ns);
};

/// What a member is connected to.
struct Channels {
  Channel jobs;   // acknowledged
  Channel plain;  // not
};

/// Both run until the phase kEnd; false when they complained.
bool Produce(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
             const Channels& channels, uint32_t thread);
bool Consume(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
             const Channels& channels, uint32_t thread);

}  // namespace thole::soak
