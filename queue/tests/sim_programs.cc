// Programs for the simulator: producers and consumers that are killed anywhere.
#include <string>

#include "support/queue_world.h"

namespace thole::queue::testing {
namespace {

using shm::Findings;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

enum class Style : uint8_t {
  kTry,    // single attempts, a few more than there are messages
  kWait,   // blocking calls with deadlines
  kClose,  // attempts; each producer closes the queue when it is done
};

struct Plan {
  const char* name;
  QueueOptions options;
  uint32_t producers;
  uint32_t consumers;
  uint32_t each;  // messages of a producer
  Style style;
};

QueueWorld& Of(World& world) { return static_cast<QueueWorld&>(world); }

constexpr auto kLong = std::chrono::milliseconds(400);

// Waits for another attempt. Notes in `slept_until` the history's clock if a whole slice passed
// without news.
bool WaitMore(QueueWait& wait, QueueWorld& world, Process& sim, bool pending, uint32_t stalled_on,
              uint64_t* slept_until) {
  shm::Platform& platform = sim.attachment().platform();
  const int64_t before = platform.NowNs();
  const bool again = wait.Next(pending, stalled_on);
  const bool whole_slice = platform.NowNs() - before >= shm::kWaitSliceNs;
  *slept_until = whole_slice ? world.history().clock() : 0;
  return again;
}

// With one caller on each side nobody else can have been woken instead: what was complete when a
// whole slice was over should have ended it.
void ExpectWoken(QueueWorld& world, Event made_by, uint64_t message, uint64_t slept_until) {
  if (slept_until == 0) return;
  uint64_t completed = kNever;
  for (const CallRecord& record : world.history().records()) {
    if (record.event == made_by && record.ok &&
        (message == kNoMessage || record.message == message)) {
      completed = record.end;
    }
  }
  if (completed < slept_until) ++world.notes[0];
}

PushResult PushOnce(const Plan& plan, QueueWorld& world, Process& sim, uint64_t id) {
  QueueProcess& process = QueueWorld::Of(sim);
  if (plan.style != Style::kWait) return PushOne(process, id);
  uint64_t slept_until = 0;
  QueueWait wait(process.handle(), WaitSide::kPush, shm::testing::In(sim, kLong));
  for (;;) {
    const PushResult result = PushOne(process, id);
    if (result == PushResult::kOk) ExpectWoken(world, Event::kPop, kNoMessage, slept_until);
    if (!MayChange(result)) return result;
    const bool pending = result == PushResult::kPending;
    if (!WaitMore(wait, world, sim, pending, kNobody, &slept_until)) return PushResult::kTimeout;
  }
}

PopResult PopOnce(const Plan& plan, QueueWorld& world, Process& sim, uint64_t& id, PopInfo& info,
                  shm::LoanRef* keep) {
  QueueProcess& process = QueueWorld::Of(sim);
  if (plan.style != Style::kWait) return PopOne(process, id, info, 0, keep);
  uint64_t slept_until = 0;
  QueueWait wait(process.handle(), WaitSide::kPop, shm::testing::In(sim, kLong));
  for (;;) {
    const PopResult result = PopOne(process, id, info, 0, keep);
    if (result == PopResult::kOk) ExpectWoken(world, Event::kPush, id, slept_until);
    if (!MayChange(result)) return result;
    const bool pending = result == PopResult::kPending;
    if (!WaitMore(wait, world, sim, pending, info.stalled_on, &slept_until)) {
      return PopResult::kTimeout;
    }
  }
}

size_t Begin(QueueWorld& world, Process& sim, Event event, uint32_t index,
             uint64_t id = kNoMessage) {
  world.Look(sim);
  return world.history().Begin(event, index, id);
}

void Produce(const Plan& plan, QueueWorld& world, Process& sim, uint32_t index) {
  for (uint64_t i = 0; i < plan.each; ++i) {
    const uint64_t id = (index + 1) << 8 | i;
    const size_t call = Begin(world, sim, Event::kPush, index, id);
    const PushResult result = PushOnce(plan, world, sim, id);
    world.Look(sim);
    world.history().EndPush(call, result);
  }
  if (plan.style != Style::kClose) return;
  const size_t call = Begin(world, sim, Event::kClose, index);
  QueueWorld::Of(sim).handle().Close();
  world.Look(sim);
  world.history().End(call, true);
}

void Finish(QueueWorld& world, Process& sim, uint32_t index, uint64_t id, shm::LoanRef loan,
            Random& random) {
  QueueProcess& process = QueueWorld::Of(sim);
  const bool back = process.handle().ring().leased() && random.Chance(3);
  const size_t call = Begin(world, sim, back ? Event::kReturn : Event::kAck, index, id);
  bool ok = true;
  if (back) {
    ok = Return(process, loan) == ReturnResult::kOk;
  } else {
    Free(process, loan);
  }
  world.Look(sim);
  world.history().End(call, ok);
}

void Consume(const Plan& plan, QueueWorld& world, Process& sim, uint32_t index, Random& random) {
  const uint32_t share = plan.each * plan.producers / plan.consumers;
  const uint32_t tries = plan.style == Style::kWait ? share : share + 3;
  for (uint32_t i = 0; i < tries; ++i) {
    const size_t call = Begin(world, sim, Event::kPop, index);
    uint64_t id = 0;
    PopInfo info;
    shm::LoanRef loan;
    const PopResult result = PopOnce(plan, world, sim, id, info, &loan);
    world.Look(sim);
    world.history().EndPop(call, result, id, info.attempts);
    if (result == PopResult::kOk && loan) Finish(world, sim, index, id, loan, random);
    if (result == PopResult::kClosed) break;
  }
}

void CheckLedger(const Plan& plan, QueueWorld& world, Process& survivor, uint32_t died,
                 Findings& findings) {
  QueueProcess& process = QueueWorld::Of(survivor);
  process.Audit(findings);
  // The drain belongs to the history: whatever is left is there, in the right order.
  const uint32_t judge = plan.producers + plan.consumers;
  History& history = world.history();
  for (uint32_t i = 0; i < 100; ++i) {
    uint64_t id = 0;
    PopInfo info;
    const size_t call = Begin(world, survivor, Event::kPop, judge);
    const PopResult result = PopOne(process, id, info);
    history.EndPop(call, result, id, info.attempts);
    if (result != PopResult::kOk) break;
    history.End(history.Begin(Event::kAck, judge, id), true);
  }
  const auto deaths = static_cast<uint32_t>(__builtin_popcount(died));
  history.Check({.capacity = plan.options.capacity,
                 .leased = plan.options.leased,
                 .real_time = !world.weak_memory},
                findings);
  if (plan.style != Style::kWait || deaths != 0) return;
  bool returned = false;  // then consumers may end before producers do
  for (const CallRecord& record : world.history().records()) {
    if (record.event == Event::kReturn) returned = true;
  }
  for (const CallRecord& record : world.history().records()) {
    if (!returned && (record.push == PushResult::kTimeout || record.pop == PopResult::kTimeout)) {
      findings.Add("wake", 0, "process " + std::to_string(record.process) + " waited in vain");
    }
  }
  if (world.notes[0] != 0 && plan.producers == 1 && plan.consumers == 1) {
    findings.Add("wake", 0, "somebody slept although there was what he waited for");
  }
}

shm::testing::Program ProgramOf(const Plan& plan) {
  shm::testing::Program program;
  program.component = "queue";
  program.name = plan.name;
  program.processes = plan.producers + plan.consumers;
  program.make_world = [plan] {
    return std::make_unique<QueueWorld>(std::vector<QueueShape>{{"jobs", plan.options}}, 8);
  };
  program.body = [plan](World& world, Process& process, uint32_t index, Random& random) {
    Of(world).Watch(process, index);
    if (index < plan.producers) {
      Produce(plan, Of(world), process, index);
    } else {
      Consume(plan, Of(world), process, index, random);
    }
  };
  program.check = [plan](World& world, Process& survivor, uint32_t died, Findings& findings) {
    CheckLedger(plan, Of(world), survivor, died, findings);
  };
  return program;
}

constexpr uint64_t kBeforeCellWrap = (uint64_t{1} << 40) - 2;
constexpr uint64_t kBeforeWrap = (uint64_t{1} << 48) - 2;

#define QUEUE_PROGRAM(...) THOLE_PROGRAM(ProgramOf(Plan{__VA_ARGS__}))
QUEUE_PROGRAM("items 1P1C cap 1", Inline(1), 1, 1, 3, Style::kTry);
QUEUE_PROGRAM("items 2P2C cap 1", Inline(1), 2, 2, 2, Style::kTry);
QUEUE_PROGRAM("items 2P2C cap 2", Inline(2, kBeforeCellWrap), 2, 2, 3, Style::kTry);
QUEUE_PROGRAM("items 2P2C cap 4", Inline(4, kBeforeWrap), 2, 2, 4, Style::kTry);
QUEUE_PROGRAM("items 1P3C cap 4", Inline(4), 1, 3, 6, Style::kTry);
QUEUE_PROGRAM("items 2P2C cap 2 close", Inline(2), 2, 2, 2, Style::kClose);
QUEUE_PROGRAM("items 1P1C cap 1 wait", Inline(1), 1, 1, 4, Style::kWait);
QUEUE_PROGRAM("items 2P2C cap 1 wait", Inline(1), 2, 2, 2, Style::kWait);
QUEUE_PROGRAM("items 2P2C cap 2 wait", Inline(2), 2, 2, 3, Style::kWait);
QUEUE_PROGRAM("blocks 1P1C cap 1", Blocks(1, false), 1, 1, 3, Style::kTry);
QUEUE_PROGRAM("blocks 2P2C cap 2", Blocks(2, false), 2, 2, 3, Style::kTry);
QUEUE_PROGRAM("blocks 2P2C cap 4", Blocks(4, false, kBeforeWrap), 2, 2, 3, Style::kTry);
QUEUE_PROGRAM("blocks 2P2C cap 2 close", Blocks(2, false), 2, 2, 2, Style::kClose);
QUEUE_PROGRAM("leased 1P1C cap 1", Blocks(1, true), 1, 1, 3, Style::kTry);
QUEUE_PROGRAM("leased 2P2C cap 2", Blocks(2, true), 2, 2, 3, Style::kTry);
QUEUE_PROGRAM("leased 1P3C cap 4", Blocks(4, true, kBeforeCellWrap), 1, 3, 6, Style::kTry);
QUEUE_PROGRAM("leased 2P2C cap 2 close", Blocks(2, true), 2, 2, 2, Style::kClose);
QUEUE_PROGRAM("leased 2P2C cap 2 wait", Blocks(2, true), 2, 2, 3, Style::kWait);

// A message goes from one leased queue through a plain one: two queues at once, in one loan.
shm::testing::Program Forwarding() {
  shm::testing::Program program;
  program.component = "queue";
  program.name = "forward between two queues";
  program.processes = 3;
  program.make_world = [] {
    return std::make_unique<QueueWorld>(
        std::vector<QueueShape>{{"in", Blocks(2, true)}, {"out", Blocks(2, false)}}, 8);
  };
  program.body = [](World&, Process& sim, uint32_t index, Random&) {
    QueueProcess& process = QueueWorld::Of(sim);
    for (uint64_t i = 0; i < 3; ++i) {
      uint64_t id = index << 8 | i;
      PopInfo info;
      shm::LoanRef loan;
      if (index == 0) {
        (void)PushOne(process, id, 0);
      } else if (index == 1 && PopOne(process, id, info, 0, &loan) == PopResult::kOk) {
        MessageDescriptor descriptor{};
        descriptor.correlation = id;
        descriptor.size_bytes = id ^ 0x5555;
        shm::Call call = process.attachment().Enter(kTestCall);
        const PushResult pushed = process.messages(1).TryPush(call.lane(), descriptor, loan);
        call.End();
        if (pushed == PushResult::kOk) {
          process.attachment().loans().Return(loan);
        } else {
          (void)Return(process, loan, 0);
        }
      } else if (index == 2) {
        (void)PopOne(process, id, info, 1);
      }
    }
  };
  return program;
}
THOLE_PROGRAM(Forwarding());

}  // namespace
}  // namespace thole::queue::testing
