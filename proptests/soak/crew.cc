#include "crew.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace thole::soak {
namespace {

constexpr uint32_t kIsolateOneIn = 5;
constexpr uint64_t kEndMaxMs = 20'000;

pid_t Wait(pid_t pid, int& status, int flags) {
  pid_t got;
  do {
    got = waitpid(pid, &status, flags);
  } while (got < 0 && errno == EINTR);
  return got;
}

// SIGCHLD is blocked and tells when to look again.
bool WaitForEnd(pid_t pid, int& status) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const timespec slice{0, 2'000'000};
  for (uint64_t waited_ms = 0; waited_ms < kEndMaxMs; waited_ms += 2) {
    // Where it was trapped, the stop may be told before the end.
    if (Wait(pid, status, WNOHANG) == pid && !WIFSTOPPED(status)) return true;
    sigtimedwait(&child, nullptr, &slice);
  }
  return false;
}

}  // namespace

std::string Member::Name() const {
  return (task.produces ? "producer " : "consumer ") + std::to_string(task.index) + " (pid " +
         std::to_string(pid) + (in_namespace ? ", in a namespace of its own)" : ")");
}

Crew::Crew(std::string segment, const SharedBoard& board, StreamMap streams, uint32_t consumers,
           uint64_t seed)
    : board_(board), streams_(streams), seed_(seed) {
  for (uint32_t i = 0; i < streams.producers + consumers; ++i) {
    const bool produces = i < streams.producers;
    const uint32_t index = produces ? i : i - streams.producers;
    Member member{.task = {segment, i, index, produces, 0, streams}};
    member.elder = index == 0;
    members_.push_back(std::move(member));
  }
  // Trying is the only way to know.
  own_namespace_ = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  if (own_namespace_ >= 0 && (setns(own_namespace_, CLONE_NEWPID) != 0)) {
    close(std::exchange(own_namespace_, -1));
  }
}

Crew::~Crew() {
  for (Member& member : members_) {
    if (member.pid == 0) continue;
    int status = 0;
    kill(member.pid, SIGKILL);
    Wait(member.pid, status, 0);
  }
  if (own_namespace_ >= 0) close(own_namespace_);
}

bool Crew::Start(Member& member) {
  MemberRecord& record = RecordOf(member);
  record.seat.store(0);
  record.complained.store(0);
  record.complaint[0] = '\0';
  record.stops.store(0);
  for (ThreadRecord& thread : record.threads) {
    thread.standing.store(0);
    thread.in_plain.store(0);
    thread.open_ack.store(0);
  }
  shm::testing::Random random(seed_ ^ ++births_ << 20);
  member.task.seed = random.Next();
  member.in_namespace = can_isolate() && !member.elder && random.Chance(kIsolateOneIn);
  member.stopped_until_ns = 0;
  if (member.in_namespace && unshare(CLONE_NEWPID) != 0) return false;
  std::fflush(nullptr);  // or the child would print it once more
  const pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setpgid(0, 0);   // Ctrl-C reaches the supervisor alone
    (void)!nice(2);  // who kills comes first
    _exit(RunMember(member.task, board_));
  }
  if (member.in_namespace) (void)setns(own_namespace_, CLONE_NEWPID);
  member.pid = pid < 0 ? 0 : pid;
  return pid > 0;
}

// What the dead one may have left undone stays in the ledger.
void Crew::Forget(Member& member) {
  member.pid = 0;
  member.stopped_until_ns = 0;
  for (ThreadRecord& thread : RecordOf(member).threads) {
    const uint64_t open = thread.open_ack.exchange(0);
    if (open == 0) continue;
    const OpenAck ack = OpenAck::Unpack(open);
    streams_.LedgerOf(board_, ack.stream).MaybeAcked(ack.number, ack.delivery);
  }
}

std::string Crew::Describe(const Member& member, int status) const {
  std::string text =
      member.Name() + (WIFSIGNALED(status)
                           ? " ended by signal " + std::to_string(WTERMSIG(status))
                           : " ended with exit code " + std::to_string(WEXITSTATUS(status)));
  const MemberRecord& record = RecordOf(member);
  if (record.complaint[0] != '\0') text += ": " + std::string(record.complaint);
  return text;
}

bool Crew::End(Member& member, Death death, std::string& how) {
  RecordOf(member).end.store(death == Death::kFault ? kFault : kExit);
  kill(member.pid, death == Death::kKill ? SIGKILL : SIGUSR1);
  int status = 0;
  if (!WaitForEnd(member.pid, status)) {
    how = member.Name() + " did not end within 20 seconds";
    kill(member.pid, SIGKILL);
    Wait(member.pid, status, 0);
    Forget(member);
    return false;
  }
  // A member that has not installed its handler yet dies of the signal itself; either way it is
  // gone. One that is the first of its namespace ignores it then, and is killed.
  const bool as_told = death == Death::kKill    ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                       : death == Death::kFault ? WIFSIGNALED(status)
                                                : WIFEXITED(status) || WTERMSIG(status) == SIGUSR1;
  const bool by_itself = WIFEXITED(status) && WEXITSTATUS(status) != kExitWithoutLeaving;
  how = Describe(member, status);
  Forget(member);
  return as_told && !by_itself;
}

bool Crew::Stop(Member& member) {
  RecordOf(member).stops.fetch_add(1);
  kill(member.pid, SIGSTOP);
  siginfo_t info{};
  int waited;
  do {
    waited = waitid(P_PID, static_cast<id_t>(member.pid), &info, WSTOPPED | WEXITED | WNOWAIT);
  } while (waited != 0 && errno == EINTR);
  return waited == 0 && info.si_code == CLD_STOPPED;
}

void Crew::Continue(Member& member) {
  kill(member.pid, SIGCONT);
  RecordOf(member).stops.fetch_add(1);
  member.stopped_until_ns = 0;
}

bool Crew::HasEnded(Member& member, std::string& how, bool& well) {
  int status = 0;
  if (member.pid == 0 || Wait(member.pid, status, WNOHANG) != member.pid) return false;
  well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  how = Describe(member, status);
  Forget(member);
  return true;
}

}  // namespace thole::soak
