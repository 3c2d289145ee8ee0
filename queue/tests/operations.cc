// Every public mutating operation, for the stepper.
#include <string>

#include "support/queue_world.h"

namespace thole::queue::testing {
namespace {

using shm::Findings;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

constexpr uint64_t kBeforeCellWrap = (uint64_t{1} << 40) - 2;

QueueWorld& Of(World& world) { return static_cast<QueueWorld&>(world); }
QueueProcess& Of(Process& process) { return QueueWorld::Of(process); }
// A blocking call must come to an end also where another process has filled or drained the queue.
shm::Deadline Soon(Process& process) {
  return shm::testing::In(process, std::chrono::milliseconds(30));
}

std::function<std::unique_ptr<World>()> WorldOf(const QueueOptions& options) {
  return [options] {
    return std::make_unique<QueueWorld>(std::vector<QueueShape>{{"jobs", options}});
  };
}

// What the survivor finds must be ids 1 .. n in this order, the last one or the first one possibly
// missing as `may_lack` says, each at most once.
void ExpectIds(Process& survivor, Findings& findings, const std::vector<uint64_t>& expected,
               uint64_t may_lack) {
  QueueProcess& process = Of(survivor);
  std::vector<uint64_t> found;
  uint64_t id = 0;
  PopInfo info;
  std::string text;
  while (found.size() < 20 && PopOne(process, id, info) == PopResult::kOk) {
    found.push_back(id);
    text.append(" ").append(std::to_string(id));
  }
  std::vector<uint64_t> without;
  for (const uint64_t one : expected) {
    if (one != may_lack) without.push_back(one);
  }
  if (found != expected && found != without) findings.Add("ids", 0, "the survivor found" + text);
}

// Whether the other operation of a pair has filled the queue already.
bool HasMessages(Process& process) { return Of(process).handle().ring().SizeApprox() != 0; }

// A loan from `prepare` to `act`; none where operations before it have used up what there is.
void Note(World& world, shm::LoanRef loan) {
  if (!loan) return;
  Of(world).notes[0] = loan.index();
  Of(world).notes[1] = loan.lane();
  Of(world).notes[2] = 1;
}
shm::LoanRef Noted(World& world, shm::Attachment& attachment) {
  if (Of(world).notes[2] == 0) return {};
  const auto index = static_cast<uint16_t>(Of(world).notes[0]);
  const auto lane = static_cast<uint16_t>(Of(world).notes[1]);
  return {&attachment.lane(lane).data().loans[index], lane, index};
}

// PersistentQueue::TryPush and Push on a queue that holds ids 1 and 2; 3 is pushed.
Operation PushOperation(const std::string& name, const std::string& shape,
                        const QueueOptions& options) {
  Operation operation;
  operation.component = "queue";
  operation.name = name;
  operation.shape = shape;
  operation.make_world = WorldOf(options);
  operation.prepare = [](World& world, Process& victim, Process& other, Random& random) {
    uint64_t id = 0;
    PopInfo info;
    if (!HasMessages(other)) {
      for (uint64_t i = random.Below(5); i != 0; --i) {  // somewhere in the lap
        (void)PushOne(Of(victim), 9);
        (void)PopOne(Of(other), id, info);
      }
      (void)PushOne(Of(other), 1);
      (void)PushOne(Of(victim), 2);
    }
    if (Of(victim).handle().ring().descriptors()) Note(world, NewMessage(Of(victim)));
  };
  operation.act = [name](World& world, Process& victim, Random&) {
    QueueProcess& process = Of(victim);
    shm::Attachment& attachment = process.attachment();
    if (!process.handle().ring().descriptors()) {
      const auto queue = process.items();
      if (name == "Push") {
        (void)queue.Push(Item::Of(3), Soon(victim));
      } else {
        (void)queue.TryPush(Item::Of(3));
      }
      return;
    }
    MessageDescriptor descriptor{};
    descriptor.correlation = 3;
    descriptor.size_bytes = 3 ^ 0x5555;
    const shm::LoanRef loan = Noted(world, attachment);
    if (!loan) return;
    shm::Call call = attachment.Enter(kTestCall);
    (void)process.messages().TryPush(call.lane(), descriptor, loan);
  };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {1, 2, 3}, 3);
  };
  return operation;
}

// The victim takes id 1 of 1, 2, 3. `returned`: 1 lies in the return list.
Operation PopOperation(const std::string& name, const std::string& shape,
                       const QueueOptions& options, bool returned = false) {
  Operation operation;
  operation.component = "queue";
  operation.name = name;
  operation.shape = shape;
  operation.make_world = WorldOf(options);
  operation.prepare = [returned](World&, Process& victim, Process& other, Random& random) {
    uint64_t id = 0;
    PopInfo info;
    for (uint64_t i = random.Below(5); i != 0 && !HasMessages(other); --i) {
      (void)PushOne(Of(victim), 9);
      (void)PopOne(Of(other), id, info);
    }
    for (uint64_t i = HasMessages(other) ? 4 : 1; i <= 3; ++i) (void)PushOne(Of(other), i);
    shm::LoanRef loan;
    if (returned && PopOne(Of(other), id, info, 0, &loan) == PopResult::kOk) {
      (void)Return(Of(other), loan);
    }
  };
  operation.act = [name](World&, Process& victim, Random&) {
    QueueProcess& process = Of(victim);
    if (!process.handle().ring().descriptors()) {
      Item item;
      if (name == "Pop") {
        (void)process.items().Pop(item, Soon(victim));
      } else {
        (void)process.items().TryPop(item);
      }
      return;
    }
    shm::Call call = process.attachment().Enter(kTestCall);
    const shm::LoanRef loan = process.attachment().loans().Take(call.lane().index());
    if (!loan) return;
    MessageDescriptor descriptor;
    (void)process.messages().TryPop(call.lane(), descriptor, loan);
  };
  const bool leased = options.leased;
  operation.check = [leased](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {1, 2, 3}, leased ? 0 : 1);  // a lease comes back in any case
  };
  return operation;
}

// The victim gives id 1 back; 2 and 3 are in the ring, perhaps one is in the list already.
Operation ReturnOperation(const std::string& name, const std::string& shape, bool second) {
  Operation operation;
  operation.component = "queue";
  operation.name = name;
  operation.shape = shape;
  operation.make_world = WorldOf(Blocks(4, true));
  operation.prepare = [second](World& world, Process& victim, Process& other, Random&) {
    uint64_t id = 0;
    PopInfo info;
    shm::LoanRef loan;
    shm::LoanRef others;
    for (uint64_t i = HasMessages(other) ? 2 : 1; i <= 3; ++i) (void)PushOne(Of(other), i);
    (void)PopOne(Of(victim), id, info, 0, &loan);
    if (second && PopOne(Of(other), id, info, 0, &others) == PopResult::kOk) {
      (void)Return(Of(other), others);
    }
    Note(world, loan);
  };
  operation.act = [name](World& world, Process& victim, Random&) {
    shm::Attachment& attachment = Of(victim).attachment();
    const shm::LoanRef loan = Noted(world, attachment);
    if (!loan) return;
    shm::Call call = attachment.Enter(kTestCall);
    if (name == "TryReturnLeased") {
      (void)Of(victim).messages().TryReturnLeased(call.lane(), loan);
    } else {
      (void)Of(victim).messages().ReturnLeased(call.lane(), loan, shm::Deadline::Never());
    }
  };
  operation.check = [second](World&, Process& survivor, Findings& findings) {
    const std::vector<uint64_t> order =
        second ? std::vector<uint64_t>{2, 1, 3} : std::vector<uint64_t>{1, 2, 3};
    ExpectIds(survivor, findings, order, 0);
  };
  return operation;
}

Operation CloseOperation() {
  Operation operation = PopOperation("Close", "with three messages", Inline(4));
  operation.act = [](World&, Process& victim, Random&) { Of(victim).handle().Close(); };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {1, 2, 3}, 0);
  };
  return operation;
}

// A pop from a closed and empty queue puts the seal.
Operation SealOperation() {
  Operation operation = PopOperation("TryPop", "puts the seal", Inline(4));
  operation.prepare = [](World&, Process& victim, Process&, Random&) {
    (void)PushOne(Of(victim), 1);
    Of(victim).handle().Close();
    uint64_t id = 0;
    PopInfo info;
    (void)PopOne(Of(victim), id, info);
  };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {}, 0);
    if (PushOne(Of(survivor), 4) != PushResult::kClosed) {
      findings.Add("closed", 0, "a push into a closed queue");
    }
  };
  return operation;
}

// A blocking pop that finds nothing: registers, sleeps, gives up.
Operation WaitOperation() {
  Operation operation = PopOperation("Pop", "waits in vain", Inline(2));
  operation.prepare = [](World&, Process&, Process&, Random&) {};
  operation.act = [](World&, Process& victim, Random&) {
    Item item;
    (void)Of(victim).items().Pop(item, shm::testing::In(victim, std::chrono::milliseconds(30)));
  };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {}, 0);
  };
  return operation;
}

Operation ConnectOperation() {
  Operation operation =
      PopOperation("ConnectHandle", "of a seat that had not announced itself", Inline(4));
  operation.prepare = [](World&, Process&, Process& other, Random&) {
    for (uint64_t i = HasMessages(other) ? 4 : 1; i <= 3; ++i) (void)PushOne(Of(other), i);
  };
  operation.act = [](World&, Process& victim, Random&) {
    // Here, not before: until now the seat may have used the queue.
    const QueueRing& ring = Of(victim).handle().ring();
    const uint32_t slot = Of(victim).attachment().slot();
    ring.HolderWord(slot).fetch_and(~(uint64_t{1} << slot % 64));
    (void)Of(victim).factory().ConnectHandle("jobs", nullptr, false);
  };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    ExpectIds(survivor, findings, {1, 2, 3}, 0);
  };
  return operation;
}

// A world in which queues can be made: large blocks, and a table for their names.
class CreatingWorld final : public QueueWorld {
 public:
  CreatingWorld() : QueueWorld({{"jobs", Inline(2)}}) {}
  std::vector<shm::RootRequest> Roots() const override {
    return {TestPool::Root(16, 1088), TestNames::Root(), *QueueFactory::Root("jobs", Inline(2))};
  }
};

// A queue is made under a name: afterwards it is there and works, or its block is free.
Operation CreateOperation() {
  Operation operation = PopOperation("CreateHandle", "in a block of the heap", Inline(2));
  operation.make_world = [] { return std::make_unique<CreatingWorld>(); };
  operation.prepare = [](World&, Process&, Process&, Random&) {};
  operation.act = [](World&, Process& victim, Random&) {
    (void)Of(victim).factory().CreateHandle("created", Inline(2));
  };
  operation.check = [](World&, Process& survivor, Findings& findings) {
    auto made = Of(survivor).factory().OpenOrCreate<Item>("created", {.capacity = 2});
    if (!made.ok()) {
      findings.Add("create", 0, std::string(made.status().message()));
      return;
    }
    Item item{};
    if (made->TryPush(Item::Of(7)) != PushResult::kOk || made->TryPop(item) != PopResult::kOk ||
        item.id != 7 || made->TryPop(item) != PopResult::kEmpty) {
      findings.Add("create", 0, "the created queue does not work");
    }
  };
  return operation;
}

// Detaching with a lease and a plain loan: both go where they belong.
Operation LeaveOperation() {
  Operation operation = PopOperation("Leave", "with a lease", Blocks(4, true));
  operation.prepare = [](World&, Process& victim, Process& other, Random&) {
    uint64_t id = 0;
    PopInfo info;
    shm::LoanRef loan;
    for (uint64_t i = 1; i <= 3; ++i) (void)PushOne(Of(other), i);
    (void)PopOne(Of(victim), id, info, 0, &loan);
    (void)NewMessage(Of(victim));
  };
  operation.act = [](World&, Process& victim, Random&) {
    (void)Of(victim).attachment().Leave(shm::Deadline::Never());
  };
  return operation;
}

THOLE_OPERATION(PushOperation("TryPush", "inline", Inline(4)));
THOLE_OPERATION(PushOperation("TryPush", "inline, over the wrap", Inline(4, kBeforeCellWrap)));
THOLE_OPERATION(PushOperation("Push", "inline", Inline(4)));
THOLE_OPERATION(PushOperation("TryPush", "full", Inline(2)));
THOLE_OPERATION(PushOperation("TryPush", "block", Blocks(4, false)));
THOLE_OPERATION(PushOperation("TryPush", "block into a leased queue", Blocks(4, true)));
THOLE_OPERATION(PopOperation("TryPop", "inline", Inline(4)));
THOLE_OPERATION(PopOperation("TryPop", "inline, over the wrap", Inline(4, kBeforeCellWrap)));
THOLE_OPERATION(PopOperation("Pop", "inline", Inline(4)));
THOLE_OPERATION(PopOperation("TryPop", "block", Blocks(4, false)));
THOLE_OPERATION(PopOperation("TryPop", "lease from the ring", Blocks(4, true)));
THOLE_OPERATION(PopOperation("TryPop", "lease from the return list", Blocks(4, true), true));
THOLE_OPERATION(ReturnOperation("ReturnLeased", "into an empty list", false));
THOLE_OPERATION(ReturnOperation("ReturnLeased", "behind another one", true));
THOLE_OPERATION(ReturnOperation("TryReturnLeased", "into an empty list", false));
THOLE_OPERATION(CloseOperation());
THOLE_OPERATION(SealOperation());
THOLE_OPERATION(WaitOperation());
THOLE_OPERATION(ConnectOperation());
THOLE_OPERATION(CreateOperation());
THOLE_OPERATION(LeaveOperation());

}  // namespace
}  // namespace thole::queue::testing
