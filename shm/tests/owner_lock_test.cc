// The owner lock and the undo log: one at a time, all or nothing, and no thief.
#include "thole/shm/owner_lock.h"

#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"
#include "thole/shm/transaction.h"

namespace thole::shm {
namespace {

constexpr uint32_t kLock = 0;

OwnerLockData& LockOf(const Segment& segment, uint32_t word = kLock) {
  return *segment.view().At<OwnerLockData>(segment.view().OffsetOf(WordsOf(segment) + word));
}

// A child that holds the lock until it hears.
void HoldUntilToldOff(const TestName& name, Child& parent) {
  auto attachment = JoinedAttachment(name.place());
  Call call = attachment->Enter(1);
  CHILD_REQUIRE(Lock(call.lane(), LockOf(attachment->segment()), Deadline::Never()) ==
                LockResult::kOk);
  parent.Tell('l');
  parent.Hear();
  Unlock(call.lane(), LockOf(attachment->segment()));
  parent.Tell('u');
  parent.Hear();
}

class OwnerLock : public ::testing::Test {
 protected:
  void SetUp() override {
    MakeSegment(name_.place());
    auto kernel =
        std::make_unique<HookPlatform>(MakeKernelPlatform(OpenSegment(name_.place()).file()));
    hooks_ = kernel.get();
    attachment_ = JoinedAttachment(name_.place(), std::move(kernel));
    words_ = WordsOf(attachment_->segment());
    lock_ = &LockOf(attachment_->segment());
    call_ = attachment_->Enter(1);
  }
  void TearDown() override { call_.End(); }

  const TestName name_;
  HookPlatform* hooks_ = nullptr;
  std::shared_ptr<Attachment> attachment_;
  Word64* words_ = nullptr;
  OwnerLockData* lock_ = nullptr;
  Call call_;
};

TEST_F(OwnerLock, NamesItsOwnerAndCostsNoSystemCall) {
  Lane& lane = call_.lane();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(Lock(lane, *lock_, Deadline::Never()), LockResult::kOk);
    ASSERT_TRUE(IsLockedBy(lane, *lock_));
    ASSERT_EQ(Get(lock_->word), lane.owner());
    ASSERT_EQ(Get(lane.data().lock), attachment_->view().OffsetOf(lock_));
    Unlock(lane, *lock_);
    ASSERT_EQ(Get(lock_->word), 0u);
    ASSERT_EQ(Get(lane.data().lock), 0u);
  }
  EXPECT_EQ(hooks_->waits + hooks_->wakes, 0u);
}

TEST_F(OwnerLock, OfAnotherLaneIsBusyUntilTheDeadline) {
  Call other = attachment_->Enter(1);
  ASSERT_EQ(TryLock(other.lane(), *lock_), LockResult::kOk);
  EXPECT_EQ(TryLock(call_.lane(), *lock_), LockResult::kBusy);
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Now()), LockResult::kBusy);
  const int64_t before = hooks_->NowNs();
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::In(std::chrono::milliseconds(30))),
            LockResult::kBusy);
  EXPECT_GE(hooks_->NowNs() - before, 30'000'000);
  EXPECT_EQ(Get(call_.lane().data().lock), 0u);
  Unlock(other.lane(), *lock_);
  EXPECT_EQ(TryLock(call_.lane(), *lock_), LockResult::kOk);
  Unlock(call_.lane(), *lock_);
}

TEST_F(OwnerLock, OfAStoppedProcessIsNeverStolen) {
  Child holder([&](Child& parent) { HoldUntilToldOff(name_, parent); });
  ASSERT_EQ(holder.Hear(), 'l');
  holder.Stop();
  const uint64_t word = Get(lock_->word) & ~kWaitersBit;
  for (int trial = 0; trial < 20; ++trial) {
    EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::In(std::chrono::milliseconds(10))),
              LockResult::kBusy);
    EXPECT_EQ(Get(lock_->word) & ~kWaitersBit, word);
  }
  holder.Continue();
  holder.Tell('g');
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Never()), LockResult::kOk);
  EXPECT_EQ(holder.Hear(), 'u');
  Unlock(call_.lane(), *lock_);
}

TEST_F(OwnerLock, OfADeadProcessIsTakenAfterItsLogIsRolledBack) {
  Put(words_[5], uint64_t{50});
  Child holder([&](Child& parent) {
    auto attachment = JoinedAttachment(name_.place());
    Call call = attachment->Enter(1);
    CHILD_REQUIRE(TryLock(call.lane(), LockOf(attachment->segment())) == LockResult::kOk);
    Transaction half(call.lane());
    half.Set(WordsOf(attachment->segment())[5], 51);
    parent.Tell('h');
    parent.Hear();
  });
  ASSERT_EQ(holder.Hear(), 'h');
  EXPECT_EQ(Get(words_[5]), 51u);
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Now()), LockResult::kBusy);
  holder.KillAndWait();
  EXPECT_EQ(TryLock(call_.lane(), *lock_), LockResult::kBusy) << "one attempt repairs nothing";
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Now()), LockResult::kOk);
  EXPECT_EQ(Get(words_[5]), 50u);
  Unlock(call_.lane(), *lock_);
  EXPECT_EQ(WordOf(attachment_->segment(), 1).state, SlotState::kRepair);
  EXPECT_EQ(attachment_->RepairAll(), 1u);
}

TEST_F(OwnerLock, WhoseOwnerDiesWakesItsWaiter) {
  Child holder([&](Child& parent) { HoldUntilToldOff(name_, parent); });
  ASSERT_EQ(holder.Hear(), 'l');
  std::thread waiter([&] {
    EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Never()), LockResult::kOk);
    Unlock(call_.lane(), *lock_);
  });
  while ((Get(lock_->word) & kWaitersBit) == 0) std::this_thread::yield();
  holder.Kill();
  waiter.join();
  EXPECT_EQ(holder.Wait(), "signal 9");
}

TEST_F(OwnerLock, ThatCannotBeIsCorruptAndNotWaitedFor) {
  const OwnerId mine = call_.lane().owner_id();
  const uint64_t impossible[] = {
      ~uint64_t{0},
      uint64_t{1} << 63,                                  // nobody's slot
      OwnerId{1, 0, 4000}.Pack(),                         // no such slot
      OwnerId{1, 200, 0}.Pack(),                          // no such lane
      OwnerId{77, 0, 3}.Pack(),                           // a free slot
      OwnerId{mine.generation + 1, 0, mine.slot}.Pack(),  // a later owner of our slot
      mine.Pack(),                                        // ourselves
  };
  for (const uint64_t word : impossible) {
    Put(lock_->word, word);
    EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Never()), LockResult::kCorrupt) << word;
    EXPECT_EQ(Get(call_.lane().data().lock), 0u);
  }
}

TEST_F(OwnerLock, OfADeadOneThatDoesNotNameItIsCorruptAndNotWaitedFor) {
  Child victim([&](Child&) {
    auto attachment = JoinedAttachment(name_.place());
    kill(getpid(), SIGKILL);
  });
  victim.Wait();
  Put(lock_->word, OwnerId{1, 0, 1}.Pack());  // somebody wrote it there
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Never()), LockResult::kCorrupt);
  EXPECT_EQ(Lock(call_.lane(), *lock_, Deadline::Never()), LockResult::kCorrupt);
}

TEST_F(OwnerLock, ExcludesFourProcesses) {
  constexpr uint64_t kTurns = 4000;
  const auto work = [&](Child& parent) {
    auto attachment = JoinedAttachment(name_.place());
    Word64* words = WordsOf(attachment->segment());
    OwnerLockData& lock = LockOf(attachment->segment());
    parent.Hear();
    Call call = attachment->Enter(1);
    for (uint64_t i = 0; i < kTurns; ++i) {
      CHILD_REQUIRE(Lock(call.lane(), lock, Deadline::Never()) == LockResult::kOk);
      const uint64_t one = words[1].load(std::memory_order_relaxed);  // under the lock
      const uint64_t two = words[2].load(std::memory_order_relaxed);  // under the lock
      CHILD_REQUIRE(one == two);
      words[1].store(one + 1, std::memory_order_relaxed);  // under the lock
      words[2].store(two + 1, std::memory_order_relaxed);  // under the lock
      Unlock(call.lane(), lock);
    }
  };
  {
    Child children[] = {Child(work), Child(work), Child(work), Child(work)};
    for (Child& child : children) child.Tell('g');
    for (Child& child : children) EXPECT_EQ(child.Wait(), "exit 0");
  }
  EXPECT_EQ(Get(words_[1]), 4 * kTurns);
  EXPECT_EQ(Get(words_[2]), 4 * kTurns);
  EXPECT_EQ(Get(lock_->word), 0u);
}

// --- The undo log. ---

TEST_F(OwnerLock, TransactionChangesAllOrNothing) {
  Lane& lane = call_.lane();
  Word32& half = LowHalf(words_[9]);
  {
    Transaction kept(lane);
    kept.Set(words_[1], 11);
    kept.Set(half, 7);
    EXPECT_EQ(Get(lane.data().log.count), 2u);
    EXPECT_TRUE(kept.Commit());
  }
  EXPECT_EQ(Get(lane.data().log.count), 0u);
  {
    Transaction dropped(lane);
    dropped.Set(words_[1], 12);
    dropped.Set(words_[1], 13);  // twice: the oldest value comes back
    dropped.Set(half, 8);
  }
  EXPECT_EQ(Get(words_[1]), 11u);
  EXPECT_EQ(Get(words_[9]), 7u);
  Transaction again(lane);
  again.Set(words_[1], 14);
  again.Rollback();
  again.Set(words_[1], 15);
  EXPECT_TRUE(again.Commit());
  EXPECT_EQ(Get(words_[1]), 15u);
}

TEST_F(OwnerLock, TransactionThatIsTooLargeChangesNothing) {
  for (uint32_t i = 1; i < 40; ++i) Put(words_[i], uint64_t{i});
  {
    Transaction fits(call_.lane());
    for (uint32_t i = 1; i <= kLogEntriesMax; ++i) fits.Set(words_[i], 100 + i);
    EXPECT_TRUE(fits.Commit());
  }
  EXPECT_EQ(Get(words_[31]), 131u);
  {
    Transaction large(call_.lane());
    for (uint32_t i = 1; i <= kLogEntriesMax + 1; ++i) large.Set(words_[i], 200 + i);
    EXPECT_FALSE(large.Commit());
  }
  for (uint32_t i = 1; i <= kLogEntriesMax; ++i) EXPECT_EQ(Get(words_[i]), 100 + i);
  EXPECT_EQ(Get(words_[32]), 32u);
}

TEST(RollBack, StoresNewestFirstAndIsIdempotent) {
  alignas(kCacheLine) static Word64 memory[256];
  const SegmentView view(memory, sizeof memory);
  UndoLogData log{};
  Put(memory[9], uint64_t{3});
  Put(log.entries[0].where, uint64_t{72} << 4 | 8);
  Put(log.entries[0].old, uint64_t{1});
  Put(log.entries[1].where, uint64_t{72} << 4 | 8);
  Put(log.entries[1].old, uint64_t{2});
  for (int i = 0; i < 2; ++i) {
    Put(log.count, uint64_t{2});
    EXPECT_TRUE(RollBack(view, log));
    EXPECT_EQ(Get(memory[9]), 1u);
    EXPECT_EQ(Get(log.count), 0u);
  }
  EXPECT_TRUE(RollBack(view, log)) << "an empty log";
}

TEST(RollBack, OfAHostileLogStaysInsideAndEnds) {
  alignas(kCacheLine) static Word64 memory[256];
  const SegmentView view(memory, sizeof memory);
  UndoLogData log{};
  Put(memory[9], uint64_t{3});
  // A good entry among bad ones is still stored.
  Put(log.entries[0].where, uint64_t{72} << 4 | 8);
  Put(log.entries[0].old, uint64_t{1});
  const uint64_t bad[] = {0,
                          8,                                 // null
                          ~uint64_t{0},                      // width 15
                          uint64_t{sizeof memory} << 4 | 8,  // behind the end
                          uint64_t{sizeof memory - 4} << 4 | 8,
                          uint64_t{73} << 4 | 8,  // misaligned
                          uint64_t{74} << 4 | 4,
                          uint64_t{72} << 4 | 1,
                          uint64_t{72} << 4 | 9,
                          (~uint64_t{0} << 4) | 8};
  uint64_t count = 1;
  for (const uint64_t where : bad) {
    Put(log.entries[count].where, where);
    Put(log.entries[count].old, ~uint64_t{0});
    ++count;
  }
  Put(log.count, count);
  EXPECT_FALSE(RollBack(view, log));
  EXPECT_EQ(Get(log.count), 0u);
  EXPECT_EQ(Get(memory[9]), 1u);
  for (uint32_t i = 0; i < 256; ++i) EXPECT_EQ(Get(memory[i]), i == 9 ? 1u : 0u);
  for (const uint64_t impossible : {uint64_t{32}, uint64_t{1} << 32, ~uint64_t{0}}) {
    Put(log.count, impossible);
    Put(memory[9], uint64_t{3});
    EXPECT_FALSE(RollBack(view, log));
    EXPECT_EQ(Get(log.count), 0u);
    EXPECT_EQ(Get(memory[9]), 3u) << "nothing of such a log is believed";
  }
}

}  // namespace
}  // namespace thole::shm
