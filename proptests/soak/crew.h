// The crew: the member processes, started, stopped, ended in several ways, and started again.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "board.h"
#include "member.h"
#include "thole/shm/testing/scenario.h"

namespace thole::soak {

/// Ways to go without saying goodbye.
enum class Death : uint8_t {
  kKill,   ///< SIGKILL
  kFault,  ///< a real SIGSEGV, at whatever instruction it is
  kExit,   ///< _exit out of a signal handler, at whatever instruction it is
};

struct Member {
  MemberTask task;
  bool elder = false;  ///< is never killed, only stopped: what leaks in a process shows in it
  bool in_namespace = false;
  pid_t pid = 0;                 ///< 0 = does not run
  int64_t stopped_until_ns = 0;  ///< 0 = is not stopped

  std::string Name() const;
};

class Crew {
 public:
  Crew(std::string segment, const SharedBoard& board, StreamMap streams, uint32_t consumers,
       uint64_t seed);
  /// Kills and reaps whoever is left.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Whether this system lets us make PID namespaces.
  bool can_isolate() const { return own_namespace_ >= 0; }
  /// Forks a process for the member. False when there is none to be had.
  bool Start(Member& member);
  /// Ends it and waits until it is gone. False when it had ended by itself, or did not end in time:
  /// `how` says what it did.
  bool End(Member& member, Death death, std::string& how);
  /// SIGSTOP, and waits until it is stopped. False when it ended instead.
  bool Stop(Member& member);
  void Continue(Member& member);
  /// Whether it ended by itself since; `how` says what it did.
  bool HasEnded(Member& member, std::string& how, bool& well);

  std::vector<Member>& members() { return members_; }
  MemberRecord& RecordOf(const Member& member) const { return board_->members[member.task.member]; }

 private:
  void Forget(Member& member);
  std::string Describe(const Member& member, int status) const;

  const SharedBoard& board_;
  const StreamMap streams_;
  std::vector<Member> members_;
  int own_namespace_ = -1;
  uint64_t seed_;
  uint64_t births_ = 0;
};

}  // namespace thole::soak
