// The written order contract of a queue, as programs: plain words beside the queue that only the
// queue's own edges put in order. In the simulator's weak mode a missing edge is a data race.
#include "support/queue_world.h"

namespace thole::queue::testing {
namespace {

using shm::Findings;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

constexpr uint16_t kSideRoot = 9;
constexpr uint64_t kMessages = 4;
constexpr uint32_t kTries = 7;  // of a consumer: more than there are messages

/// Ordinary memory that processes share, without any order of its own.
struct Side {
  uint64_t words[kMessages + 1];
};

class SideWorld final : public QueueWorld {
 public:
  explicit SideWorld(uint32_t capacity)
      : QueueWorld(std::vector<QueueShape>{{"jobs", Inline(capacity)}}, 8) {}
  std::vector<shm::RootRequest> Roots() const override {
    auto roots = QueueWorld::Roots();
    shm::RootRequest side{};
    side.component = shm::ComponentId::kShm;  // nobody's repair waits for it
    side.kind = kSideRoot;
    side.size_bytes = sizeof(Side);
    side.align = shm::kCacheLine;
    side.name = "side";
    roots.push_back(side);
    return roots;
  }
  static Side& SideOf(Process& process) {
    const shm::Segment& segment = process.attachment().segment();
    const auto root = segment.Root(shm::ComponentId::kShm, kSideRoot);
    return *segment.view().At<Side>(root->offset);
  }
  /// An order that was not kept.
  void Broken() { ++notes[0]; }
};

SideWorld& Of(World& world) { return static_cast<SideWorld&>(world); }

shm::testing::Program Litmus(const char* name, uint32_t capacity, uint32_t processes,
                             std::function<void(World&, Process&, uint32_t, Random&)> body) {
  shm::testing::Program program;
  program.component = "queue";
  program.name = name;
  program.processes = processes;
  program.make_world = [capacity] { return std::make_unique<SideWorld>(capacity); };
  program.body = std::move(body);
  program.check = [](World& world, Process&, uint32_t, Findings& findings) {
    if (Of(world).notes[0] != 0) findings.Add("order", 0, "what came before was not visible");
  };
  return program;
}

// What a producer wrote before it pushed a message is there for whoever pops the message.
void WriteAndPush(World& world, Process& process, uint32_t index, Random&) {
  Side& side = SideWorld::SideOf(process);
  for (uint64_t i = 1; i <= kMessages; ++i) {
    if (index == 0) {
      side.words[i] = i * 7;
      (void)PushOne(QueueWorld::Of(process), i);
    } else {
      uint64_t id = 0;
      PopInfo info;
      if (PopOne(QueueWorld::Of(process), id, info) != PopResult::kOk) continue;
      if (side.words[id] != id * 7) Of(world).Broken();
    }
  }
}
THOLE_PROGRAM(Litmus("litmus push before pop", 8, 3, WriteAndPush));

// What a consumer read before it popped a message is over for the producer that gets its place.
template <uint32_t capacity>
void ReadAndPop(World& world, Process& process, uint32_t index, Random&) {
  Side& side = SideWorld::SideOf(process);
  uint64_t next = 1;
  for (uint32_t tries = 0; tries < kTries && next <= kMessages; ++tries) {
    if (index == 0) {
      if (PushOne(QueueWorld::Of(process), next) != PushResult::kOk) continue;
      if (next > capacity) side.words[next - capacity] = 1;  // its place was given back
      ++next;
    } else {
      uint64_t id = 0;
      PopInfo info;
      if (side.words[next] != 0) Of(world).Broken();
      if (PopOne(QueueWorld::Of(process), id, info) == PopResult::kOk) ++next;
    }
  }
}
THOLE_PROGRAM(Litmus("litmus pop before push, cap 1", 1, 2, ReadAndPop<1>));
THOLE_PROGRAM(Litmus("litmus pop before push, cap 2", 2, 2, ReadAndPop<2>));

// What was written before a queue was closed is there for whoever is told that it is closed.
void WriteAndClose(World& world, Process& process, uint32_t index, Random&) {
  Side& side = SideWorld::SideOf(process);
  if (index == 0) {
    (void)PushOne(QueueWorld::Of(process), 1);
    side.words[0] = 9;
    QueueWorld::Of(process).handle().Close();
    return;
  }
  for (uint32_t tries = 0; tries < kTries; ++tries) {
    uint64_t id = 0;
    PopInfo info;
    if (PopOne(QueueWorld::Of(process), id, info) != PopResult::kClosed) continue;
    if (side.words[0] != 9) Of(world).Broken();
    return;
  }
}
THOLE_PROGRAM(Litmus("litmus close before closed", 2, 3, WriteAndClose));

}  // namespace
}  // namespace thole::queue::testing
