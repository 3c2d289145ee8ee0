// Every public mutating operation of comm, for the stepper.
#include "support/comm_world.h"
#include "thole/alloc/heap_data.h"
#include "thole/shm/owner_lock.h"

namespace thole::comm::testing {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

CommProcess& Of(Process& process) { return CommWorld::Of(process); }

// Long enough for a heap that another process of a pair holds.
Deadline Soon(Process& process) {
  return shm::testing::In(process, std::chrono::milliseconds(100));
}

void Send(Process& process, const char* channel, uint64_t id) {
  (void)Of(process).channel(channel).Send(1, Note::Of(id), Deadline::Now());
}
void Receive(Process& process, const char* channel) {
  auto message = Of(process).channel(channel).TryReceive();
  if (message.ok()) Of(process).held.push_back(*std::move(message));
}
ZeroCopyWriter Reserve(Process& process, const char* channel, uint64_t id, uint64_t size) {
  auto writer = Of(process).channel(channel).SendZeroCopy(1, size, Soon(process));
  const Note note = Note::Of(id);
  std::memcpy(writer->bytes().data(), &note, sizeof(note));
  return *std::move(writer);
}

// Ids 1 and 2 are in both channels, after some laps; everybody is connected.
void Fill(World& world, Process& victim, Process& other, Random& random) {
  CommWorld::Of(world).MakeChannels(other);
  for (const char* channel : {kJobs, kPlain}) {
    for (uint64_t i = random.Below(4); i != 0; --i) {
      Send(victim, channel, 9);
      Receive(other, channel);
      if (!Of(other).held.empty()) (void)Of(other).held.back().Ack();
      Of(other).held.clear();
    }
    Send(other, channel, 1);
    Send(victim, channel, 2);
  }
}

// What the survivor finds in a channel must be `expected`, or that without `may_lack`.
std::function<void(World&, Process&, Findings&)> Finds(const char* channel,
                                                       std::vector<uint64_t> expected,
                                                       uint64_t may_lack = 0) {
  return [=](World&, Process& survivor, Findings& findings) {
    const std::vector<uint64_t> found = CommWorld::Drain(survivor, channel, findings);
    std::vector<uint64_t> without = expected;
    std::erase(without, may_lack);
    if (found == expected || found == without) return;
    std::string text = "the survivor found";
    for (const uint64_t id : found) text.append(" ").append(std::to_string(id));
    findings.Add("ids", 0, text);
  };
}

using Prepare = std::function<void(World&, Process& victim, Process& other, Random&)>;
using Act = std::function<void(World&, Process& victim, Random&)>;

struct Shape {
  const char* name;
  const char* shape;
  Prepare more = {};  // after Fill
  Act act;
  std::function<void(World&, Process&, Findings&)> check = {};
};

Operation Make(const Shape& shape) {
  Operation operation;
  operation.component = "comm";
  operation.name = shape.name;
  operation.shape = shape.shape;
  operation.make_world = [] { return std::make_unique<CommWorld>(); };
  operation.prepare = [more = shape.more](World& world, Process& victim, Process& other,
                                          Random& random) {
    Fill(world, victim, other, random);
    if (more) more(world, victim, other, random);
  };
  operation.act = shape.act;
  operation.check = shape.check;
  return operation;
}
#define COMM_OPERATION(...) THOLE_OPERATION(Make(__VA_ARGS__))

const Prepare kHolds = [](World&, Process& victim, Process&, Random&) { Receive(victim, kJobs); };
const Prepare kWrites = [](World&, Process& victim, Process&, Random&) {
  Of(victim).open.push_back(Reserve(victim, kJobs, 3, 5000));
};
// 1 came back, so that it is served from the list.
const Prepare kCameBack = [](World&, Process&, Process& other, Random&) {
  Receive(other, kJobs);
  Of(other).held.clear();
};
const Act kDropAll = [](World&, Process& victim, Random&) {
  Of(victim).held.clear();
  Of(victim).open.clear();
};

COMM_OPERATION({.name = "CreateChannel",
                .shape = "a new one",
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).system().CreateChannel("new", {.capacity = 2},
                                                              Deadline::Never());
                    },
                .check =
                    [](World&, Process& survivor, Findings& findings) {
                      auto made = Of(survivor).system().CreateChannel("new", {.capacity = 2},
                                                                      Deadline::Never());
                      if (!made.ok()) findings.Add("create", 0, made.status().ToString());
                      if (!made.ok()) return;
                      Send(survivor, "new", 5);
                      Finds("new", {5})(*std::make_unique<CommWorld>(), survivor, findings);
                    }});
COMM_OPERATION({.name = "CreateChannel",
                .shape = "one that is there",
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).system().CreateChannel(kJobs, {.capacity = 9},
                                                              Deadline::Never());
                    },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION(
    {.name = "ConnectChannel",
     .shape = "for the first time",
     .more =
         [](World&, Process&, Process& other, Random&) {
           (void)Of(other).system().CreateChannel("new", {.capacity = 2}, Deadline::Never());
         },
     .act = [](World&, Process& victim,
               Random&) { (void)Of(victim).system().ConnectChannel("new", Deadline::Never()); },
     .check = Finds("new", {})});
COMM_OPERATION({.name = "Send",
                .shape = "acknowledged channel",
                .act = [](World&, Process& victim, Random&) { Send(victim, kJobs, 3); },
                .check = Finds(kJobs, {1, 2, 3}, 3)});
COMM_OPERATION({.name = "Send",
                .shape = "plain channel, by name",
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).system().Send(kPlain, 1, Note::Of(3), Deadline::Now());
                    },
                .check = Finds(kPlain, {1, 2, 3}, 3)});
COMM_OPERATION({.name = "Send",
                .shape = "full channel",
                .more =
                    [](World&, Process&, Process& other, Random&) {
                      for (const uint64_t id : {3, 4}) Send(other, kJobs, id);
                    },
                .act = [](World&, Process& victim, Random&) { Send(victim, kJobs, 5); },
                .check = Finds(kJobs, {1, 2, 3, 4})});
COMM_OPERATION({.name = "SendBytes",
                .shape = "an empty message",
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).system().SendBytes(kJobs, 1, {}, Deadline::Now());
                    },
                .check =
                    [](World&, Process& survivor, Findings& findings) {
                      std::vector<uint64_t> found = CommWorld::Drain(survivor, kJobs, findings);
                      if (found.size() == 3 && found.back() == 0) found.pop_back();
                      if (found != std::vector<uint64_t>{1, 2}) findings.Add("ids", 0, "not 1 2");
                    }});
COMM_OPERATION({.name = "SendZeroCopy",
                .shape = "reserved, not committed",
                .act =
                    [](World&, Process& victim, Random&) {
                      Of(victim).open.push_back(Reserve(victim, kJobs, 3, 20'000));
                    },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Commit",
                .shape = "all of it",
                .more = kWrites,
                .act = [](World&, Process& victim,
                          Random&) { (void)Of(victim).open[0].Commit(Deadline::Now()); },
                .check = Finds(kJobs, {1, 2, 3}, 3)});
COMM_OPERATION({.name = "CommitPrefix",
                .shape = "the rest goes back",
                .more = kWrites,
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).open[0].CommitPrefix(sizeof(Note), Deadline::Now());
                    },
                .check = Finds(kJobs, {1, 2, 3}, 3)});
COMM_OPERATION({.name = "Rollback",
                .shape = "an open writer",
                .more = kWrites,
                .act = [](World&, Process& victim, Random&) { Of(victim).open[0].Rollback(); },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Receive",
                .shape = "acknowledged channel",
                .act =
                    [](World&, Process& victim, Random&) {
                      auto message = Of(victim).system().Receive(kJobs, Deadline::Never());
                      if (message.ok()) Of(victim).held.push_back(*std::move(message));
                    },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Receive",
                .shape = "what came back",
                .more = kCameBack,
                .act = [](World&, Process& victim, Random&) { Receive(victim, kJobs); },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "TryReceive",
                .shape = "plain channel",
                .act = [](World&, Process& victim, Random&) { Receive(victim, kPlain); },
                .check = Finds(kPlain, {1, 2}, 1)});
COMM_OPERATION({.name = "TryReceive",
                .shape = "an empty channel, closed",
                .more =
                    [](World&, Process&, Process& other, Random&) {
                      Findings ignored;
                      CommWorld::Drain(other, kJobs, ignored);
                      (void)Of(other).channel(kJobs).Close();
                    },
                .act = [](World&, Process& victim, Random&) { Receive(victim, kJobs); },
                .check = Finds(kJobs, {})});
COMM_OPERATION({.name = "Ack",
                .shape = "then released",
                .more = kHolds,
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).held[0].Ack();
                      Of(victim).held.clear();
                    },
                .check = Finds(kJobs, {1, 2}, 1)});
COMM_OPERATION({.name = "Release",
                .shape = "without Ack",
                .more = kHolds,
                .act = kDropAll,
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Release",
                .shape = "plain channel",
                .more = [](World&, Process& victim, Process&, Random&) { Receive(victim, kPlain); },
                .act = kDropAll,
                .check = Finds(kPlain, {2})});
COMM_OPERATION({.name = "Release",
                .shape = "the last of two clones, one acknowledged",
                .more =
                    [](World&, Process& victim, Process&, Random&) {
                      Receive(victim, kJobs);
                      Of(victim).held.push_back(Of(victim).held[0].Clone());
                    },
                .act =
                    [](World&, Process& victim, Random&) {
                      (void)Of(victim).held[1].Ack();
                      Of(victim).held.clear();
                    },
                .check = Finds(kJobs, {1, 2}, 1)});
COMM_OPERATION({.name = "Close",
                .shape = "with messages in it",
                .act = [](World&, Process& victim,
                          Random&) { (void)Of(victim).channel(kJobs).Close(); },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Leave",
                .shape = "with a message and a writer in hand",
                .more =
                    [](World& world, Process& victim, Process& other, Random& random) {
                      kHolds(world, victim, other, random);
                      kWrites(world, victim, other, random);
                    },
                .act = [](World&, Process& victim,
                          Random&) { (void)Of(victim).system().Leave(Deadline::Never()); },
                .check = Finds(kJobs, {1, 2})});
COMM_OPERATION({.name = "Recover",
                .shape = "of one that died with a message and a writer in hand",
                .more =
                    [](World&, Process&, Process& other, Random&) {
                      Receive(other, kJobs);
                      Of(other).open.push_back(Reserve(other, kJobs, 3, 5000));
                      shm::testing::Kill(other);
                    },
                .act = [](World&, Process& victim, Random&) { Of(victim).system().Recover(); },
                .check = Finds(kJobs, {1, 2})});

// `other` is inside the heap while the victim lets go of a writer and of a plain message: their
// destructors cannot free, the next call does.
const Prepare kDoomed = [](World&, Process& victim, Process& other, Random&) {
  Of(victim).open.push_back(Reserve(victim, kJobs, 3, 5000));
  Receive(victim, kPlain);
  const shm::Attachment& attachment = other.attachment();
  const auto root = attachment.segment().Root(shm::ComponentId::kAlloc, alloc::kControlRoot);
  auto* heap = attachment.view().At<alloc::HeapData>(root->offset);
  shm::Call call = other.attachment().Enter(1);
  const bool locked = shm::TryLock(call.lane(), heap->lock) == shm::LockResult::kOk;
  Of(victim).open.clear();
  Of(victim).held.clear();
  if (locked) shm::Unlock(call.lane(), heap->lock);
};
COMM_OPERATION({.name = "TryReceive",
                .shape = "and what destructors left is given back",
                .more = kDoomed,
                .act = [](World&, Process& victim, Random&) { Receive(victim, kJobs); },
                .check = Finds(kJobs, {1, 2})});

}  // namespace
}  // namespace thole::comm::testing
