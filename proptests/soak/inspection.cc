#include "inspection.h"

#include <signal.h>
#include <time.h>

#include <chrono>

#include "thole/comm/audit.h"

namespace thole::soak {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kFindingsKept = 40;
constexpr uint32_t kKilledStanding = 3;

void WaitAMillisecond() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const timespec slice{0, 1'000'000};
  sigtimedwait(&child, nullptr, &slice);
}

}  // namespace

void Inspection::AddFinding(const std::string& text) {
  if (report_.findings.size() < kFindingsKept) report_.findings.push_back(text);
}

void Inspection::SetPhase(Phase phase) {
  board_->pause.fetch_add(1);
  board_->phase.store(phase);
  system_.attachment()->platform().WakeWord(board_->phase, INT32_MAX, 1);
}

bool Inspection::StandsStill(const Member& member) const {
  const MemberRecord& record = crew_.RecordOf(member);
  for (uint32_t i = 0; i < streams_.threads; ++i) {
    if (record.threads[i].standing.load() != board_->pause.load()) return false;
  }
  return true;
}

bool Inspection::AwaitOr(const std::function<bool()>& done, const std::string& what,
                         const std::function<std::string()>& who) {
  const auto limit = Clock::now() + std::chrono::seconds(hang_seconds_);
  while (!done()) {
    if (Clock::now() > limit) {
      ++report_.hung;
      AddFinding(what + " took longer than " + std::to_string(hang_seconds_) + " s: " + who());
      return false;
    }
    for (Member& member : crew_.members()) {
      std::string how;
      bool well = false;
      if (!crew_.HasEnded(member, how, well)) continue;
      ++report_.unexpected_ends;
      AddFinding(how);
    }
    WaitAMillisecond();
  }
  return true;
}

bool Inspection::AwaitStanding(bool producers_only) {
  const auto running = [&](const Member& member) {
    return member.pid != 0 && (member.task.produces || !producers_only) && !StandsStill(member);
  };
  return AwaitOr(
      [&] {
        for (const Member& member : crew_.members()) {
          if (running(member)) return false;
        }
        return true;
      },
      "a pause",
      [&] {
        std::string who;
        for (const Member& member : crew_.members()) {
          if (running(member)) who += member.Name() + "; ";
        }
        return who;
      });
}

uint64_t Inspection::CountWaiting() {
  uint64_t sum = 0;
  for (const comm::ChannelInfo& channel : system_.ListChannels()) sum += channel.waiting;
  return sum;
}

bool Inspection::AwaitDrained() {
  return AwaitOr([&] { return CountWaiting() == 0; }, "running the channels empty",
                 [&] { return std::to_string(CountWaiting()) + " messages are still there"; });
}

void Inspection::CheckSeats() {
  uint32_t living = 1;  // the supervisor
  for (Member& member : crew_.members()) living += member.pid != 0;
  const std::vector<comm::ParticipantInfo> participants = system_.Participants();
  bool as_it_should = participants.size() == living;
  for (const comm::ParticipantInfo& info : participants) as_it_should &= !info.under_repair;
  if (as_it_should) return;
  ++report_.audit_findings;
  std::string text = std::to_string(living) + " live, but the seats are:";
  for (const comm::ParticipantInfo& info : participants) {
    text += " " + info.name + " (slot " + std::to_string(info.slot) + ", pid " +
            std::to_string(info.pid) + (info.under_repair ? ", under repair)" : ")");
  }
  AddFinding(text);
}

void Inspection::Audit() {
  (void)system_.Recover();
  ++report_.audits;
  CheckSeats();
  const comm::SystemAudit audit = comm::AuditSystem(system_.attachment()->segment());
  report_.audit_findings += audit.findings.count();
  report_.leaked_bytes += audit.orphan_bytes;
  if (!audit.findings.empty()) AddFinding("audit: " + audit.findings.ToString());
  if (audit.orphan_bytes != 0) {
    AddFinding("audit: nobody holds " + std::to_string(audit.orphan_bytes) + " bytes");
  }
}

void Inspection::WithAllInFlight(shm::testing::Random& random) {
  SetPhase(kPause);
  if (!AwaitStanding(false)) return;
  for (uint32_t i = 0; i < kKilledStanding; ++i) {
    Member& victim = crew_.members()[random.Below(crew_.members().size())];
    std::string how;
    if (victim.elder || victim.pid == 0 || crew_.RecordOf(victim).seat.load() == 0) continue;
    if (crew_.End(victim, Death::kKill, how)) {
      ++report_.kills;
    } else {
      ++report_.unexpected_ends;
      AddFinding(how);
    }
  }
  Audit();
}

void Inspection::RemoveTables() {
  for (uint32_t table = 0; table < kTables; ++table) {
    const absl::Status removed =
        system_.buffers().Remove(TableName(table), Deadline::In(std::chrono::seconds(5)));
    if (removed.ok() || absl::IsNotFound(removed)) continue;
    ++report_.audit_findings;
    AddFinding("removing " + TableName(table) + ": " + std::string(removed.message()));
  }
}

void Inspection::CheckLedger() {
  uint64_t taken_along = 0;
  for (uint32_t i = 0; i < streams_.count(); ++i) {
    std::string first;
    const uint64_t gone = streams_.LedgerOf(board_, i).CountLost(first);
    if (!streams_.IsAcknowledged(i)) {
      taken_along += gone;
    } else if (gone != 0) {
      report_.lost += gone;
      AddFinding("stream " + std::to_string(i) + " lost " + std::to_string(gone) +
                 ", the first is " + first);
    }
  }
  report_.taken_along += taken_along;
  if (report_.taken_along <= taken_along_allowed_) return;
  report_.lost += report_.taken_along - taken_along_allowed_;
  AddFinding(std::to_string(report_.taken_along) + " plain messages are gone, but only " +
             std::to_string(taken_along_allowed_) + " receivers died receiving one");
  taken_along_allowed_ = report_.taken_along;
}

void Inspection::WithAllEmpty() {
  SetPhase(kDrain);
  if (!AwaitStanding(/*producers_only=*/true)) return;
  // What a consumer gives back while it stops is taken in the next round.
  do {
    if (!AwaitDrained()) break;
    SetPhase(kEmpty);
    if (!AwaitStanding(false)) return;
    (void)system_.Recover();  // what the dead held comes back as well
    if (CountWaiting() == 0) break;
    SetPhase(kDrain);
  } while (true);
  RemoveTables();
  Audit();
  CheckLedger();
  report_.used_bytes_after = system_.HeapUse().used_bytes;
  if (report_.used_bytes_after == used_bytes_) return;
  const uint64_t more = report_.used_bytes_after - used_bytes_;  // wraps around where it is less
  report_.leaked_bytes += report_.used_bytes_after > used_bytes_ ? more : -more;
  AddFinding("with everything empty " + std::to_string(report_.used_bytes_after) +
             " bytes are in use, in the beginning " + std::to_string(used_bytes_));
  for (const registry::BufferInfo& buffer : system_.buffers().List()) {
    AddFinding("  still there: '" + buffer.name + "', " + std::to_string(buffer.size_bytes) +
               " bytes, state " + std::to_string(static_cast<int>(buffer.state)) + ", " +
               std::to_string(buffer.holders) + " holders");
  }
}

}  // namespace thole::soak
