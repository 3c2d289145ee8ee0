#include "supervisor.h"

#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <thread>

#include "demo/aim.h"
#include "demo/collector.h"
#include "demo/crew.h"
#include "demo/signals.h"
#include "demo/stage.h"
#include "demo/trap.h"
#include "table.h"
#include "thole/comm/audit.h"

namespace thole::cli::demo {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How long a phase that must end may take. Far more than it needs: a hang is to be seen as one.
constexpr auto kPhaseMax = std::chrono::seconds(30);
constexpr auto kPoll = milliseconds(1);
constexpr auto kAimMax = milliseconds(60);
constexpr int kExitOk = 0;

class Supervisor {
 public:
  Supervisor(const DemoOptions& options, Stage& stage, SignalWatch& signals,
             const std::string& segment)
      : options_(options),
        stage_(stage),
        signals_(signals),
        crew_(segment),
        collector_(stage.catalog(), stage.results()),
        random_(options.seed) {}

  absl::Status Run();
  DemoReport Report() const;

 private:
  enum class Ends { kNobody, kFeeders, kEverybody };  // who may end by himself now

  absl::Status StartCrew();
  absl::Status Drain();
  absl::Status Turn(Clock::time_point until);
  absl::Status RunUntil(const std::function<bool()>& done, const char* what);
  struct Candidate {
    Member* member;
    std::optional<Seat> seat;
  };
  std::vector<Candidate> Candidates(bool seated);
  void KillSomebody();
  void Ended(Member& member, int status);
  void Complain(const std::string& sentence);
  void ShowProgress();
  std::vector<uint64_t> Sent();
  const shm::Segment& segment() const { return stage_.system().attachment()->segment(); }

  const DemoOptions& options_;
  Stage& stage_;
  SignalWatch& signals_;
  Crew crew_;
  Collector collector_;
  ProgressLine progress_;
  std::mt19937_64 random_;
  Clock::time_point began_;
  Clock::time_point next_kill_;
  Clock::time_point next_progress_;
  Ends may_end_ = Ends::kNobody;
  bool killing_ = false;
  uint32_t interruptions_ = 0;
  DemoReport counts_;
};

absl::Status Supervisor::StartCrew() {
  for (uint32_t i = 0; i < options_.workers; ++i) {
    if (auto started = crew_.Add(Role::kWorker, i); !started.ok()) return started;
  }
  for (uint32_t i = 0; i < options_.feeders; ++i) {
    if (stage_.catalog().chunks_of_pass(i) == 0) continue;
    if (auto started = crew_.Add(Role::kFeeder, i); !started.ok()) return started;
  }
  return absl::OkStatus();
}

void Supervisor::Complain(const std::string& sentence) {
  progress_.Clear();
  ++counts_.troubles;
  Fail(shm::Error(absl::StatusCode::kInternal, sentence));
}

// Somebody ended whom we did not kill. That is right only when his work is done.
void Supervisor::Ended(Member& member, int status) {
  const bool may =
      may_end_ == Ends::kEverybody || (may_end_ == Ends::kFeeders && member.role == Role::kFeeder);
  if (!may || status != kExitOk) {
    Complain(member.Name() + " ended by itself: " + DescribeEnd(status));
  }
}

// The living among whom a victim is chosen: for an aimed kill those who have taken their seat.
std::vector<Supervisor::Candidate> Supervisor::Candidates(bool seated) {
  std::vector<Candidate> candidates;
  for (Member& member : crew_.members()) {
    if (member.pid == 0) continue;
    const auto seat = FindSeat(segment(), member.pid);
    if (seat || !seated) candidates.push_back({&member, seat});
  }
  return candidates;
}

// Aimed kills hit inside a call of the library, the others are blind. Half of all are to hit.
void Supervisor::KillSomebody() {
  const bool aimed = counts_.kills_inside_calls * 2 <= counts_.kills();
  const std::vector<Candidate> candidates = Candidates(aimed);
  if (candidates.empty()) return;
  const Candidate chosen = candidates[random_() % candidates.size()];
  Member& victim = *chosen.member;
  if (aimed) {
    const Target target{victim.pid, *chosen.seat};
    const auto until = Clock::now() + kAimMax;
    if (TrapInsideCall(segment(), target, until, random_) == TrapResult::kUnsupported) {
      StopInsideCall(segment(), target, until);
    }
  }
  int status = 0;
  if (!crew_.Kill(victim, status)) return Ended(victim, status);
  ++(victim.role == Role::kFeeder ? counts_.feeder_kills : counts_.worker_kills);
  // The dead one's words. A survivor may have cleared them already: then it is not counted.
  if (chosen.seat && IsInsideCall(segment(), *chosen.seat)) ++counts_.kills_inside_calls;
  if (auto started = crew_.Start(victim); !started.ok()) {
    Complain(std::string(started.message()));
  }
}

absl::Status Supervisor::Turn(Clock::time_point until) {
  until = std::min(until, next_progress_);
  if (killing_) until = std::min(until, next_kill_);
  if (signals_.WaitFor((until - Clock::now()).count())) ++interruptions_;
  if (interruptions_ > 1) return absl::CancelledError("given up");
  crew_.Reap([this](Member& member, int status) { Ended(member, status); });
  if (counts_.troubles > 0) return absl::AbortedError("a process ended by itself");
  if (killing_ && Clock::now() >= next_kill_) {
    KillSomebody();
    next_kill_ = std::max(Clock::now(), next_kill_ + milliseconds(options_.kill_every_ms));
  }
  if (Clock::now() >= next_progress_) ShowProgress();
  return absl::OkStatus();
}

// Turns until `done`, for at most kPhaseMax: then `what` is said to hang.
absl::Status Supervisor::RunUntil(const std::function<bool()>& done, const char* what) {
  const auto limit = Clock::now() + kPhaseMax;
  while (!done()) {
    if (Clock::now() > limit) {
      Complain(std::string(what) + " did not end within 30 seconds");
      return absl::DeadlineExceededError("hang");
    }
    if (auto turned = Turn(Clock::now() + kPoll); !turned.ok()) return turned;
  }
  return absl::OkStatus();
}

std::vector<uint64_t> Supervisor::Sent() {
  std::vector<uint64_t> sent;
  for (uint32_t i = 0; i < options_.feeders; ++i) sent.push_back(LoadWord(stage_.position(i)));
  return sent;
}

// Feeders stop, and tell by their positions what they sent; all of it must arrive, still under
// fire. Then nobody is killed any more and the workers leave when their channel is empty.
absl::Status Supervisor::Drain() {
  may_end_ = Ends::kFeeders;
  StoreWord(stage_.control(), 1);
  auto stopped = RunUntil([this] { return crew_.CountRunning(Role::kFeeder) == 0; }, "a feeder");
  if (!stopped.ok()) return stopped;
  const std::vector<uint64_t> sent = Sent();
  auto arrived = RunUntil([&] { return collector_.HasAll(sent); }, "the drain");
  counts_.seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  counts_.lost = collector_.CountMissing(sent);
  if (!arrived.ok()) return arrived;
  killing_ = false;
  may_end_ = Ends::kEverybody;
  if (auto closed = stage_.work().Close(); !closed.ok()) return closed;
  return RunUntil([this] { return crew_.CountRunning(Role::kWorker) == 0; }, "a worker");
}

absl::Status Supervisor::Run() {
  absl::Status collected;
  std::thread collecting([&] { collected = collector_.Run(); });
  began_ = Clock::now();
  next_progress_ = began_;
  next_kill_ = began_ + milliseconds(options_.kill_every_ms);
  killing_ = options_.kill_every_ms > 0;
  const auto end = began_ + std::chrono::seconds(options_.seconds);
  absl::Status run = StartCrew();
  while (run.ok() && interruptions_ == 0 && Clock::now() < end) run = Turn(end);
  if (run.ok()) run = Drain();
  progress_.Clear();
  if (run.ok()) {
    run = stage_.results().Close();
  } else {
    collector_.Abort();
  }
  collecting.join();
  if (run.ok() && !collected.ok()) Complain(std::string(collected.message()));
  for (const std::string& problem : collector_.problems()) {
    Fail(shm::Error(absl::StatusCode::kDataLoss, problem));
  }
  if (absl::IsCancelled(run)) return run;
  // Hangs and unexpected ends are in the report, as troubles.
  const bool reported = counts_.troubles > 0;
  return reported ? absl::OkStatus() : run;
}

void Supervisor::ShowProgress() {
  const auto now = Clock::now();
  next_progress_ = now + std::chrono::nanoseconds(progress_.interval_ns());
  if (now - began_ < milliseconds(100)) return;
  progress_.Print(std::chrono::duration<double>(now - began_).count(), Report());
}

DemoReport Supervisor::Report() const {
  DemoReport report = counts_;
  const CollectorTotals totals = collector_.totals();
  report.files = totals.files;
  report.bytes = totals.bytes;
  report.lines = totals.lines;
  report.messages = totals.results * 2;
  report.duplicates = totals.duplicates;
  report.damaged = totals.damaged;
  report.left_out = totals.not_as_listed;
  const uint64_t files = stage_.catalog().files();
  report.passes = files == 0 ? 0 : totals.files / files;
  report.redelivered = stage_.work().Info().redelivered + stage_.results().Info().redelivered;
  return report;
}

}  // namespace

absl::StatusOr<DemoReport> RunDemo(const DemoOptions& options, const Tree& tree) {
  const std::string name = "demo-" + std::to_string(getpid());
  SignalWatch signals;  // from here on a signal must not leave the segment behind
  auto stage = Stage::Build(name, tree, options.feeders);
  if (!stage.ok()) return stage.status();
  const SegmentRemover remover(name);
  const uint64_t used_before = stage->system().HeapUse().used_bytes;
  DemoReport report;
  if (!tree.files.empty()) {
    Supervisor supervisor(options, *stage, signals, name);
    if (auto run = supervisor.Run(); !run.ok()) return run;
    report = supervisor.Report();
  }
  stage->system().Recover();
  report.leaked_bytes = static_cast<int64_t>(stage->system().HeapUse().used_bytes) -
                        static_cast<int64_t>(used_before);
  const comm::SystemAudit audit = comm::AuditSystem(stage->system().attachment()->segment());
  report.orphan_bytes = audit.orphan_bytes;
  report.audit_findings = audit.findings.count();
  report.left_out += tree.unreadable.size();
  if (!audit.findings.empty()) {
    Fail(shm::Error(absl::StatusCode::kDataLoss, audit.findings.ToString()));
  }
  return report;
}

}  // namespace thole::cli::demo
