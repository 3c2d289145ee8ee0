// Real processes that send, receive, acknowledge and hold messages, each killed where the input
// says; the parent repairs, audits, receives what is left and checks the ledger.
//
// Input: see ForkRun::Run; a program is a row of calls.
#include <array>
#include <cstring>
#include <deque>
#include <string>

#include "support/fork_run.h"
#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"

namespace {

using namespace thole;
using fuzz::Broken;
using fuzz::ByteSource;

constexpr uint32_t kMessagesEach = 24;
constexpr uint32_t kCallsMax = 48;
constexpr const char* kChannels[] = {"jobs", "plain"};  // with acknowledgement, without

struct Entry {
  fuzz::Count channel, sending, sent, received, first_offers, acknowledging, acknowledged;
};
struct Ledger {
  std::array<Entry, kMessagesEach * fuzz::ForkRun::kChildrenMax> messages;
  std::array<fuzz::Count, fuzz::ForkRun::kChildrenMax> receiving;
};

fuzz::SharedLedger<Ledger>& TheLedger() {
  static fuzz::SharedLedger<Ledger> ledger;
  return ledger;
}

/// What a message says: its number, then bytes that follow from it.
std::vector<std::byte> PayloadOf(uint32_t id, size_t bytes) {
  std::vector<std::byte> payload(std::max(bytes, sizeof(id)), static_cast<std::byte>(id));
  std::memcpy(payload.data(), &id, sizeof(id));
  return payload;
}

uint32_t IdOf(const MessageHandle& message) {
  const auto id = message.ReadPrefix<uint32_t>();
  if (!id || *id >= TheLedger()->messages.size()) Broken("a message says nothing of ours");
  const auto expected = PayloadOf(*id, message.bytes().size());
  if (std::memcmp(message.bytes().data(), expected.data(), expected.size()) != 0) {
    Broken("message " + std::to_string(*id) + " is not whole");
  }
  return *id;
}

void ExpectNoDamage(const absl::Status& status, const char* call) {
  if (absl::IsDataLoss(status) || absl::IsInternal(status) || absl::IsInvalidArgument(status)) {
    Broken(std::string(call) + ": " + status.ToString());
  }
}

absl::StatusOr<UnifiedCommunicationSystem> Open(int file) {
  return UnifiedCommunicationSystem::OpenAt(shm::Place::Descriptor(file), {.create = false});
}

class Child {
 public:
  Child(UnifiedCommunicationSystem& system, uint32_t index) : system_(system), index_(index) {}

  void Run(ByteSource& program) {
    for (uint32_t i = 0; i < kCallsMax && !program.empty(); ++i) {
      if (!Step(program)) return;
    }
  }

 private:
  bool Step(ByteSource& program) {
    switch (program.Below(9)) {
      case 0:
      case 1:
        Send(program);
        return true;
      case 2:
      case 3:
        Receive(program);
        return true;
      case 4:
        Finish(program, /*acknowledge=*/true);
        return true;
      case 5:
        Finish(program, /*acknowledge=*/false);
        return true;
      case 6:
        system_.Recover();
        return true;
      case 7:
        UseBuffer(program);
        return true;
      default:
        if (!program.Chance(4)) return true;
        held_.clear();
        ExpectNoDamage(system_.Leave(Deadline::Now()), "leave");
        return false;
    }
  }

  absl::StatusOr<Channel> ChannelOf(uint32_t which) {
    auto channel = system_.CreateChannel(
        kChannels[which], {.capacity = 4, .acknowledged = which == 0}, Deadline::Now());
    ExpectNoDamage(channel.status(), "create");
    return channel;
  }

  void Send(ByteSource& program) {
    if (sent_ == kMessagesEach) return;
    const auto which = static_cast<uint32_t>(program.Below(2));
    auto channel = ChannelOf(which);
    if (!channel.ok()) return;
    const uint32_t id = index_ * kMessagesEach + sent_++;
    const auto payload = PayloadOf(id, program.Size(14));
    Entry& entry = TheLedger()->messages[id];
    entry.channel.Set(which);
    auto writer = channel->SendZeroCopy(1, payload.size() + program.Size(12), Deadline::Now());
    ExpectNoDamage(writer.status(), "reserve");
    if (!writer.ok()) return;
    std::memcpy(writer->bytes().data(), payload.data(), payload.size());
    if (program.Chance(8)) return;  // dropped
    entry.sending.Set(1);
    const auto sent = writer->CommitPrefix(payload.size(), Deadline::Now());
    ExpectNoDamage(sent.status(), "commit");
    entry.sent.Set(sent.ok() ? 1 : 0);
  }

  void Receive(ByteSource& program) {
    const auto which = static_cast<uint32_t>(program.Below(2));
    auto channel = ChannelOf(which);
    if (!channel.ok()) return;
    TheLedger()->receiving[index_].Set(1);
    auto message = channel->TryReceive();
    ExpectNoDamage(message.status(), "receive");
    if (message.ok()) {
      Entry& entry = TheLedger()->messages[IdOf(*message)];
      entry.received.Add();
      if (message->attempt() == 0) entry.first_offers.Add();
      held_.push_back(*std::move(message));
    }
    TheLedger()->receiving[index_].Set(0);
  }

  void Finish(ByteSource& program, bool acknowledge) {
    if (held_.empty()) return;
    const auto at = held_.begin() + static_cast<long>(program.Below(held_.size()));
    MessageHandle message = std::move(*at);
    held_.erase(at);
    if (!acknowledge) return;
    Entry& entry = TheLedger()->messages[IdOf(message)];
    entry.acknowledging.Set(1);
    const absl::Status acked = message.Ack();
    ExpectNoDamage(acked, "ack");
    if (acked.ok()) entry.acknowledged.Set(1);
  }

  void UseBuffer(ByteSource& program) {
    const std::string name = "buffer " + std::to_string(program.Below(2));
    registry::SharedBufferRegistry& buffers = system_.buffers();
    switch (program.Below(3)) {
      case 0:
        return ExpectNoDamage(buffers.Create(name, 64, {}, Deadline::Now()).status(), "buffer");
      case 1:
        return ExpectNoDamage(buffers.Acquire(name, 0, 0, Deadline::Now()).status(), "acquire");
      default:
        return ExpectNoDamage(buffers.Remove(name, Deadline::Now()), "remove");
    }
  }

  UnifiedCommunicationSystem& system_;
  const uint32_t index_;
  uint32_t sent_ = 0;
  std::deque<MessageHandle> held_;
};

/// Receives all that is there: how often each message was found.
std::vector<uint32_t> Drain(UnifiedCommunicationSystem& system) {
  std::vector<uint32_t> found(TheLedger()->messages.size(), 0);
  for (const char* name : kChannels) {
    const bool acknowledged = name == kChannels[0];
    auto channel = system.CreateChannel(name, {.capacity = 4, .acknowledged = acknowledged});
    if (!channel.ok()) Broken("the survivor cannot connect: " + channel.status().ToString());
    for (;;) {
      auto message = channel->TryReceive();
      if (!message.ok()) {
        if (message.status() == absl::Status(absl::StatusCode::kUnavailable, "")) break;
        Broken("the survivor cannot receive: " + message.status().ToString());
      }
      if (++found[IdOf(*message)] > 8) Broken("a message comes again and again");
      if (!message->Ack().ok()) Broken("the survivor cannot acknowledge");
    }
  }
  return found;
}

void CheckLedger(const std::vector<uint32_t>& found, uint32_t died_receiving) {
  uint32_t gone = 0;
  for (uint32_t id = 0; id < found.size(); ++id) {
    const Entry& entry = TheLedger()->messages[id];
    const auto broken = [&](const char* law) {
      Broken("message " + std::to_string(id) + " " + law);
    };
    if (found[id] > 1) broken("is there twice");
    if (found[id] + entry.received.Get() != 0 && !entry.sending) broken("was never sent");
    if (entry.first_offers.Get() > 1) broken("was offered twice as if for the first time");
    if (entry.channel.Get() == 0) {
      if (entry.acknowledged && found[id] != 0) broken("came back after its Ack");
      if (entry.sent && !entry.acknowledging && found[id] == 0) broken("is lost");
    } else {
      if (entry.received.Get() + found[id] > 1) broken("was delivered twice");
      if (entry.sent && entry.received.Get() + found[id] == 0) ++gone;
    }
  }
  if (gone > died_receiving) Broken("more messages are lost than receivers died receiving");
}

void ExpectWorks(UnifiedCommunicationSystem& system) {
  for (const char* name : kChannels) {
    if (auto sent = system.Send(name, 1, uint32_t{7}, Deadline::Now()); !sent.ok()) {
      Broken("the survivor cannot send: " + sent.ToString());
    }
    const auto message = system.TryReceive(name);
    if (!message.ok() || message->size() != sizeof(uint32_t)) Broken("what was sent is not there");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto roots =
      UnifiedCommunicationSystem::Roots({.size_bytes = shm::kSegmentBytesMin});
  TheLedger().Clear();
  const shm::Segment segment = fuzz::NewForkSegment(roots);
  const auto body = [&](uint32_t index, ByteSource& program) {
    auto* system = new absl::StatusOr<UnifiedCommunicationSystem>(Open(segment.file()));
    if (!system->ok()) Broken("a child cannot open: " + system->status().ToString());
    (new Child(**system, index))->Run(program);  // never destroyed: it is simply gone
  };
  const auto run = fuzz::ForkRun::Run(ByteSource(data, size), body);
  auto survivor = Open(segment.file());
  if (!survivor.ok()) Broken("the survivor cannot open: " + survivor.status().ToString());
  uint32_t died_receiving = 0;
  for (uint32_t i = 0; i < run.children(); ++i) {
    if (run.killed(i) && TheLedger()->receiving[i]) ++died_receiving;
  }
  const comm::SystemAudit before = comm::AuditSystem(segment);
  fuzz::ExpectNone(before.findings, "after the repair");
  if (before.orphan_bytes != 0) Broken("leaked bytes: " + std::to_string(before.orphan_bytes));
  CheckLedger(Drain(*survivor), died_receiving);
  ExpectWorks(*survivor);
  const comm::SystemAudit after = comm::AuditSystem(segment);
  fuzz::ExpectNone(after.findings, "after the survivor's work");
  if (after.orphan_bytes != 0) Broken("leaked bytes: " + std::to_string(after.orphan_bytes));
  return 0;
}
