#include "supervisor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include "crew.h"
#include "demo/aim.h"
#include "demo/signals.h"
#include "demo/trap.h"
#include "inspection.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::soak {
namespace {

using Clock = std::chrono::steady_clock;
using cli::demo::IsInsideCall;
using cli::demo::Seat;
using cli::demo::TrapResult;
using shm::testing::Random;

constexpr uint64_t kSegmentBytes = uint64_t{64} << 20;
constexpr uint32_t kJobsCapacity = 256;
constexpr uint32_t kPlainCapacity = 64;
constexpr uint64_t kStopMsMax = 40;
constexpr auto kAimMax = std::chrono::milliseconds(15);
constexpr uint64_t kGrowthKibMax = 4096;
constexpr double kTooLateMs = 5000;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kNeverNs = uint64_t{1} << 60;
constexpr int64_t kProgressNs = 10 * kSecondNs;

int64_t NowNs() { return Clock::now().time_since_epoch().count(); }

std::optional<Seat> SeatOf(const MemberRecord& record) {
  const uint64_t word = record.seat.load();
  if (word == 0) return std::nullopt;
  return Seat{static_cast<uint32_t>((word - 1) >> 32), static_cast<uint32_t>(word - 1)};
}

class Supervisor {
 public:
  Supervisor(const SoakOptions& options, const std::string& segment,
             UnifiedCommunicationSystem system, const SharedBoard& board, StreamMap streams,
             SoakReport& report)
      : options_(options),
        board_(board),
        streams_(streams),
        system_(std::move(system)),
        report_(report),
        crew_(segment, board, streams, options.consumers, options.seed),
        inspection_(board, streams, crew_, system_, system_.HeapUse().used_bytes,
                    options.hang_seconds, report),
        random_(options.seed) {
    report_.used_bytes_before = system_.HeapUse().used_bytes;
    if (!crew_.can_isolate()) {
      std::fprintf(stderr, "soak: no PID namespaces without root: all members share ours\n");
    }
  }

  void Run(cli::demo::SignalWatch& signals);

 private:
  struct Progress {
    uint64_t beats = 0;
    int64_t at_ns = 0;
  };

  const shm::Segment& segment() const { return system_.attachment()->segment(); }
  void StartMissing();
  Member* ChooseVictim(bool may_be_elder);
  void KillOne();
  void AimAt(const Member& member, const Seat& seat);
  void Kill(Member& member, Death death);
  void StopOne();
  void ContinueSome();
  bool StillHasItsSeat(const Member& member, const Seat& seat);
  void CheckStopped(Member& member);
  void ReapUnexpected();
  void LookForHangs();
  void Inspect(bool empty);
  void TakeVitals(Vitals* into);
  void CompareVitals();
  void Leave(cli::demo::SignalWatch& signals);
  void Sum();
  void ShowProgress(double seconds) const;

  const SoakOptions& options_;
  const SharedBoard& board_;
  const StreamMap streams_;
  UnifiedCommunicationSystem system_;
  SoakReport& report_;
  Crew crew_;
  Inspection inspection_;
  Random random_;
  std::mt19937_64 mersenne_{random_.Next()};
  Progress progress_[kMembersMax][kThreadsMax];
  Progress all_;
  std::optional<Seat> stopped_seat_[kMembersMax];
};

void Supervisor::StartMissing() {
  for (Member& member : crew_.members()) {
    if (member.pid != 0 || crew_.Start(member)) continue;
    ++report_.unexpected_ends;
    inspection_.AddFinding("no process can be started for " + member.Name());
  }
}

Member* Supervisor::ChooseVictim(bool may_be_elder) {
  for (int turn = 0; turn < 50; ++turn) {
    Member& member = crew_.members()[random_.Below(crew_.members().size())];
    if (member.pid != 0 && member.stopped_until_ns == 0 && (may_be_elder || !member.elder)) {
      return &member;
    }
  }
  return nullptr;
}

void Supervisor::Kill(Member& member, Death death) {
  const std::optional<Seat> seat = SeatOf(crew_.RecordOf(member));
  if (!seat) death = Death::kKill;  // the others need a handler, which is there by then
  const bool isolated = member.in_namespace;
  std::string how;
  if (!crew_.End(member, death, how)) {
    ++report_.unexpected_ends;
    inspection_.AddFinding(how);
    return;
  }
  ++report_.kills;
  report_.faults += death == Death::kFault;
  report_.exits += death == Death::kExit;
  report_.in_namespaces += isolated;
  // A survivor may have cleared the words already: then it is not counted.
  if (seat && IsInsideCall(segment(), *seat)) ++report_.kills_inside_calls;
  uint64_t receiving = 0;
  for (ThreadRecord& thread : crew_.RecordOf(member).threads) {
    receiving += thread.in_plain.exchange(0);
  }
  inspection_.AllowTakenAlong(receiving);
}

// Blind kills hit a call now and then; these stop the member inside one first.
void Supervisor::AimAt(const Member& member, const Seat& seat) {
  const auto until = Clock::now() + kAimMax;
  const cli::demo::Target target{member.pid, seat};
  // A tracer has one thread of the process only.
  if (streams_.threads > 1 ||
      cli::demo::TrapInsideCall(segment(), target, until, mersenne_) == TrapResult::kUnsupported) {
    (void)cli::demo::StopInsideCall(segment(), target, until);
  }
}

void Supervisor::KillOne() {
  Member* member = ChooseVictim(/*may_be_elder=*/false);
  if (member == nullptr) return;
  const uint64_t choice = random_.Below(10);
  const auto seat = SeatOf(crew_.RecordOf(*member));
  if (choice >= 5 && seat) AimAt(*member, *seat);
  Kill(*member, choice == 0 ? Death::kFault : choice == 1 ? Death::kExit : Death::kKill);
  StartMissing();
}

void Supervisor::StopOne() {
  Member* member = ChooseVictim(/*may_be_elder=*/true);
  if (member == nullptr) return;
  std::optional<Seat>& seat = stopped_seat_[member->task.member];
  seat = SeatOf(crew_.RecordOf(*member));
  if (!seat) return;                 // it is still on its way
  if (!crew_.Stop(*member)) return;  // ended by itself: found by ReapUnexpected
  ++report_.stops;
  member->stopped_until_ns =
      NowNs() + static_cast<int64_t>(1 + random_.Below(kStopMsMax)) * 1'000'000;
}

bool Supervisor::StillHasItsSeat(const Member& member, const Seat& seat) {
  const auto word = shm::SlotWord::Unpack(segment().Slot(seat.slot)->word.load());
  if (word.generation == seat.generation && word.state == shm::SlotState::kLive) return true;
  ++report_.false_deaths;
  inspection_.AddFinding(
      member.Name() + " was stopped and is alive, but slot " + std::to_string(seat.slot) +
      " is in state " + std::to_string(static_cast<int>(word.state)) + ", generation " +
      std::to_string(word.generation) + " instead of " + std::to_string(seat.generation));
  return false;
}

void Supervisor::CheckStopped(Member& member) {
  const Seat seat = *stopped_seat_[member.task.member];
  // The others probed it if it was in their way; here it is probed in any case.
  if (random_.Chance(2)) (void)system_.Recover();
  (void)StillHasItsSeat(member, seat);
}

void Supervisor::ContinueSome() {
  for (Member& member : crew_.members()) {
    if (member.stopped_until_ns == 0 || NowNs() < member.stopped_until_ns) continue;
    CheckStopped(member);
    if (!member.elder && random_.Chance(8)) {
      ++report_.killed_while_stopped;
      Kill(member, Death::kKill);
      StartMissing();
    } else {
      crew_.Continue(member);
      progress_[member.task.member][0].at_ns = NowNs();
    }
  }
}

void Supervisor::ReapUnexpected() {
  for (Member& member : crew_.members()) {
    std::string how;
    bool well = false;
    if (!crew_.HasEnded(member, how, well)) continue;
    ++report_.unexpected_ends;
    inspection_.AddFinding(how);
  }
}

// Every thread turns, and altogether messages get through.
void Supervisor::LookForHangs() {
  const int64_t now = NowNs();
  const int64_t patience = static_cast<int64_t>(options_.hang_seconds) * kSecondNs;
  uint64_t acked = 0;
  for (Member& member : crew_.members()) {
    for (uint32_t i = 0; i < streams_.threads; ++i) {
      const ThreadRecord& thread = crew_.RecordOf(member).threads[i];
      Progress& progress = progress_[member.task.member][i];
      acked += thread.acked.load();
      const uint64_t beats = thread.beats.load() + static_cast<uint64_t>(member.pid) * 1'000'003;
      if (beats != progress.beats || member.stopped_until_ns != 0) progress = {beats, now};
      if (now - progress.at_ns < patience) continue;
      ++report_.hung;
      inspection_.AddFinding(member.Name() + ", thread " + std::to_string(i) +
                             ", made no turn for " + std::to_string(options_.hang_seconds) + " s");
      progress.at_ns = now;
    }
  }
  if (acked != all_.beats) all_ = {acked, now};
  if (now - all_.at_ns < patience) return;
  ++report_.hung;
  inspection_.AddFinding("no message was acknowledged for " +
                         std::to_string(options_.hang_seconds) + " s");
  all_.at_ns = now;
}

void Supervisor::Inspect(bool empty) {
  for (Member& member : crew_.members()) {
    if (member.stopped_until_ns == 0) continue;
    CheckStopped(member);
    crew_.Continue(member);
  }
  if (empty) {
    inspection_.WithAllEmpty();
  } else {
    inspection_.WithAllInFlight(random_);
  }
  // What a process needs it has after two inspections; until the end that must be enough.
  TakeVitals(report_.last);
  if (report_.audits <= 2) std::copy_n(report_.last, 3, report_.first);
  inspection_.GoOn();
  StartMissing();
  for (auto& threads : progress_) {
    for (Progress& progress : threads) progress.at_ns = NowNs();
  }
  all_.at_ns = NowNs();
}

void Supervisor::TakeVitals(Vitals* into) {
  into[0] = VitalsOf(getpid());
  int next = 1;
  for (const Member& member : crew_.members()) {
    if (member.elder && next < 3) into[next++] = VitalsOf(member.pid);
  }
}

void Supervisor::CompareVitals() {
  for (int i = 0; i < 3; ++i) {
    const Vitals& first = report_.first[i];
    const Vitals& last = report_.last[i];
    const bool flat = last.private_kib <= first.private_kib + kGrowthKibMax &&
                      last.descriptors == first.descriptors;
    if (flat) continue;
    ++report_.not_flat;
    inspection_.AddFinding("memory or descriptors grew: see the vitals of process " +
                           std::to_string(i));
  }
}

void Supervisor::Sum() {
  for (const Member& member : crew_.members()) {
    for (const ThreadRecord& thread : crew_.RecordOf(member).threads) {
      report_.sent += thread.sent.load();
      report_.received += thread.received.load();
      report_.acked += thread.acked.load();
      report_.longest_over_ms = std::max(report_.longest_over_ms,
                                         static_cast<double>(thread.longest_over_ns.load()) * 1e-6);
    }
  }
  for (const comm::ChannelInfo& channel : system_.ListChannels()) {
    report_.redelivered += channel.redelivered;
  }
  report_.duplicated += board_->duplicated.load();
  report_.damaged += board_->damaged.load();
  for (const auto& finding : board_->findings) {
    if (finding.written.load() != 0) inspection_.AddFinding(finding.text);
  }
  if (report_.longest_over_ms > kTooLateMs) {
    ++report_.hung;
    inspection_.AddFinding("a call waited far longer than its deadline");
  }
}

void Supervisor::ShowProgress(double seconds) const {
  const auto n = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::fprintf(stderr, "soak: %.0f s, %llu kills, %llu stops, %llu audits, nothing wrong so far\n",
               seconds, n(report_.kills), n(report_.stops), n(report_.audits));
}

void Supervisor::Leave(cli::demo::SignalWatch& signals) {
  inspection_.SetPhase(kEnd);
  const int64_t limit = NowNs() + static_cast<int64_t>(options_.hang_seconds) * kSecondNs;
  for (;;) {
    uint32_t running = 0;
    for (Member& member : crew_.members()) {
      std::string how;
      bool well = false;
      if (crew_.HasEnded(member, how, well) && !well) {
        ++report_.unexpected_ends;
        inspection_.AddFinding(how);
      }
      if (member.pid != 0 && NowNs() > limit) {
        ++report_.hung;
        inspection_.AddFinding(member.Name() + " did not leave");
      }
      running += member.pid != 0;
    }
    if (running == 0 || NowNs() > limit) return;
    (void)signals.WaitFor(1'000'000);
  }
}

void Supervisor::Run(cli::demo::SignalWatch& signals) {
  const int64_t begin = NowNs();
  const int64_t end = begin + static_cast<int64_t>(options_.seconds) * kSecondNs;
  const int64_t audit_ns = static_cast<int64_t>(options_.audit_every_ms) * 1'000'000;
  // Spans between two deaths, or two stops, are random, with the wanted mean.
  const auto next = [&](int64_t now, uint32_t per_second) {
    const uint64_t mean = per_second == 0 ? kNeverNs : uint64_t{kSecondNs} / per_second;
    return now + static_cast<int64_t>(random_.Below(2 * mean));
  };
  int64_t next_kill = begin, next_stop = begin, next_audit = begin + audit_ns / 2;
  int64_t next_progress = begin + kProgressNs;
  bool empty = false;
  bool interrupted = false;
  StartMissing();
  for (int64_t now = begin; now < end && report_.PromiseHeld() && !interrupted; now = NowNs()) {
    if (now >= next_kill) {
      KillOne();
      next_kill = std::max(next(next_kill, options_.deaths_per_second), now - kSecondNs / 10);
    }
    if (now >= next_stop) {
      StopOne();
      next_stop = std::max(next(next_stop, options_.stops_per_second), now - kSecondNs / 10);
    }
    ContinueSome();
    ReapUnexpected();
    LookForHangs();
    if (board_->duplicated.load() + board_->damaged.load() != 0) break;
    if (now >= next_audit) {
      Inspect(empty);
      empty = !empty;
      next_audit = NowNs() + audit_ns;
    }
    if (now >= next_progress) {
      ShowProgress(static_cast<double>(now - begin) * 1e-9);
      next_progress = now + kProgressNs;
    }
    interrupted =
        signals.WaitFor(std::min<int64_t>({next_kill, next_stop, NowNs() + 2'000'000}) - NowNs());
  }
  report_.seconds = static_cast<double>(NowNs() - begin) * 1e-9;
  Inspect(/*empty=*/true);
  CompareVitals();
  Leave(signals);
  (void)system_.Recover();
  Sum();
}

}  // namespace

absl::StatusOr<SoakReport> RunSoak(const SoakOptions& options) {
  cli::demo::SignalWatch signals;  // from here on a signal must not leave the segment behind
  const std::string name = "soak-" + std::to_string(getpid());
  SoakReport report;
  report.files_before = CountSharedMemoryFiles(name);
  {
    comm::OpenSystemOptions open;
    open.participant_name = "supervisor";
    open.segment.size_bytes = kSegmentBytes;
    open.segment.participants_max = options.producers + options.consumers + 8;
    open.segment.lanes_per_participant = std::max<uint32_t>(2, options.threads);
    auto system = UnifiedCommunicationSystem::Open(name, open);
    if (!system.ok()) return system.status();
    struct Remover {
      const std::string& name;
      ~Remover() { (void)shm::Segment::Remove(shm::Place::Named(name)); }
    } const remover{name};
    auto jobs = system->CreateChannel(kJobs, {.capacity = kJobsCapacity});
    if (!jobs.ok()) return jobs.status();
    auto plain = system->CreateChannel(kPlain, {.capacity = kPlainCapacity, .acknowledged = false});
    if (!plain.ok()) return plain.status();
    const StreamMap streams{options.producers, options.threads};
    const SharedBoard board(streams.count());
    Supervisor supervisor(options, name, *std::move(system), board, streams, report);
    supervisor.Run(signals);
  }
  report.files_after = CountSharedMemoryFiles(name);
  report.not_flat += report.files_after != report.files_before;
  return report;
}

}  // namespace thole::soak
