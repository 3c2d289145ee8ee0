// The model of a queue for histories: what may happen around a death, and what may not.
#include <gtest/gtest.h>

#include "support/history.h"

namespace thole::queue::testing {
namespace {

constexpr uint64_t kA = 0x100;
constexpr uint64_t kB = 0x101;

/// Calls of processes; those of one do not overlap.
class Histories : public ::testing::Test {
 protected:
  void Push(uint32_t process, uint64_t message, uint64_t begin, uint64_t end,
            PushResult result = PushResult::kOk) {
    CallRecord record{Event::kPush, process, message, begin, end};
    record.push = result;
    record.ok = result == PushResult::kOk && end != kNever;
    history_.Add(record);
  }
  void Pop(uint32_t process, uint64_t message, uint64_t begin, uint64_t end,
           uint32_t attempts = 0) {
    CallRecord record{Event::kPop, process, message, begin, end};
    record.pop = PopResult::kOk;
    record.ok = true;
    record.attempts = attempts;
    history_.Add(record);
  }
  void Told(uint32_t process, PopResult result, uint64_t begin, uint64_t end) {
    CallRecord record{Event::kPop, process, kNoMessage, begin, end};
    record.pop = result;
    history_.Add(record);
  }
  void DiesIn(Event event, uint32_t process, uint64_t begin, uint64_t message = kNoMessage) {
    history_.Add(CallRecord{event, process, message, begin, kNever});
  }
  void Does(Event event, uint32_t process, uint64_t message, uint64_t begin, uint64_t end) {
    CallRecord record{event, process, message, begin, end};
    record.ok = true;
    history_.Add(record);
  }
  void Dead(uint32_t process, uint64_t at, uint64_t repaired) {
    history_.Add(Death{process, at, repaired});
  }
  /// The verdict; also that the text says the same as the history.
  bool Holds(const QueueRules& rules) {
    shm::Findings findings;
    history_.Check(rules, findings);
    QueueRules read_rules;
    const auto read = History::FromText(history_.ToText(rules), &read_rules);
    EXPECT_TRUE(read.has_value());
    EXPECT_EQ(read_rules.capacity, rules.capacity);
    EXPECT_EQ(read_rules.leased, rules.leased);
    if (read.has_value()) {
      EXPECT_EQ(read->ToText(rules), history_.ToText(rules));
    }
    return findings.empty();
  }
  static constexpr QueueRules kPlain{.capacity = 2};
  static constexpr QueueRules kLeased{.capacity = 2, .leased = true};

  History history_;
};

TEST_F(Histories, TheFalseEmptyOfAPlainTicketRingIsRejected) {
  Push(0, kA, 1, 8);
  Push(1, kB, 2, 3);
  Told(2, PopResult::kEmpty, 4, 5);
  Pop(2, kA, 9, 10);
  Pop(2, kB, 11, 12);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, FullIsExactWhileNobodyDies) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4, PushResult::kFull);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, FullMayBeSaidWithLessAfterADeath) {
  Push(0, kA, 1, 2);
  DiesIn(Event::kPop, 1, 3);
  Dead(1, 4, 5);
  Push(0, kB, 6, 7, PushResult::kFull);
  EXPECT_TRUE(Holds(kPlain));
}

TEST_F(Histories, ADeadReceiverMayTakeItsMessageAlongOrGiveItBackOnce) {
  Push(0, kA, 1, 2);
  DiesIn(Event::kPop, 1, 3);
  Dead(1, 4, 5);
  Told(2, PopResult::kEmpty, 6, 7);
  EXPECT_TRUE(Holds(kPlain)) << "gone with it";
  Pop(2, kA, 8, 9);
  EXPECT_FALSE(Holds(kPlain)) << "it came back only after the repair";
}

TEST_F(Histories, WhileTheDeadOneIsNotRepairedItsMessageIsNowhereAndThenItIsFirst) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4);
  DiesIn(Event::kPop, 1, 5);
  Dead(1, 6, 12);
  Pop(2, kB, 7, 8);
  Told(2, PopResult::kEmpty, 9, 10);
  Pop(2, kA, 13, 14, 1);
  EXPECT_TRUE(Holds(kPlain));
}

TEST_F(Histories, AfterTheRepairTheMessageThatCameBackIsNotOvertaken) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4);
  DiesIn(Event::kPop, 1, 5);
  Dead(1, 6, 7);
  Pop(2, kB, 8, 9);
  Pop(2, kA, 10, 11, 1);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, ACallThatBeganBeforeTheEndOfTheRepairMayOvertake) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4);
  DiesIn(Event::kPop, 1, 5);
  Dead(1, 6, 9);
  Pop(2, kB, 8, 12);
  Pop(3, kA, 10, 11, 1);
  EXPECT_TRUE(Holds(kPlain));
}

TEST_F(Histories, OneDeathTakesOneMessageAlong) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4);
  DiesIn(Event::kPop, 1, 5);
  Dead(1, 6, 7);
  Told(2, PopResult::kEmpty, 8, 9);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, ALeasedMessageIsNotTakenAlong) {
  Push(0, kA, 1, 2);
  DiesIn(Event::kPop, 1, 3);
  Dead(1, 4, 5);
  Told(2, PopResult::kEmpty, 6, 7);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, TheLeaseOfTheDeadComesBack) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Dead(1, 5, 8);
  Told(2, PopResult::kEmpty, 6, 7);
  Pop(2, kA, 9, 10, 1);
  EXPECT_TRUE(Holds(kLeased));
}

TEST_F(Histories, TheLeaseOfTheDeadIsNotForgotten) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Dead(1, 5, 6);
  Told(2, PopResult::kEmpty, 7, 8);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, AnAckThatItsProcessDiedInCountsOrNot) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  DiesIn(Event::kAck, 1, 5, kA);
  Dead(1, 6, 7);
  Told(2, PopResult::kEmpty, 8, 9);
  EXPECT_TRUE(Holds(kLeased));
}

TEST_F(Histories, AnAckThatReturnedCounts) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Does(Event::kAck, 1, kA, 5, 6);
  Dead(1, 7, 8);
  Pop(2, kA, 9, 10, 1);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, ALeasedMessageIsNobodyElses) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Pop(2, kA, 5, 6, 1);
  Does(Event::kReturn, 1, kA, 7, 8);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, EmptyIsNotSaidWhileAReturnedMessageIsThere) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Does(Event::kReturn, 1, kA, 5, 6);
  Told(2, PopResult::kEmpty, 7, 8);
  Pop(2, kA, 9, 10, 1);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, WhatCameBackIsServedFirst) {
  Push(0, kA, 1, 2);
  Push(0, kB, 3, 4);
  Pop(1, kA, 5, 6);
  Does(Event::kReturn, 1, kA, 7, 8);
  Pop(2, kB, 9, 10);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, AttemptsCountTheReturns) {
  Push(0, kA, 1, 2);
  Pop(1, kA, 3, 4);
  Does(Event::kReturn, 1, kA, 5, 6);
  Pop(2, kA, 7, 8, 0);
  EXPECT_FALSE(Holds(kLeased));
}

TEST_F(Histories, ClosedIsFinal) {
  Push(0, kA, 1, 2);
  Does(Event::kClose, 0, kNoMessage, 3, 4);
  Told(1, PopResult::kClosed, 5, 6);
  EXPECT_FALSE(Holds(kPlain)) << "there is one";
}

TEST_F(Histories, APushThatBeganBeforeTheCloseMayStillBeAccepted) {
  Push(0, kA, 1, 6);
  Does(Event::kClose, 1, kNoMessage, 2, 3);
  Told(2, PopResult::kEmpty, 4, 5);
  Pop(2, kA, 7, 8);
  Told(2, PopResult::kClosed, 9, 10);
  EXPECT_TRUE(Holds(kPlain));
  Push(0, kB, 11, 12);
  EXPECT_FALSE(Holds(kPlain)) << "this one did not";
}

TEST_F(Histories, PendingNeedsSomebodyWhoIsAtIt) {
  Push(0, kA, 1, 2);
  Told(1, PopResult::kPending, 3, 4);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, PendingMayBeSaidUntilTheDeadOneIsRepaired) {
  DiesIn(Event::kPush, 0, 1, kA);
  Dead(0, 2, 5);
  Told(1, PopResult::kPending, 3, 4);
  EXPECT_TRUE(Holds(kPlain));
  Told(1, PopResult::kPending, 6, 7);
  EXPECT_FALSE(Holds(kPlain));
}

TEST_F(Histories, WhatIsNoHistoryIsNotRead) {
  QueueRules rules;
  EXPECT_FALSE(History::FromText("", &rules).has_value());
  EXPECT_FALSE(History::FromText("queue 2 plain\npusch 0 1 2 3 0 0\n", &rules).has_value());
  EXPECT_FALSE(History::FromText("queue 2 plain\npush 0 1\n", &rules).has_value());
}

}  // namespace
}  // namespace thole::queue::testing
