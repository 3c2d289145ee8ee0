// The crew: the processes of a demonstration, started, killed and started again by the supervisor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "thole/shm/status.h"

namespace thole::cli::demo {

enum class Role { kFeeder, kWorker };

struct Member {
  Role role;
  uint32_t index;
  pid_t pid = 0;  ///< 0 = not running

  std::string Name() const;
};

class Crew {
 public:
  explicit Crew(std::string segment) : segment_(std::move(segment)) {}
  /// Kills and reaps whoever is left.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Starts a process for it. Unavailable when the system gives none.
  absl::Status Start(Member& member);
  absl::Status Add(Role role, uint32_t index);
  std::vector<Member>& members() { return members_; }
  /// Those of a role that run.
  uint32_t CountRunning(Role role) const;

  /// kill -9. True when that was its end; false when it had ended by itself before, and `status`
  /// says how.
  bool Kill(Member& member, int& status);
  /// Calls `ended` with everybody who ended by himself since the last call.
  void Reap(const std::function<void(Member&, int status)>& ended);

 private:
  const std::string segment_;
  std::vector<Member> members_;
};

/// "exit code 1", "signal 11".
std::string DescribeEnd(int status);

}  // namespace thole::cli::demo
