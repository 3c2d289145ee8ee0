// Processes that use the registry at random and are killed at random.
#include "child_processes.h"
#include "thole/shm/crc32c.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::testing::Random;
using testing::ExpectClean;
using testing::Fork;
using testing::Member;
using testing::NamedSegment;
using testing::Numbered;
using testing::SharedBoard;
using testing::WaitForChild;
using testing::WaitUntil;

// A buffer's first two words: a number and its checksum, written by its creator.
uint64_t SumOf(uint64_t number) { return shm::Crc32c(&number, sizeof number) | uint64_t{1} << 63; }

// One random step of a worker of the storm. Returns false when it saw what cannot be.
bool StormStep(Member& me, std::vector<std::pair<BufferHandle, uint64_t>>& held, Random& random) {
  SharedBufferRegistry& registry = me.registry();
  const std::string name = Numbered("n", random.Below(6));
  const Deadline soon = Deadline::In(std::chrono::seconds(20));
  switch (random.Below(5)) {
    case 0: {
      const Lifetime lifetime = random.Chance(3) ? Lifetime::kEphemeral : Lifetime::kPersistent;
      auto made = registry.Create(name, 64 + random.Below(512), {.lifetime = lifetime}, soon);
      if (!made.ok())
        return absl::IsAlreadyExists(made.status()) || absl::IsResourceExhausted(made.status());
      auto* number = made->As<std::atomic<uint64_t>>();
      if (number[0].load() != 0 || number[1].load() != 0) return false;  // not zeroed
      const uint64_t value = random.Next() | 1;
      number[1].store(SumOf(value));
      number[0].store(value);
      held.emplace_back(*std::move(made), value);
      return true;
    }
    case 1: {
      auto mine = registry.Acquire(name, 0, 64, soon);
      if (!mine.ok()) return absl::IsNotFound(mine.status());
      auto* number = mine->As<std::atomic<uint64_t>>();
      const uint64_t value = number[0].load();
      if (value != 0 && number[1].load() != SumOf(value)) return false;
      held.emplace_back(*std::move(mine), value);
      return true;
    }
    case 2: {
      const auto removed = registry.Remove(name, soon);
      return removed.ok() || absl::IsNotFound(removed);
    }
    case 3:
      if (!held.empty())
        held.erase(held.begin() + static_cast<ptrdiff_t>(random.Below(held.size())));
      return true;
    default:
      // What is held keeps its bytes, whatever became of its name.
      for (const auto& [handle, value] : held) {
        auto* number = handle.As<std::atomic<uint64_t>>();
        if (value != 0 && (number[0].load() != value || number[1].load() != SumOf(value))) {
          return false;
        }
      }
      if (held.size() > 20) held.clear();
      for (const auto& info : registry.List()) {
        if (info.name == "(damaged)" || info.size_bytes < 64 || info.size_bytes > 576) return false;
      }
      return true;
  }
}

void StormWorker(const NamedSegment& segment, SharedBoard& board, int worker, uint64_t seed) {
  auto me = segment.Join();
  std::vector<std::pair<BufferHandle, uint64_t>> held;
  Random random(seed);
  for (;;) {
    if (!StormStep(*me, held, random)) board->wrong.fetch_add(1);
    board->steps[worker].fetch_add(1);
  }
}

TEST(RegistryStorm, LosesNothingToRandomKills) {
  constexpr int kWorkers = 4;
  constexpr int kKills = 200;
  NamedSegment segment(16, 12, 4 << 20);
  SharedBoard board;
  Random random(20240607);
  pid_t workers[kWorkers];
  const auto start = [&](int i) {
    const uint64_t seed = random.Next();
    workers[i] = Fork([&, i, seed] { StormWorker(segment, board, i, seed); });
  };
  for (int i = 0; i < kWorkers; ++i) start(i);
  auto me = segment.Join();
  uint64_t repaired = 0;
  for (int kills = 0; kills < kKills; ++kills) {
    const int i = static_cast<int>(random.Below(kWorkers));
    const uint64_t target = board->steps[i].load() + 1 + random.Below(60);
    WaitUntil([&] { return board->steps[i].load() >= target; });
    kill(workers[i], SIGKILL);
    EXPECT_EQ(WaitForChild(workers[i]), SIGKILL) << "a worker ended by itself";
    start(i);
    if (random.Chance(3)) repaired += me->attachment().RepairAll();
  }
  uint64_t steps = 0;
  for (int i = 0; i < kWorkers; ++i) {
    kill(workers[i], SIGKILL);
    EXPECT_EQ(WaitForChild(workers[i]), SIGKILL);
    steps += board->steps[i].load();
  }
  WaitUntil([&] {
    me->attachment().RepairAll();
    const auto& at = me->attachment();
    for (uint32_t slot = 0; slot < at.segment().participants_max(); ++slot) {
      const auto word = shm::SlotWord::Unpack(at.segment().Slot(slot)->word.load());
      if (slot != at.slot() && word.state != shm::SlotState::kFree) return false;
    }
    return true;
  });
  ExpectClean(*me);
  EXPECT_TRUE(me->registry().Sweep());
  uint32_t left = 0;
  for (const auto& info : me->registry().List()) {
    EXPECT_EQ(info.holders, 0u) << info.name;
    EXPECT_TRUE(me->registry().Remove(info.name).ok()) << info.name;
    ++left;
  }
  EXPECT_EQ(board->wrong.load(), 0);
  EXPECT_EQ(me->registry().entry_count(), 0u);
  EXPECT_EQ(me->heap().used_bytes(), 0u);
  std::printf(
      "%d kills, %lu steps, %lu repairs by the parent, %u names left, wrong %d, leaked %lu\n",
      kKills, steps, repaired, left, board->wrong.load(), me->heap().used_bytes());
}

}  // namespace
}  // namespace thole::registry
