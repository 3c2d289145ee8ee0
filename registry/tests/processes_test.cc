// Real processes: many at once, dead ones, waiting ones and forked ones.
#include <thread>

#include "child_processes.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::NameResult;
using testing::ExpectClean;
using testing::Fork;
using testing::kNames;
using testing::Member;
using testing::NamedSegment;
using testing::Numbered;
using testing::SharedBoard;
using testing::WaitForChild;
using testing::WaitUntil;

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
                        made->As<uint64_t>() == nullptr &&
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
