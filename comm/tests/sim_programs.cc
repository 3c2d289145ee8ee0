// Programs for the simulator: senders, receivers and creators that are killed anywhere.
#include "support/comm_world.h"

namespace thole::comm::testing {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::testing::In;
using shm::testing::Process;
using shm::testing::Program;
using shm::testing::Random;
using shm::testing::World;
using std::chrono::milliseconds;

CommProcess& Of(Process& process) { return CommWorld::Of(process); }
Ledger& LedgerOf(World& world) { return CommWorld::Of(world).ledger; }

struct Plan {
  const char* name;
  const char* channel;
  bool waits = false;   // deadlines instead of single attempts
  bool closes = false;  // the first sender closes the channel when it is done
  uint32_t senders = 2;
  uint32_t receivers = 2;
  uint32_t each = 3;       // messages of a sender
  uint64_t largest = 200;  // bytes of a message
  bool leaves = false;     // receivers leave in the middle, and successors go on
};

bool IsExpected(const absl::Status& status) {
  return status.ok() || absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
         absl::IsDeadlineExceeded(status);
}

void Complain(World& world, const char* what, const absl::Status& status) {
  LedgerOf(world).Complain(std::string(what) + ": " + status.ToString());
}

// Every handle is gone: what is taken yet is doomed, and will be swept by a later call.
void ExpectNothingHeld(World& world, Process& process) {
  const shm::LoanTable& loans = process.attachment().loans();
  Of(process).system().Recover();
  LedgerOf(world).AddDoomed(loans.CountTaken());
  if (loans.CountTaken() != 0 && !loans.AnyDoomed())
    LedgerOf(world).Complain("a loan was forgotten");
}

Deadline Until(const Plan& plan, Process& process) {
  return plan.waits ? In(process, milliseconds(60)) : Deadline::Now();
}

// By value, or in place and perhaps shorter than reserved, or not at all.
absl::Status SendOne(const Plan& plan, World& world, Process& process, const Channel& channel,
                     uint64_t id, Random& random) {
  Ledger::Entry& entry = LedgerOf(world)[id];
  const Deadline deadline = Until(plan, process);
  if (random.Chance(3)) {
    entry.sending = true;
    const absl::Status sent = channel.Send(1, Note::Of(id), deadline);
    entry.sent = sent.ok();
    return sent;
  }
  const uint64_t size = sizeof(Note) + random.Below(plan.largest);
  auto writer = channel.SendZeroCopy(1, size, deadline);
  if (!writer.ok()) return writer.status();
  const Note note = Note::Of(id);
  std::memcpy(writer->bytes().data(), &note, sizeof(note));
  if (random.Chance(6)) return absl::OkStatus();  // dropped
  entry.sending = true;
  const auto sent =
      random.Chance(2) ? writer->CommitPrefix(sizeof(note), deadline) : writer->Commit(deadline);
  entry.sent = sent.ok();
  return sent.status();
}

void SendAll(const Plan& plan, World& world, Process& process, uint32_t index, Random& random) {
  const Channel channel = Of(process).channel(plan.channel);
  for (uint64_t i = 1; i <= plan.each; ++i) {
    const uint64_t id = (index + 1) * 100 + i;
    const absl::Status sent = SendOne(plan, world, process, channel, id, random);
    const bool was_closed = plan.closes && absl::IsFailedPrecondition(sent);
    if (!IsExpected(sent) && !was_closed) Complain(world, "send", sent);
  }
  if (plan.closes && index == 0 && !channel.Close().ok()) LedgerOf(world).Complain("close");
}

// Acknowledges, or drops it, or lets a clone do so.
void Finish(World& world, MessageHandle message, uint64_t id, Random& random) {
  Ledger::Entry& entry = LedgerOf(world)[id];
  MessageHandle clone;
  if (random.Chance(3)) clone = message.Clone();
  if (random.Chance(3)) return;
  entry.acknowledging = true;
  const absl::Status acked = message.Ack();
  if (!acked.ok()) return Complain(world, "ack", acked);
  entry.acknowledged = true;
}

/// Whether to go on.
bool ReceiveOne(const Plan& plan, World& world, Process& process, const Channel& channel,
                Random& random) {
  auto message = channel.Receive(Until(plan, process));
  if (absl::IsOutOfRange(message.status())) return false;
  if (!message.ok()) {
    if (!IsExpected(message.status())) Complain(world, "receive", message.status());
    return true;
  }
  const uint64_t id = CommProcess::IdOf(*message);
  if (id == 0) LedgerOf(world).Complain("a message is not whole");
  Ledger::Entry& entry = LedgerOf(world)[id];
  ++entry.received;
  if (message->attempt() == 0) ++entry.first_offers;
  Finish(world, *std::move(message), id, random);
  return true;
}

void ReceiveAll(const Plan& plan, World& world, Process& process, Random& random) {
  const uint32_t tries = plan.each * plan.senders / plan.receivers + 2;
  const Channel channel = Of(process).channel(plan.channel);
  for (uint32_t i = 0; i < tries; ++i) {
    if (!ReceiveOne(plan, world, process, channel, random)) break;
  }
}

// With a message and a writer in hand; whoever comes after it goes on.
void LeaveAndComeBack(const Plan& plan, World& world, Process& process, Random& random) {
  {
    const Channel channel = Of(process).channel(plan.channel);
    auto message = channel.TryReceive();
    auto writer = channel.SendZeroCopy(1, 100, Deadline::Now());
    if (message.ok()) {
      Ledger::Entry& entry = LedgerOf(world)[CommProcess::IdOf(*message)];
      ++entry.received;
      if (message->attempt() == 0) ++entry.first_offers;
    }
    const absl::Status left = Of(process).system().Leave(In(process, milliseconds(200)));
    if (!left.ok() && !absl::IsDeadlineExceeded(left)) Complain(world, "leave", left);
  }
  auto successor = shm::testing::MakeSuccessor(world, process);
  if (successor == nullptr || !successor->attachment().Join("successor").ok()) return;
  ReceiveAll(plan, world, *successor, random);
  ExpectNothingHeld(world, *successor);
}

void CheckLedger(const Plan& plan, World& world, Process& survivor, uint32_t died,
                 Findings& findings) {
  for (const uint64_t id : CommWorld::Drain(survivor, plan.channel, findings)) {
    ++LedgerOf(world)[id].found;
  }
  const uint32_t receivers = ((1u << plan.receivers) - 1) << plan.senders;
  LedgerOf(world).Check(std::string_view(plan.channel) == kJobs,
                        static_cast<uint32_t>(__builtin_popcount(died & receivers)), findings);
}

Program Make(const Plan& plan) {
  Program program;
  program.component = "comm";
  program.name = plan.name;
  program.processes = plan.senders + plan.receivers;
  program.make_world = [] { return std::make_unique<CommWorld>(); };
  program.prepare = [](World& world, Process& setup, Random&) {
    CommWorld::Of(world).MakeChannels(setup);
  };
  program.body = [plan](World& world, Process& process, uint32_t index, Random& random) {
    if (index < plan.senders) {
      SendAll(plan, world, process, index, random);
    } else if (plan.leaves) {
      return LeaveAndComeBack(plan, world, process, random);
    } else {
      ReceiveAll(plan, world, process, random);
    }
    ExpectNothingHeld(world, process);
  };
  program.check = [plan](World& world, Process& survivor, uint32_t died, Findings& findings) {
    CheckLedger(plan, world, survivor, died, findings);
  };
  program.accesses_max = 2'000'000;
  return program;
}

THOLE_PROGRAM(Make({.name = "SendAndAcknowledge", .channel = kJobs}));
THOLE_PROGRAM(Make({.name = "SendAndReceivePlain", .channel = kPlain}));
THOLE_PROGRAM(Make({.name = "Wait", .channel = kJobs, .waits = true}));
THOLE_PROGRAM(Make({.name = "WaitPlain", .channel = kPlain, .waits = true}));
THOLE_PROGRAM(Make({.name = "Close", .channel = kJobs, .waits = true, .closes = true}));
THOLE_PROGRAM(Make({.name = "ClosePlain", .channel = kPlain, .closes = true}));
// Two messages fill the heap: senders wait for what others free, or hold and die.
THOLE_PROGRAM(Make({.name = "ScarceMemory",
                    .channel = kJobs,
                    .waits = true,
                    .senders = 3,
                    .receivers = 1,
                    .each = 2,
                    .largest = 60'000}));
THOLE_PROGRAM(Make({.name = "Leave", .channel = kJobs, .receivers = 2, .leaves = true}));

// All of them create the same channels, send one message to each and receive one.
Program Create() {
  Program program;
  program.component = "comm";
  program.name = "CreateTheSame";
  program.processes = 3;
  program.make_world = [] { return std::make_unique<CommWorld>(); };
  program.body = [](World& world, Process& process, uint32_t index, Random& random) {
    UnifiedCommunicationSystem& system = Of(process).system();
    for (uint64_t c = 1; c <= 2; ++c) {
      auto channel = system.CreateChannel("new " + std::to_string(c), {.capacity = 4},
                                          In(process, milliseconds(500)));
      if (!channel.ok()) {
        if (!IsExpected(channel.status())) Complain(world, "create", channel.status());
        continue;
      }
      const uint64_t id = c * 100 + index + 1;
      LedgerOf(world)[id].sending = true;
      LedgerOf(world)[id].sent = channel->Send(1, Note::Of(id), Deadline::Now()).ok();
      ReceiveOne({.name = "", .channel = ""}, world, process, *channel, random);
    }
    ExpectNothingHeld(world, process);
  };
  program.check = [](World& world, Process& survivor, uint32_t, Findings& findings) {
    for (const char* name : {"new 1", "new 2"}) {
      if (!Of(survivor).system().ConnectChannel(name).ok()) continue;
      for (const uint64_t id : CommWorld::Drain(survivor, name, findings)) {
        ++LedgerOf(world)[id].found;
      }
    }
    LedgerOf(world).Check(true, 0, findings);
  };
  program.accesses_max = 2'000'000;
  return program;
}
THOLE_PROGRAM(Create());

}  // namespace
}  // namespace thole::comm::testing
