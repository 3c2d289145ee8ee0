// Leases: acknowledged, given back, dropped with their holder.
#include <atomic>
#include <thread>

#include "support/party.h"
#include "thole/queue/message_control.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using shm::LoanRef;
using testing::Blocks;
using testing::Free;
using testing::MakeSegment;
using testing::Party;
using testing::PopOne;
using testing::PushOne;
using testing::QueueShape;
using testing::Return;

class Leases : public ::testing::Test {
 protected:
  Leases()
      : shapes_{{"jobs", Blocks(4, true)}, {"other", Blocks(4, true)}, {"plain", Blocks(4, false)}},
        segment_(MakeSegment(shapes_)),
        a(segment_.file(), shapes_),
        b(std::in_place, segment_.file(), shapes_) {}

  /// A lease of what comes next, in the name of `party`.
  LoanRef Take(Party& party, uint64_t expected_id, uint32_t expected_attempts) {
    uint64_t id = 0;
    PopInfo info;
    LoanRef loan;
    EXPECT_EQ(PopOne(*party, id, info, 0, &loan), PopResult::kOk);
    EXPECT_EQ(id, expected_id);
    EXPECT_EQ(info.attempts, expected_attempts);
    return loan;
  }
  PopResult TryTake(Party& party, PopInfo* info = nullptr) {
    uint64_t id = 0;
    PopInfo unwanted;
    return PopOne(*party, id, info != nullptr ? *info : unwanted);
  }

  const std::vector<QueueShape> shapes_;
  shm::Segment segment_;
  Party a;
  std::optional<Party> b;
};

TEST_F(Leases, AReceiveIsALeaseOfItsQueueUntilItIsAcknowledged) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  EXPECT_EQ(a->pool().free_count(), 63u);
  const LoanRef loan = Take(*b, 1, 0);
  EXPECT_TRUE((*b)->handle().ring().IsLeaseHere(loan->lease));
  EXPECT_NE(loan->block, 0u);
  EXPECT_EQ(loan->ticket, 0u);
  EXPECT_EQ(TryTake(a), PopResult::kEmpty);
  EXPECT_EQ(a->handle().FindOtherLeaseHolder(), b->attachment().slot());
  Free(**b, loan);
  EXPECT_EQ(a->handle().FindOtherLeaseHolder(), kNobody);
  EXPECT_EQ(a->pool().free_count(), 64u);
  EXPECT_EQ(a.AuditText(), "none");
}

TEST_F(Leases, ANewMessageHasNoHistoryWhateverItsBlockHeldBefore) {
  const LoanRef loan = testing::NewMessage(*a);
  auto& control = *a.attachment().view().At<MessageControlData>(loan->block);
  const auto words = {&control.link, &control.not_before_ns, &control.attempts,
                      &control.last_holder, &control.time_of_death_ns};
  for (shm::Word64* word : words) *word = 77;
  MessageDescriptor descriptor{};
  descriptor.correlation = 1;
  descriptor.size_bytes = 1 ^ 0x5555;
  {
    shm::Call call = a.attachment().Enter(1);
    ASSERT_EQ(a->messages(0).TryPush(call.lane(), descriptor, loan), PushResult::kOk);
    a.attachment().loans().Return(loan);
  }
  for (const shm::Word64* word : words) EXPECT_EQ(word->load(), 0u);
  Free(*a, Take(a, 1, 0));
}

TEST_F(Leases, WhatIsGivenBackComesFirstWithOneAttemptMore) {
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_EQ(PushOne(*a, id), PushResult::kOk);
  const LoanRef first = Take(*b, 1, 0);
  const LoanRef second = Take(*b, 2, 0);
  EXPECT_EQ(Return(**b, second), ReturnResult::kOk);
  EXPECT_EQ(Return(**b, first), ReturnResult::kOk);
  EXPECT_EQ(a->handle().Statistics().returned, 2u);
  EXPECT_EQ(a.AuditText(), "none");
  Free(*a, Take(a, 2, 1));
  const LoanRef again = Take(a, 1, 1);
  EXPECT_EQ(Return(*a, again), ReturnResult::kOk);
  Free(**b, Take(*b, 1, 2));
  Free(**b, Take(*b, 3, 0));
  EXPECT_EQ(TryTake(a), PopResult::kEmpty);
  EXPECT_EQ(a->handle().Statistics().redelivered, 3u);
  EXPECT_EQ(a->pool().free_count(), 64u);
}

TEST_F(Leases, OnlyALeaseOfThisQueueCanBeGivenBack) {
  const LoanRef plain = testing::NewMessage(*a);
  EXPECT_EQ(Return(*a, plain), ReturnResult::kNotLeased);
  EXPECT_EQ(Return(*a, LoanRef{}), ReturnResult::kNotLeased);
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  const LoanRef lease = Take(a, 1, 0);
  EXPECT_EQ(Return(*a, lease, 1), ReturnResult::kNotLeased);
  EXPECT_EQ(Return(*a, lease, 0), ReturnResult::kOk);
  Free(*a, plain);
}

TEST_F(Leases, TheListIsNeverWaitedForByAPop) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  ASSERT_EQ(PushOne(*a, 2), PushResult::kOk);
  ASSERT_EQ(Return(*a, Take(a, 1, 0)), ReturnResult::kOk);
  shm::Call call = b->attachment().Enter(1);
  ASSERT_EQ(shm::TryLock(call.lane(), (*b)->handle().ring().data().returned.lock),
            shm::LockResult::kOk);
  Free(*a, Take(a, 2, 0));  // the ring goes on
  PopInfo info;
  EXPECT_EQ(TryTake(a, &info), PopResult::kPending);
  EXPECT_EQ(info.stalled_on, b->attachment().slot());
  {
    shm::Call mine = a.attachment().Enter(1);
    ASSERT_EQ(PushOne(*a, 3), PushResult::kOk);
  }
  const LoanRef third = Take(a, 3, 0);
  {
    shm::Call mine = a.attachment().Enter(1);
    EXPECT_EQ(a->messages().TryReturnLeased(mine.lane(), third), ReturnResult::kBusy);
    EXPECT_EQ(
        a->messages().ReturnLeased(mine.lane(), third, Deadline::In(std::chrono::milliseconds(5))),
        ReturnResult::kBusy);
  }
  shm::Unlock(call.lane(), (*b)->handle().ring().data().returned.lock);
  EXPECT_EQ(Return(*a, third), ReturnResult::kOk);
  Free(*a, Take(a, 1, 1));
  Free(*a, Take(a, 3, 1));
}

TEST_F(Leases, ClosedWaitsForTheLeasesOfOthers) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  const LoanRef loan = Take(*b, 1, 0);
  a->handle().Close();
  PopInfo info;
  EXPECT_EQ(TryTake(a, &info), PopResult::kPending);
  EXPECT_EQ(info.stalled_on, b->attachment().slot());
  EXPECT_EQ(TryTake(*b), PopResult::kClosed);  // its own lease is its own affair
  EXPECT_EQ(Return(**b, loan), ReturnResult::kOk);
  const LoanRef mine = Take(a, 1, 1);
  EXPECT_EQ(TryTake(*b), PopResult::kPending);
  Free(*a, mine);
  EXPECT_EQ(TryTake(*b), PopResult::kClosed);
  EXPECT_EQ(TryTake(a), PopResult::kClosed);
  EXPECT_EQ(a.AuditText(), "none");
}

TEST_F(Leases, WhoLeavesGivesHisLeasesBack) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  (void)Take(*b, 1, 0);
  ASSERT_TRUE(b->attachment().Leave(Deadline::Never()).ok());
  b.reset();
  EXPECT_EQ(a.AuditText(), "none");
  Free(*a, Take(a, 1, 1));
  EXPECT_EQ(a->pool().free_count(), 64u);
}

TEST_F(Leases, TheLeaseOfTheDeadComesBack) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  const pid_t child = testing::Fork([&] {
    Party victim(segment_.file(), shapes_);
    (void)Take(victim, 1, 0);
    raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(testing::WaitFor(child), -SIGKILL);
  uint64_t id = 0;
  PopInfo info;
  LoanRef loan;
  EXPECT_EQ(PopOne(*a, id, info, 0, &loan), PopResult::kEmpty);
  EXPECT_EQ(a.attachment().RepairAll(), 1u);
  EXPECT_EQ(a.AuditText(), "none");
  Free(*a, Take(a, 1, 1));
}

TEST_F(Leases, AWaiterRepairsTheDeadHolderOfALease) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = testing::Fork([&] {
    Party victim(segment_.file(), shapes_);
    (void)Take(victim, 1, 0);
    if (write(ready[1], "x", 1) != 1) return 1;
    for (;;) pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  std::thread killer([&] {
    while (a->handle().ring().data().consumers.waiters.load() == 0) std::this_thread::yield();
    kill(child, SIGKILL);
  });
  QueueWait wait(a->handle(), WaitSide::kPop, Deadline::In(std::chrono::seconds(20)));
  uint64_t id = 0;
  PopInfo info;
  LoanRef loan;
  PopResult result;
  while (MayChange(result = PopOne(*a, id, info, 0, &loan)) &&
         wait.Next(result == PopResult::kPending, info.stalled_on)) {
  }
  killer.join();
  EXPECT_EQ(result, PopResult::kOk);
  EXPECT_EQ(id, 1u);
  EXPECT_EQ(info.attempts, 1u);
  testing::WaitFor(child);
  close(ready[0]);
  close(ready[1]);
  EXPECT_EQ(a.AuditText(), "none");
}

// A helper that saw the cell of the dead still TAKEN, and stood still since, must not move head
// over the message that was offered again: so every repair counts the epoch up.
TEST_F(Leases, ARepairUndoesAHelperThatStoodStill) {
  shm::Word64& head = a->handle().ring().data().head;
  const uint64_t as_seen_by_the_helper = head;
  const pid_t child = testing::Fork([&] {
    Party victim(segment_.file(), shapes_);
    return raise(SIGKILL);
  });
  EXPECT_EQ(testing::WaitFor(child), -SIGKILL);
  EXPECT_EQ(a.attachment().RepairAll(), 1u);
  uint64_t expected = as_seen_by_the_helper;
  EXPECT_FALSE(head.compare_exchange_strong(expected, as_seen_by_the_helper + 1));
  EXPECT_EQ(HeadEpoch(expected), HeadEpoch(as_seen_by_the_helper) + 1);
  EXPECT_EQ(TicketDistance(expected, as_seen_by_the_helper), 0);
}

TEST_F(Leases, AreSharedByTheThreadsOfOneAttachment) {
  constexpr uint64_t kEach = 1000;
  std::atomic<uint64_t> acknowledged{0};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (uint64_t p = 0; p < 2; ++p) {
    threads.emplace_back([&, p] {
      for (uint64_t i = 0; i < kEach; ++i) {
        PushResult pushed;
        while (queue::MayChange(pushed = PushOne(*a, p << 32 | i))) std::this_thread::yield();
        if (pushed != PushResult::kOk) wrong = true;
      }
    });
    threads.emplace_back([&] {
      uint64_t number = 0;
      while (acknowledged < 2 * kEach && !wrong) {
        uint64_t id = 0;
        PopInfo info;
        LoanRef loan;
        if (PopOne(*a, id, info, 0, &loan) != PopResult::kOk) {
          std::this_thread::yield();
        } else if (id == testing::kNoMessage) {
          wrong = true;
          return;
        } else if (++number % 5 == 0) {
          if (Return(*a, loan) != ReturnResult::kOk) wrong = true;
        } else {
          Free(*a, loan);
          ++acknowledged;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(acknowledged, 2 * kEach);
  EXPECT_EQ(a.AuditText(), "none");
  EXPECT_EQ(a->pool().free_count(), 64u);
}

TEST_F(Leases, AForwardedLeaseIsALeaseNoMore) {
  ASSERT_EQ(PushOne(*a, 1), PushResult::kOk);
  const LoanRef loan = Take(a, 1, 0);
  MessageDescriptor descriptor{};
  descriptor.correlation = 1;
  descriptor.size_bytes = 1 ^ 0x5555;
  {
    shm::Call call = a.attachment().Enter(1);
    PushInfo info;
    ASSERT_EQ(a->messages(2).TryPush(call.lane(), descriptor, loan, &info), PushResult::kOk);
    EXPECT_EQ(info.ticket, 0u);
  }
  EXPECT_EQ(loan->block, 0u);
  EXPECT_EQ(loan->lease, 0u);
  EXPECT_EQ(loan->ticket, 0u);
  uint64_t id = 0;
  PopInfo info;
  EXPECT_EQ(PopOne(**b, id, info, 2), PopResult::kOk);
  EXPECT_EQ(id, 1u);
  EXPECT_EQ(a.AuditText(), "none");
}

}  // namespace
}  // namespace thole::queue
