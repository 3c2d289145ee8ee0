// Every call that changes a queue, on every shape of queue: a cross product for the stepper.
//
// The history of a queue comes from the seed: laps, what is in it, who held what, who died in what.
// A ledger beside the segment knows which messages must be there afterwards and which may be.
#include <set>
#include <string>
#include <vector>

#include "support/queue_world.h"
#include "thole/shm/testing/die_within.h"

namespace thole::queue::testing {
namespace {

using shm::Findings;
using shm::LoanRef;
using shm::testing::DieWithin;
using shm::testing::In;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

QueueProcess& Of(Process& process) { return QueueWorld::Of(process); }

class LedgerWorld final : public QueueWorld {
 public:
  explicit LedgerWorld(const QueueOptions& options) : QueueWorld({{"jobs", options}}, 6) {}

  void Push(Process& process) {
    const uint64_t id = next_++;
    if (PushOne(Of(process), id) == PushResult::kOk) must.insert(id);
  }
  /// Takes one; `hold`: keeps the lease, where there are leases.
  void Pop(Process& process, bool hold) {
    uint64_t id = 0;
    PopInfo info;
    LoanRef loan;
    const bool leased = shape().leased;
    if (PopOne(Of(process), id, info, 0, leased && hold ? &loan : nullptr) != PopResult::kOk)
      return;
    if (loan) held.push_back(loan);
    if (!loan) must.erase(id);
  }
  /// Sends so many, takes them all and gives them back one after the other.
  void ComeBack(Process& process, uint64_t count) {
    const size_t before = held.size();
    for (; count > 0; --count) {
      Push(process);
      Pop(process, true);
    }
    for (; held.size() > before; held.pop_back()) (void)Return(Of(process), held.back());
  }
  /// The same for somebody of whom nobody knows how far it came.
  void PushPerhaps(Process& process) { PushAs(process, next_++); }
  void PushAs(Process& process, uint64_t id) {
    if (PushOne(Of(process), id) == PushResult::kOk) may.insert(id);
  }
  void PopPerhaps(Process& process) {
    uint64_t id = 0;
    PopInfo info;
    if (PopOne(Of(process), id, info) == PopResult::kOk) Perhaps(id);
  }
  void Perhaps(uint64_t id) {
    if (must.erase(id) != 0) may.insert(id);
  }
  uint64_t NewId() { return next_++; }

  void Check(Process& survivor, Findings& findings) const {
    uint64_t last_of_ring = 0;
    std::set<uint64_t> found;
    uint64_t id = 0;
    PopInfo info;
    while (found.size() < 40 && PopOne(Of(survivor), id, info) == PopResult::kOk) {
      if (!found.insert(id).second) Complain(findings, id, "is there twice");
      if (must.count(id) + may.count(id) == 0) Complain(findings, id, "was taken, or never sent");
      if (info.attempts != 0) continue;
      if (id < last_of_ring) Complain(findings, id, "came too late");
      last_of_ring = id;
    }
    for (const uint64_t one : must) {
      if (found.count(one) == 0) Complain(findings, one, "is lost");
    }
  }

  std::set<uint64_t> must;
  std::set<uint64_t> may;
  std::vector<LoanRef> held;  // leases of the victim
  LoanRef written;            // a message that the victim is about to push

 private:
  static void Complain(Findings& findings, uint64_t id, const char* what) {
    findings.Add("ledger", id, "message " + std::to_string(id) + " " + what);
  }
  uint64_t next_ = 1;
};

LedgerWorld& Of(World& world) { return static_cast<LedgerWorld&>(world); }

struct Ring {
  const char* text;
  QueueOptions options;
};
std::vector<Ring> Rings() {
  constexpr uint64_t kBeforeCellWrap = (uint64_t{1} << 40) - 3;
  return {{"inline 1", Inline(1)},
          {"inline 8 over the wrap", Inline(8, kBeforeCellWrap)},
          {"block 2", Blocks(2, false)},
          {"leased 1", Blocks(1, true)},
          {"leased 8", Blocks(8, true)}};
}

struct Fill {
  const char* text;
  void (*build)(LedgerWorld& world, Process& victim, Process& other, Random& random);
};

void Laps(LedgerWorld& world, Process& victim, Process& other, Random& random) {
  for (uint64_t i = random.Below(2 * world.shape().capacity + 2); i > 0; --i) {
    world.Push(random.Chance(2) ? victim : other);
    world.Pop(random.Chance(2) ? victim : other, false);
  }
}
void FillUp(LedgerWorld& world, Process& victim, Process& other, Random& random,
            uint64_t messages) {
  for (; messages > 0; --messages) world.Push(random.Chance(2) ? victim : other);
}

constexpr Fill kFills[] = {
    {"empty", Laps},
    {"with one",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       world.Push(other);
     }},
    {"nearly full",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, world.shape().capacity - 1);
     }},
    {"full",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, world.shape().capacity);
     }},
    {"with some that came back",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       world.ComeBack(random.Chance(2) ? victim : other, 1 + random.Below(4));
       FillUp(world, victim, other, random, random.Below(world.shape().capacity + 1));
     }},
    {"closed",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, random.Below(world.shape().capacity + 1));
       Of(other).handle().Close();
     }},
    {"with one dead in a push",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, random.Below(world.shape().capacity));
       DieWithin(world, other, random, [&](Process& dying) { world.PushPerhaps(dying); });
     }},
    {"with one dead in a pop",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, 1 + random.Below(world.shape().capacity));
       DieWithin(world, other, random, [&](Process& dying) { world.PopPerhaps(dying); });
     }},
    {"with two dead in anything",
     [](LedgerWorld& world, Process& victim, Process& other, Random& random) {
       Laps(world, victim, other, random);
       FillUp(world, victim, other, random, random.Below(world.shape().capacity + 1));
       const auto anything = [&](Process& dying) {
         for (int call = 0; call < 3; ++call) {
           random.Chance(2) ? world.PushPerhaps(dying) : world.PopPerhaps(dying);
         }
       };
       DieWithin(world, other, random, {anything, anything});
     }},
};

void PushNow(LedgerWorld& world, Process& victim, bool wait) {
  QueueProcess& process = Of(victim);
  const uint64_t id = world.NewId();
  world.may.insert(id);
  if (!process.handle().ring().descriptors()) {
    const shm::Deadline soon = In(victim, std::chrono::milliseconds(30));
    (void)(wait ? process.items().Push(Item::Of(id), soon) : process.items().TryPush(Item::Of(id)));
    return;
  }
  if (!world.written) return;
  MessageDescriptor descriptor{};
  descriptor.correlation = id;
  descriptor.size_bytes = id ^ 0x5555;
  shm::Call call = process.attachment().Enter(kTestCall);
  (void)process.messages().TryPush(call.lane(), descriptor, world.written);
}

void PopNow(LedgerWorld& world, Process& victim, bool wait) {
  QueueProcess& process = Of(victim);
  if (!process.handle().ring().descriptors()) {
    const shm::Deadline soon = In(victim, std::chrono::milliseconds(30));
    Item item{};
    const PopResult result = wait ? process.items().Pop(item, soon) : process.items().TryPop(item);
    if (result == PopResult::kOk) world.Perhaps(item.id);
    return;
  }
  shm::Call call = process.attachment().Enter(kTestCall);
  const LoanRef loan = process.attachment().loans().Take(call.lane().index());
  MessageDescriptor descriptor;
  const PopResult result = process.messages().TryPop(call.lane(), descriptor, loan);
  // A lease comes back when its holder dies.
  if (result == PopResult::kOk && !world.shape().leased) world.Perhaps(descriptor.correlation);
}

enum class Where { kAll, kInline, kLeased };  // which rings have the call

struct QueueAct {
  const char* name;
  Where where;
  void (*act)(LedgerWorld& world, Process& victim);
};
constexpr QueueAct kActs[] = {
    {"TryPush", Where::kAll,
     [](LedgerWorld& world, Process& victim) { PushNow(world, victim, false); }},
    {"Push", Where::kInline,
     [](LedgerWorld& world, Process& victim) { PushNow(world, victim, true); }},
    {"TryPop", Where::kAll,
     [](LedgerWorld& world, Process& victim) { PopNow(world, victim, false); }},
    {"Pop", Where::kInline,
     [](LedgerWorld& world, Process& victim) { PopNow(world, victim, true); }},
    {"Close", Where::kAll, [](LedgerWorld&, Process& victim) { Of(victim).handle().Close(); }},
    {"Leave", Where::kAll,
     [](LedgerWorld&, Process& victim) {
       (void)Of(victim).attachment().Leave(In(victim, std::chrono::milliseconds(30)));
     }},
    {"ReturnLeased", Where::kLeased,
     [](LedgerWorld& world, Process& victim) {
       if (world.held.empty()) return;
       shm::Call call = Of(victim).attachment().Enter(kTestCall);
       (void)Of(victim).messages().ReturnLeased(call.lane(), world.held.back(),
                                                In(victim, std::chrono::milliseconds(30)));
     }},
    {"TryReturnLeased", Where::kLeased,
     [](LedgerWorld& world, Process& victim) {
       if (world.held.empty()) return;
       shm::Call call = Of(victim).attachment().Enter(kTestCall);
       (void)Of(victim).messages().TryReturnLeased(call.lane(), world.held.back());
     }},
};

Operation Make(const QueueAct& act, const Ring& ring, const Fill& fill) {
  Operation operation;
  operation.component = "queue";
  operation.name = act.name;
  operation.shape = std::string(ring.text) + ", " + fill.text;
  operation.make_world = [ring] { return std::make_unique<LedgerWorld>(ring.options); };
  operation.prepare = [act, fill](World& world, Process& victim, Process& other, Random& random) {
    LedgerWorld& ledger = Of(world);
    if (act.where == Where::kLeased) {  // the victim has something to give back
      ledger.Push(other);
      ledger.Pop(victim, true);
    }
    fill.build(ledger, victim, other, random);
    if (ledger.shape().descriptors) ledger.written = NewMessage(Of(victim));
  };
  operation.act = [act](World& world, Process& victim, Random&) { act.act(Of(world), victim); };
  operation.check = [](World& world, Process& survivor, Findings& findings) {
    Of(world).Check(survivor, findings);
  };
  return operation;
}

std::vector<Operation> EveryActOnEveryQueue() {
  std::vector<Operation> all;
  for (const QueueAct& act : kActs) {
    for (const Ring& ring : Rings()) {
      if (act.where == Where::kLeased && !ring.options.leased) continue;
      if (act.where == Where::kInline && ring.options.descriptors) continue;
      for (const Fill& fill : kFills) all.push_back(Make(act, ring, fill));
    }
  }
  return all;
}
THOLE_OPERATIONS(EveryActOnEveryQueue());

}  // namespace
}  // namespace thole::queue::testing
