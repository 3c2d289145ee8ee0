#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "demo/child.h"

namespace thole::cli::demo {
namespace {

pid_t Wait(pid_t pid, int& status, int flags) {
  pid_t got;
  do {
    got = waitpid(pid, &status, flags);
  } while (got < 0 && errno == EINTR);
  return got;
}

// In a group of its own, so that Ctrl-C reaches the supervisor alone, and with no signal blocked.
int Spawn(pid_t& pid, std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  const int problem =
      posix_spawn(&pid, "/proc/self/exe", nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  return problem;
}

}  // namespace

std::string Member::Name() const {
  return std::string(role == Role::kFeeder ? kFeederRole : kWorkerRole) + " " +
         std::to_string(index);
}

Crew::~Crew() {
  for (Member& member : members_) {
    int status = 0;
    if (member.pid != 0) Kill(member, status);
  }
}

absl::Status Crew::Start(Member& member) {
  pid_t pid = 0;
  const int problem =
      Spawn(pid, {"thole", kChildCommand, member.role == Role::kFeeder ? kFeederRole : kWorkerRole,
                  segment_, std::to_string(member.index), std::to_string(getpid())});
  if (problem != 0) {
    return shm::Error(absl::StatusCode::kUnavailable,
                      member.Name() + " cannot be started: " + std::strerror(problem));
  }
  member.pid = pid;
  return absl::OkStatus();
}

absl::Status Crew::Add(Role role, uint32_t index) {
  members_.push_back({role, index});
  return Start(members_.back());
}

uint32_t Crew::CountRunning(Role role) const {
  return static_cast<uint32_t>(
      std::count_if(members_.begin(), members_.end(),
                    [&](const Member& member) { return member.role == role && member.pid != 0; }));
}

bool Crew::Kill(Member& member, int& status) {
  kill(member.pid, SIGKILL);
  status = 0;
  const pid_t pid = std::exchange(member.pid, 0);
  // Where it was trapped, the stop may be told before the end.
  while (Wait(pid, status, 0) == pid && WIFSTOPPED(status)) {
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void Crew::Reap(const std::function<void(Member&, int status)>& ended) {
  for (Member& member : members_) {
    int status = 0;
    if (member.pid == 0 || Wait(member.pid, status, WNOHANG) != member.pid) continue;
    member.pid = 0;
    ended(member, status);
  }
}

std::string DescribeEnd(int status) {
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                             : "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace thole::cli::demo
