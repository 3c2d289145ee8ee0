#include "trap.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>

#include "demo/signals.h"

namespace thole::cli::demo {
namespace {

#if defined(__x86_64__)

using Clock = std::chrono::steady_clock;

constexpr uint32_t kWatchpoints = 4;     // that the processor has
constexpr uint64_t kStepsMax = 400;      // a call has some hundred to some thousand instructions
constexpr uint64_t kWatchStores8 = 0x9;  // condition and length, per watchpoint

// Where the segment begins in the other process.
std::optional<uint64_t> BaseIn(pid_t pid, const shm::Segment& segment) {
  struct stat info;
  if (fstat(segment.file(), &info) != 0) return std::nullopt;
  const std::string path = "/proc/" + std::to_string(pid) + "/maps";
  std::FILE* maps = std::fopen(path.c_str(), "re");
  if (maps == nullptr) return std::nullopt;
  std::optional<uint64_t> base;
  char line[1024];
  while (!base && std::fgets(line, sizeof line, maps) != nullptr) {
    uint64_t begin, offset, inode;
    unsigned major_number, minor_number;
    if (std::sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %x:%x %" SCNu64, &begin, &offset,
                    &major_number, &minor_number, &inode) != 5) {
      continue;
    }
    if (inode == info.st_ino && offset == 0 && makedev(major_number, minor_number) == info.st_dev) {
      base = begin;
    }
  }
  std::fclose(maps);
  return base;
}

class Tracee {
 public:
  Tracee(const shm::Segment& segment, const Target& target, Clock::time_point until)
      : segment_(segment), target_(target), until_(until) {
    sigemptyset(&child_);
    sigaddset(&child_, SIGCHLD);
  }

  bool Seize() { return ptrace(PTRACE_SEIZE, target_.pid, nullptr, PTRACE_O_EXITKILL) == 0; }
  bool Interrupt() {
    return ptrace(PTRACE_INTERRUPT, target_.pid, nullptr, nullptr) == 0 && WaitForStop();
  }
  /// Watches the `in_call` words of the first lanes. Handles take the lowest free one.
  bool Watch() {
    const auto base = BaseIn(target_.pid, segment_);
    if (!base) return false;
    uint64_t control = 0;
    const uint32_t lanes = std::min(kWatchpoints, segment_.lanes_per_participant());
    for (uint32_t i = 0; i < lanes; ++i) {
      shm::LaneData* lane = segment_.LaneAt(target_.seat.slot, i);
      if (lane == nullptr) return false;
      if (!SetDebugRegister(i, *base + segment_.view().OffsetOf(&lane->in_call))) return false;
      control |= uint64_t{1} << (2 * i) | kWatchStores8 << (16 + 4 * i);
    }
    return SetDebugRegister(7, control);
  }
  bool Run() { return Resume(PTRACE_CONT); }
  bool Step() { return Resume(PTRACE_SINGLESTEP); }
  void LetGo() { ptrace(PTRACE_DETACH, target_.pid, nullptr, nullptr); }
  bool inside() const { return IsInsideCall(segment_, target_.seat); }

 private:
  bool SetDebugRegister(uint32_t number, uint64_t value) {
    return ptrace(PTRACE_POKEUSER, target_.pid,
                  offsetof(struct user, u_debugreg) + number * sizeof(uint64_t), value) == 0;
  }
  bool Resume(__ptrace_request how) {
    return ptrace(how, target_.pid, nullptr, nullptr) == 0 && WaitForStop();
  }
  // A stop is announced by SIGCHLD, which the supervisor blocks; it may also be an older one.
  bool WaitForStop() {
    for (;;) {
      siginfo_t info{};
      const int waited = waitid(P_PID, static_cast<id_t>(target_.pid), &info,
                                WSTOPPED | WEXITED | WNOHANG | WNOWAIT);
      if (waited != 0) return false;
      if (info.si_pid != 0) return info.si_code == CLD_TRAPPED && TakeStop();
      const int64_t left = (until_ - Clock::now()).count();
      if (left <= 0) return false;
      WaitForSignal(child_, left);
    }
  }
  bool TakeStop() {
    int status = 0;
    return waitpid(target_.pid, &status, WNOHANG) == target_.pid && WIFSTOPPED(status);
  }

  const shm::Segment& segment_;
  const Target target_;
  const Clock::time_point until_;
  sigset_t child_;
};

#endif

}  // namespace

#if defined(__x86_64__)

TrapResult TrapInsideCall(const shm::Segment& segment, const Target& target,
                          Clock::time_point until, std::mt19937_64& random) {
  Tracee tracee(segment, target, until);
  if (!tracee.Seize()) return TrapResult::kUnsupported;
  if (!tracee.Interrupt()) return TrapResult::kMissed;
  if (!tracee.Watch()) {  // emulated processors have no watchpoints
    tracee.LetGo();
    return TrapResult::kUnsupported;
  }
  // Each turn ends at a store to `in_call`: a call begins there, or ends.
  while (Clock::now() < until && tracee.Run()) {
    bool stepped = true;
    for (uint64_t left = random() % kStepsMax; stepped && left > 0 && tracee.inside(); --left) {
      stepped = tracee.Step();
    }
    if (tracee.inside()) return TrapResult::kInside;
  }
  return TrapResult::kMissed;
}

#else

TrapResult TrapInsideCall(const shm::Segment&, const Target&, std::chrono::steady_clock::time_point,
                          std::mt19937_64&) {
  return TrapResult::kUnsupported;
}

#endif

}  // namespace thole::cli::demo
