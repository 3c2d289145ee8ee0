// Real processes: many at once, killed at any moment, and forked ones.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "registry_world.h"
#include "thole/shm/crc32c.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::NameResult;
using shm::testing::Random;
using testing::AuditAll;
using testing::Member;
using testing::NamedSegment;
using testing::Numbered;

constexpr int kNames = 16;

// What parent and children tell one another; not part of the segment.
struct Board {
  std::atomic<int> ready{0};
  std::atomic<int> go{0};
  std::atomic<int> created[kNames] = {};
  std::atomic<int> own_created{0};
  std::atomic<int> wrong{0};
  std::atomic<uint64_t> steps[8] = {};
};

class SharedBoard {
 public:
  SharedBoard()
      : board_(new(mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0)) Board) {}
  ~SharedBoard() { munmap(board_, sizeof(Board)); }
  Board* operator->() const { return board_; }

 private:
  Board* board_;
};

pid_t Fork(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(100);
  body();
  std::fflush(nullptr);
  _exit(0);
}

// 0 when the child left by itself with that exit code, else the signal that ended it.
int WaitForChild(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

void WaitUntil(const std::function<bool()>& there) {
  while (!there()) sched_yield();
}

void ExpectClean(Member& member) {
  shm::Findings findings;
  AuditAll(member.attachment().segment(), findings);
  EXPECT_TRUE(findings.empty()) << findings.ToString();
}

// X09: ten threads in each of ten processes.
void CreateNames(Member& me, SharedBoard& board, int process, int thread) {
  WaitUntil([&] { return board->go.load() != 0; });
  for (int i = 0; i < kNames; ++i) {
    const int which = (i + thread + process) % kNames;
    const auto same = me.registry().Create(Numbered("same-", which), 64);
    if (same.ok()) board->created[which].fetch_add(1);
    if (!same.ok() && !absl::IsAlreadyExists(same.status())) board->wrong.fetch_add(1);
    if (i % 4 != 0) continue;
    const auto own = me.registry().Create(Numbered("own-", process * 1000 + thread * 100 + i), 64);
    if (own.ok()) board->own_created.fetch_add(1);
  }
}

TEST(RegistryProcesses, OfTenTimesTenThreadsOneCreatesEachName) {
  NamedSegment segment(512, 16, 8 << 20);
  SharedBoard board;
  std::vector<pid_t> children;
  for (int process = 0; process < 10; ++process) {
    children.push_back(Fork([&, process] {
      auto me = segment.Join();
      std::vector<std::thread> threads;
      for (int thread = 0; thread < 10; ++thread) {
        threads.emplace_back([&, thread] { CreateNames(*me, board, process, thread); });
      }
      board->ready.fetch_add(1);
      for (auto& thread : threads) thread.join();
    }));
  }
  WaitUntil([&] { return board->ready.load() == 10; });
  board->go.store(1);
  for (const pid_t child : children) EXPECT_EQ(WaitForChild(child), 0);
  for (int i = 0; i < kNames; ++i) EXPECT_EQ(board->created[i].load(), 1) << "name " << i;
  EXPECT_EQ(board->own_created.load(), 400);
  EXPECT_EQ(board->wrong.load(), 0);
  auto me = segment.Join();
  me->attachment().RepairAll();  // the children left without a word
  EXPECT_EQ(me->registry().entry_count(), 400u + kNames);
  EXPECT_EQ(me->heap().used_blocks(), 400u + kNames);
  ExpectClean(*me);
  for (const auto& info : me->registry().List()) {
    EXPECT_EQ(info.holders, 0u);
    EXPECT_TRUE(me->registry().Remove(info.name).ok());
  }
  EXPECT_EQ(me->heap().used_bytes(), 0u);
}

// A buffer's bytes: a number and its checksum, written by its creator.
struct Stamp {
  uint64_t number;
  uint64_t sum;
};

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

TEST(RegistryProcesses, SurviveAStormOfKills) {
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

TEST(RegistryProcesses, WhatTheDeadAloneHeldGoes) {
  NamedSegment segment;
  SharedBoard board;
  auto me = segment.Join();
  {
    auto removed = me->registry().Create("removed", 64);
  }
  {
    auto persistent = me->registry().Create("persistent", 64);
  }
  const pid_t child = Fork([&] {
    auto other = segment.Join();
    (void)other->Keep("removed");
    (void)other->Keep("persistent");
    (void)other->Keep(
        other->registry().Create("ephemeral", 64, {.lifetime = Lifetime::kEphemeral}));
    board->ready.store(1);
    for (;;) pause();
  });
  WaitUntil([&] { return board->ready.load() != 0; });
  ASSERT_TRUE(me->registry().Remove("removed").ok());
  EXPECT_EQ(*me->registry().holders("persistent"), 1u);
  EXPECT_EQ(me->heap().used_blocks(), 3u);
  kill(child, SIGKILL);
  WaitForChild(child);
  EXPECT_EQ(me->attachment().RepairAll(), 1u);
  EXPECT_EQ(*me->registry().holders("persistent"), 0u);
  EXPECT_EQ(me->registry().entry_count(), 1u);
  EXPECT_EQ(me->heap().used_blocks(), 1u);
  ExpectClean(*me);
}

TEST(RegistryProcesses, ADeadHolderWithoutAFreeLoanLeavesAnOrphan) {
  NamedSegment segment;
  SharedBoard board;
  auto me = segment.Join();
  {
    auto made = me->registry().Create("removed", 64);
  }
  const pid_t child = Fork([&] {
    auto other = segment.Join();
    (void)other->Keep("removed");
    shm::Call call = other->attachment().Enter(1);
    while (const auto loan = other->attachment().loans().Take(0)) {
      (void)other->heap().AllocateTo(call.lane(), loan, 64, 64, Deadline::Never());
    }
    board->ready.store(1);
    for (;;) pause();
  });
  WaitUntil([&] { return board->ready.load() != 0; });
  ASSERT_TRUE(me->registry().Remove("removed").ok());
  kill(child, SIGKILL);
  WaitForChild(child);
  EXPECT_EQ(me->attachment().RepairAll(), 1u);
  EXPECT_EQ(me->data().orphans.load(), 1u);
  EXPECT_EQ(me->heap().used_blocks(), 1u);
  ExpectClean(*me);
  EXPECT_TRUE(absl::IsNotFound(me->registry().Acquire("removed").status()));  // sweeps
  EXPECT_EQ(me->data().orphans.load(), 0u);
  EXPECT_EQ(me->heap().used_bytes(), 0u);
  ExpectClean(*me);
}

TEST(RegistryProcesses, AWaiterIsWokenByAnotherProcess) {
  NamedSegment segment;
  SharedBoard board;
  const pid_t child = Fork([&] {
    auto other = segment.Join();
    board->ready.store(1);
    const auto info = other->registry().WaitFor("late", Deadline::In(std::chrono::seconds(60)));
    if (!info.ok()) board->wrong.fetch_add(1);
  });
  auto me = segment.Join();
  WaitUntil([&] { return board->ready.load() != 0 && me->data().waiters.waiters.load() != 0; });
  const uint32_t before = me->data().waiters.sequence.load();
  auto made = me->registry().Create("late", 64);
  EXPECT_EQ(me->data().waiters.sequence.load(), before + 1) << "nobody was woken";
  EXPECT_EQ(WaitForChild(child), 0);
  EXPECT_EQ(board->wrong.load(), 0);
}

// In a forked child every call answers and nothing is touched.
void ExpectForked(const absl::Status& status) {
  if (GetErrorKind(status) == ErrorKind::kForkedHandle) return;
  std::fprintf(stderr, "not refused: %s\n", std::string(status.message()).c_str());
  _exit(1);
}

TEST(RegistryProcesses, AForkedChildIsRefusedAndHarmless) {
  NamedSegment segment;
  auto me = segment.Join();
  auto made = me->registry().Create("a", 64, {.lifetime = Lifetime::kEphemeral});
  const pid_t child = Fork([&] {
    SharedBufferRegistry& registry = me->registry();
    const auto refused = registry.Create("b", 64);
    std::printf("forked: %s\n", std::string(refused.status().message()).c_str());
    ExpectForked(refused.status());
    ExpectForked(registry.Acquire("a").status());
    ExpectForked(registry.OpenOrCreate("a", 64).status());
    ExpectForked(registry.Lookup("a").status());
    ExpectForked(registry.holders("a").status());
    ExpectForked(registry.Remove("a"));
    ExpectForked(registry.WaitFor("a", Deadline::Never()).status());
    NamedPlace place;
    const bool silent = registry.List().empty() && registry.entry_count() == 0 &&
                        !registry.Sweep() && made->bytes().empty() &&
                        made->As<Stamp>() == nullptr &&
                        registry.Find("a", place) == NameResult::kUnsupported;
    registry.ForEach(shm::kBufferPlace, [](const NamedPlace&) { _exit(3); });
    made->Release();
    me.reset();
    _exit(silent ? 0 : 2);
  });
  EXPECT_EQ(WaitForChild(child), 0);
  EXPECT_EQ(*me->registry().holders("a"), 1u);
  EXPECT_EQ(made->bytes().size(), 64u);
  ExpectClean(*me);
}

}  // namespace
}  // namespace thole::registry
