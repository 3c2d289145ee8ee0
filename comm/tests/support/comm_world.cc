#include "comm_world.h"

#include <cstdio>
#include <cstdlib>

namespace thole::comm::testing {
namespace {

void Require(const absl::Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  std::abort();
}

}  // namespace

CommProcess::CommProcess(std::shared_ptr<shm::Attachment> attachment) : Process(attachment) {
  auto prepared = UnifiedCommunicationSystem::PrepareOn(std::move(attachment));
  Require(prepared.status(), "prepare");
  system_ = *std::move(prepared);
}

Channel CommProcess::channel(const char* name) {
  auto connected =
      system_->ConnectChannel(name, shm::testing::In(*this, std::chrono::seconds(100)));
  // Whatever a hostile peer made of the name: the calls of an empty handle say so.
  if (!connected.ok()) return Channel(nullptr);
  return *std::move(connected);
}

uint64_t CommProcess::IdOf(const MessageHandle& message) {
  const auto note = message.ReadPrefix<Note>();
  return note && note->id == ~note->inverse ? note->id : 0;
}

void Ledger::Check(bool acknowledged, uint32_t receivers_died, shm::Findings& findings) const {
  uint32_t gone = 0;
  uint32_t missing = 0;
  for (const std::string& complaint : complaints_) findings.Add("law", 0, complaint);
  for (const auto& [id, entry] : entries_) {
    const auto broken = [&, number = id](const char* law) {
      findings.Add("ledger", number, "message " + std::to_string(number) + " " + law);
    };
    if (entry.found > 1) broken("is there twice");
    if (entry.found + entry.received != 0 && !entry.sending) broken("was never sent");
    if (entry.first_offers > 1) broken("was offered twice as if for the first time");
    if (acknowledged) {
      if (entry.acknowledged && entry.found != 0) broken("came back after its Ack");
      if (!entry.sent || entry.acknowledging || entry.found != 0) continue;
      if (entry.received == 0 || ++missing > doomed_) broken("is lost");
    } else {
      if (entry.received + entry.found > 1) broken("was delivered twice");
      if (entry.sent && entry.received + entry.found == 0) ++gone;
    }
  }
  if (gone > receivers_died) {
    findings.Add("ledger", 0,
                 std::to_string(gone) + " messages are lost, but only " +
                     std::to_string(receivers_died) + " receivers died");
  }
}

std::vector<shm::RootRequest> CommWorld::Roots() const {
  shm::SegmentOptions sizes = options();
  sizes.size_bytes = segment_bytes();
  return UnifiedCommunicationSystem::Roots(sizes);
}

std::unique_ptr<shm::testing::Process> CommWorld::MakeProcess(
    std::shared_ptr<shm::Attachment> attachment) {
  return std::make_unique<CommProcess>(std::move(attachment));
}

void CommWorld::MakeChannels(shm::testing::Process& process) {
  UnifiedCommunicationSystem& system = Of(process).system();
  const auto soon = shm::testing::In(process, std::chrono::seconds(100));
  Require(system.CreateChannel(kJobs, {.capacity = capacity_}, soon).status(), kJobs);
  const ChannelOptions plain{.capacity = capacity_, .acknowledged = false};
  Require(system.CreateChannel(kPlain, plain, soon).status(), kPlain);
}

std::vector<uint64_t> CommWorld::Drain(shm::testing::Process& process, const char* channel,
                                       shm::Findings& findings) {
  std::vector<uint64_t> ids;
  for (int left = 200; left > 0; --left) {
    auto message = Of(process).system().TryReceive(channel);
    if (!message.ok()) {
      if (absl::IsOutOfRange(message.status())) break;
      if (!absl::IsUnavailable(message.status()) ||
          GetErrorKind(message.status()) == ErrorKind::kPending) {
        findings.Add("drain", 0, message.status().ToString());
      }
      break;
    }
    ids.push_back(CommProcess::IdOf(*message));
    if (!message->Ack().ok()) findings.Add("drain", 0, "an Ack failed");
  }
  return ids;
}

void CommWorld::Audit(shm::testing::Process& survivor, shm::Findings& findings) {
  UnifiedCommunicationSystem& system = Of(survivor).system();
  for (const char* name : {kJobs, kPlain}) {
    if (!system.ConnectChannel(name).ok()) continue;  // a program without it
    Drain(survivor, name, findings);
    if (Of(survivor).channel(name).Info().closed) continue;
    const absl::Status sent = system.Send(name, 1, Note::Of(77), shm::Deadline::Now());
    if (!sent.ok()) findings.Add("works", 0, "send: " + sent.ToString());
    if (sent.ok() && Drain(survivor, name, findings) != std::vector<uint64_t>{77}) {
      findings.Add("works", 0, "what was sent is not what is received");
    }
  }
  const SystemAudit audit = AuditSystem(system.attachment()->segment());
  for (const shm::Finding& finding : audit.findings.kept()) {
    findings.Add(finding.invariant, finding.offset, finding.text);
  }
  if (audit.orphan_bytes != 0) findings.Add("leak", 0, std::to_string(audit.orphan_bytes));
}

}  // namespace thole::comm::testing
