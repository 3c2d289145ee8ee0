// Every call of comm that changes something, on every shape of channel: a cross product for the
// stepper, against a ledger of messages.
//
// "it" is the channel that the acts use; its kind, its capacity and what happened to it before are
// the shape. The ledger knows which messages must be there afterwards and which may be.
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/comm_world.h"
#include "thole/shm/testing/die_within.h"

namespace thole::comm::testing {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::testing::DieWithin;
using shm::testing::In;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

constexpr const char* kIt = "it";

CommProcess& Of(Process& process) { return CommWorld::Of(process); }

/// The channel, and what must come out of it. Lives beside the world, for one run.
struct Ledger {
  ChannelOptions options;
  uint64_t next = 1;
  std::set<uint64_t> must;
  std::set<uint64_t> may;

  bool sure = true;  // whoever acts lives on: what it takes is gone

  void Perhaps(uint64_t id) {
    if (must.erase(id) != 0) may.insert(id);
  }
  void Took(uint64_t id) {
    if (!sure) return Perhaps(id);
    must.erase(id);
    may.erase(id);
  }
  void Send(Process& process, uint64_t size = sizeof(Note)) {
    const uint64_t id = next++;
    auto writer = Of(process).channel(kIt).SendZeroCopy(1, size, Deadline::Now());
    if (!writer.ok()) return;
    const Note note = Note::Of(id);
    std::memcpy(writer->bytes().data(), &note, sizeof(note));
    if (writer->Commit(Deadline::Now()).ok()) must.insert(id);
  }
  void Reserve(Process& process, uint64_t size) {
    const uint64_t id = next++;
    auto writer = Of(process).channel(kIt).SendZeroCopy(1, size, Deadline::Now());
    if (!writer.ok()) return;
    const Note note = Note::Of(id);
    std::memcpy(writer->bytes().data(), &note, sizeof(note));
    may.insert(id);  // whoever has the writer may commit it
    Of(process).open.push_back(*std::move(writer));
  }
  /// What is received and not acknowledged comes back with its holder's death, or goes with it.
  void Receive(Process& process) {
    auto message = Of(process).channel(kIt).TryReceive();
    if (!message.ok()) return;
    if (!options.acknowledged) Took(CommProcess::IdOf(*message));
    Of(process).held.push_back(*std::move(message));
  }
  void Finish(Process& process) {  // acknowledges all that it has
    for (MessageHandle& message : Of(process).held) {
      const uint64_t id = CommProcess::IdOf(message);
      if (message.Ack().ok()) Took(id);
    }
    Of(process).held.clear();
  }
  /// `body` by somebody who dies in it: what it sends or takes, perhaps it did not.
  void DiesIn(World& world, Process& like, Random& random,
              const std::vector<shm::testing::Body>& bodies) {
    const std::set<uint64_t> before = must;
    sure = false;
    DieWithin(world, like, random, bodies);
    sure = true;
    for (auto it = must.begin(); it != must.end();) {
      if (before.count(*it) == 0) may.insert(*it);
      it = before.count(*it) == 0 ? must.erase(it) : std::next(it);
    }
  }

  void Check(Process& survivor, Findings& findings) const {
    std::set<uint64_t> found;
    for (const uint64_t id : CommWorld::Drain(survivor, kIt, findings)) {
      if (!found.insert(id).second) Complain(findings, id, "is there twice");
      if (must.count(id) + may.count(id) == 0) Complain(findings, id, "was taken, or never sent");
    }
    for (const uint64_t id : must) {
      if (found.count(id) == 0) Complain(findings, id, "is lost");
    }
  }
  static void Complain(Findings& findings, uint64_t id, const char* what) {
    findings.Add("ledger", id, "message " + std::to_string(id) + " " + what);
  }
};

struct Kind {
  const char* text;
  ChannelOptions options;
};
constexpr Kind kKinds[] = {{"acknowledged 1", {.capacity = 1}},
                           {"acknowledged 8", {.capacity = 8}},
                           {"plain 2", {.capacity = 2, .acknowledged = false}}};

struct Past {
  const char* text;
  void (*build)(Ledger& ledger, World& world, Process& victim, Process& other, Random& random);
};

void Laps(Ledger& ledger, Process& victim, Process& other, Random& random) {
  for (uint64_t i = random.Below(ledger.options.capacity + 2); i > 0; --i) {
    Process& sender = random.Chance(2) ? victim : other;
    Process& receiver = random.Chance(2) ? victim : other;
    ledger.Send(sender, sizeof(Note) + random.Below(3000));
    ledger.Receive(receiver);
    ledger.Finish(receiver);
  }
}
void SendSome(Ledger& ledger, Process& victim, Process& other, Random& random, uint64_t count) {
  for (; count > 0; --count) {
    ledger.Send(random.Chance(2) ? victim : other, sizeof(Note) + random.Below(500));
  }
}
void DoAnything(Ledger& ledger, Process& process, Random& random) {
  switch (random.Below(6)) {
    case 0:
      return ledger.Send(process, sizeof(Note) + random.Below(2000));
    case 1:
      return ledger.Reserve(process, sizeof(Note) + random.Below(2000));
    case 2:
      return ledger.Receive(process);
    case 3:
      return ledger.Finish(process);
    case 4:
      return Of(process).held.clear();
    default:
      for (ZeroCopyWriter& writer : Of(process).open) (void)writer.Commit(Deadline::Now());
      Of(process).open.clear();
  }
}

constexpr Past kPasts[] = {
    {"empty", [](Ledger& ledger, World&, Process& victim, Process& other,
                 Random& random) { Laps(ledger, victim, other, random); }},
    {"half full",
     [](Ledger& ledger, World&, Process& victim, Process& other, Random& random) {
       Laps(ledger, victim, other, random);
       SendSome(ledger, victim, other, random, (ledger.options.capacity + 1) / 2);
     }},
    {"full",
     [](Ledger& ledger, World&, Process& victim, Process& other, Random& random) {
       Laps(ledger, victim, other, random);
       SendSome(ledger, victim, other, random, ledger.options.capacity);
     }},
    {"with some that came back, others held",
     [](Ledger& ledger, World&, Process& victim, Process& other, Random& random) {
       SendSome(ledger, victim, other, random, ledger.options.capacity);
       for (uint64_t i = random.Below(4); i > 0; --i) ledger.Receive(other);
       Of(other).held.clear();
       for (uint64_t i = random.Below(3); i > 0; --i) ledger.Receive(victim);
     }},
    {"closed",
     [](Ledger& ledger, World&, Process& victim, Process& other, Random& random) {
       Laps(ledger, victim, other, random);
       SendSome(ledger, victim, other, random, random.Below(ledger.options.capacity + 1));
       (void)Of(other).channel(kIt).Close();
     }},
    {"after one died in a send",
     [](Ledger& ledger, World& world, Process& victim, Process& other, Random& random) {
       SendSome(ledger, victim, other, random, random.Below(ledger.options.capacity));
       ledger.DiesIn(world, other, random, {[&](Process& dying) { ledger.Send(dying, 700); }});
     }},
    {"after one died with a message and a writer",
     [](Ledger& ledger, World& world, Process& victim, Process& other, Random& random) {
       SendSome(ledger, victim, other, random, 1 + random.Below(ledger.options.capacity));
       const auto work = [&](Process& dying) {
         ledger.Reserve(dying, 900);
         ledger.Receive(dying);
         random.Chance(2) ? ledger.Finish(dying) : Of(dying).held.clear();
       };
       ledger.DiesIn(world, other, random, {work});
     }},
    {"after a random history and two deaths",
     [](Ledger& ledger, World& world, Process& victim, Process& other, Random& random) {
       for (uint64_t i = 3 + random.Below(10); i > 0; --i) {
         DoAnything(ledger, random.Chance(2) ? victim : other, random);
       }
       Of(other).held.clear();  // it lives on: what it held nobody else could find
       const auto anything = [&](Process& dying) {
         for (int i = 0; i < 4; ++i) DoAnything(ledger, dying, random);
       };
       ledger.DiesIn(world, other, random, {anything, anything});
     }},
};

void Commit(Process& victim, uint64_t prefix) {
  if (Of(victim).open.empty()) return;
  ZeroCopyWriter& writer = Of(victim).open.back();
  const Deadline soon = In(victim, std::chrono::milliseconds(30));
  (void)(prefix == 0 ? writer.Commit(soon) : writer.CommitPrefix(prefix, soon));
}

struct CommAct {
  const char* name;
  bool holds;   // the victim received something before
  bool writes;  // the victim has a writer
  void (*act)(Ledger& ledger, Process& victim);
};
constexpr CommAct kActs[] = {
    {"Send", false, false,
     [](Ledger& ledger, Process& victim) {
       const uint64_t id = ledger.next++;
       ledger.may.insert(id);
       (void)Of(victim).channel(kIt).Send(1, Note::Of(id), Deadline::Now());
     }},
    {"SendZeroCopy", false, false,
     [](Ledger& ledger, Process& victim) { ledger.Reserve(victim, 1500); }},
    {"Commit", false, true, [](Ledger&, Process& victim) { Commit(victim, 0); }},
    {"CommitPrefix", false, true, [](Ledger&, Process& victim) { Commit(victim, sizeof(Note)); }},
    {"Rollback", false, true,
     [](Ledger&, Process& victim) {
       if (!Of(victim).open.empty()) Of(victim).open.back().Rollback();
     }},
    {"TryReceive", false, false, [](Ledger& ledger, Process& victim) { ledger.Receive(victim); }},
    {"Receive", false, false,
     [](Ledger& ledger, Process& victim) {
       auto message = Of(victim).channel(kIt).Receive(In(victim, std::chrono::milliseconds(30)));
       if (!message.ok()) return;
       if (!ledger.options.acknowledged) ledger.Took(CommProcess::IdOf(*message));
       Of(victim).held.push_back(*std::move(message));
     }},
    {"Ack", true, false,
     [](Ledger& ledger, Process& victim) {
       if (Of(victim).held.empty()) return;
       ledger.Perhaps(CommProcess::IdOf(Of(victim).held.back()));
       (void)Of(victim).held.back().Ack();
     }},
    {"Release", true, false, [](Ledger&, Process& victim) { Of(victim).held.clear(); }},
    {"Release", true, true,
     [](Ledger& ledger, Process& victim) {  // the last of two clones, the other one acknowledged
       if (Of(victim).held.empty()) return;
       ledger.Perhaps(CommProcess::IdOf(Of(victim).held.back()));
       MessageHandle clone = Of(victim).held.back().Clone();
       (void)clone.Ack();
       clone.Release();
       Of(victim).held.clear();
     }},
    {"Close", false, false,
     [](Ledger&, Process& victim) { (void)Of(victim).channel(kIt).Close(); }},
    {"Leave", true, true,
     [](Ledger&, Process& victim) {
       (void)Of(victim).system().Leave(In(victim, std::chrono::milliseconds(30)));
     }},
    {"Recover", false, false, [](Ledger&, Process& victim) { Of(victim).system().Recover(); }},
};

Operation Make(const CommAct& act, const Kind& kind, const Past& past) {
  Operation operation;
  operation.component = "comm";
  operation.name = act.name;
  operation.shape = std::string(kind.text) + ", " + past.text +
                    (act.writes ? ", writer open" : "") + (act.holds ? ", message held" : "");
  // One run at a time: `make_world` begins it.
  auto ledger = std::make_shared<Ledger>();
  operation.make_world = [ledger, kind] {
    *ledger = {};
    ledger->options = kind.options;
    return std::make_unique<CommWorld>();
  };
  operation.prepare = [ledger, act, past](World& world, Process& victim, Process& other,
                                          Random& random) {
    (void)Of(other).system().CreateChannel(kIt, ledger->options,
                                           In(other, std::chrono::seconds(100)));
    if (act.holds) {
      ledger->Send(other, 400);
      ledger->Receive(victim);
    }
    if (act.writes) ledger->Reserve(victim, 2500);
    past.build(*ledger, world, victim, other, random);
  };
  operation.act = [ledger, act](World&, Process& victim, Random&) {
    ledger->sure = false;
    act.act(*ledger, victim);
  };
  operation.check = [ledger](World&, Process& survivor, Findings& findings) {
    ledger->Check(survivor, findings);
  };
  return operation;
}

std::vector<Operation> EveryActOnEveryChannel() {
  std::vector<Operation> all;
  for (const CommAct& act : kActs) {
    for (const Kind& kind : kKinds) {
      for (const Past& past : kPasts) all.push_back(Make(act, kind, past));
    }
  }
  return all;
}
THOLE_OPERATIONS(EveryActOnEveryChannel());

}  // namespace
}  // namespace thole::comm::testing
