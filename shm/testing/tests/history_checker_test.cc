// The checker of histories: known histories, good and bad; and the same verdict as a search that
// tries every order, on thousands of random small ones.
#include "thole/shm/testing/history_checker.h"

#include <gtest/gtest.h>

#include <deque>
#include <numeric>

#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {
namespace {

/// A bounded first-in-first-out queue of numbers, not 0.
struct Fifo {
  enum Kind : uint8_t { kPush, kPop, kFull, kEmpty };
  struct Call {
    Kind kind;
    int value = 0;  // of a pop that nobody saw return: 0, any
  };
  static constexpr size_t kCapacity = 2;
  std::deque<int> values = {};

  template <class Visit>
  bool After(const Call& call, const Visit& visit) const {
    Fifo next = *this;
    switch (call.kind) {
      case kPush:
        next.values.push_back(call.value);
        return values.size() < kCapacity && visit(next);
      case kPop:
        if (values.empty() || (call.value != 0 && values.front() != call.value)) return false;
        next.values.pop_front();
        return visit(next);
      case kFull:
        return values.size() == kCapacity && visit(next);
      case kEmpty:
        return values.empty() && visit(next);
    }
    return false;
  }
  void AppendTo(std::string& key) const {
    for (const int value : values) key += static_cast<char>(value);
  }
};
using Operation = HistoryOperation<Fifo>;

bool IsLinearizable(std::vector<Operation> operations) {
  return HistoryChecker<Fifo>(std::move(operations)).IsLinearizable(Fifo{});
}
Operation Push(int value, uint64_t begin, uint64_t end) {
  return {{Fifo::kPush, value}, begin, end};
}
Operation Pop(int value, uint64_t begin, uint64_t end) { return {{Fifo::kPop, value}, begin, end}; }
Operation Full(uint64_t begin, uint64_t end) { return {{Fifo::kFull}, begin, end}; }
Operation Empty(uint64_t begin, uint64_t end) { return {{Fifo::kEmpty}, begin, end}; }
Operation Dead(Operation operation) {
  operation.may_be_void = true;
  return operation;
}

TEST(HistoryChecker, AcceptsWhatHappenedOneAfterTheOther) {
  EXPECT_TRUE(IsLinearizable({}));
  EXPECT_TRUE(IsLinearizable({Empty(1, 2), Push(1, 3, 4), Push(2, 5, 6), Full(7, 8), Pop(1, 9, 10),
                              Pop(2, 11, 12), Empty(13, 14)}));
}

TEST(HistoryChecker, OverlappingCallsMayHaveHappenedInEitherOrder) {
  EXPECT_TRUE(IsLinearizable({Push(1, 1, 4), Push(2, 2, 3), Pop(2, 5, 6), Pop(1, 7, 8)}));
  EXPECT_TRUE(IsLinearizable({Push(1, 1, 4), Empty(2, 3)}));
  EXPECT_TRUE(IsLinearizable({Push(1, 1, 4), Pop(1, 2, 3)}));
}

TEST(HistoryChecker, RejectsAnOvertakenMessage) {
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Push(2, 3, 4), Pop(2, 5, 6), Pop(1, 7, 8)}));
}

// The plain ticket ring: one producer has the first ticket and has not written its cell yet, the
// second push is complete, and a pop looks at the first cell and says "empty".
TEST(HistoryChecker, RejectsTheFalseEmptyOfThePlainTicketRing) {
  EXPECT_FALSE(
      IsLinearizable({Push(1, 1, 8), Push(2, 2, 3), Empty(4, 5), Pop(1, 9, 10), Pop(2, 11, 12)}));
  EXPECT_TRUE(
      IsLinearizable({Push(1, 1, 8), Push(2, 2, 5), Empty(4, 6), Pop(1, 9, 10), Pop(2, 11, 12)}))
      << "the second push was not complete yet";
}

TEST(HistoryChecker, RejectsAFullThatNeverWas) {
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Full(3, 4), Push(2, 5, 6)}));
  EXPECT_TRUE(IsLinearizable({Push(1, 1, 2), Full(3, 6), Push(2, 4, 5)}));
}

TEST(HistoryChecker, RejectsWhatIsLostOrTwiceOrFromNowhere) {
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Empty(3, 4)})) << "lost";
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Pop(1, 3, 4), Pop(1, 5, 6)})) << "twice";
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Pop(1, 3, 6), Pop(1, 4, 5)})) << "twice at once";
  EXPECT_FALSE(IsLinearizable({Pop(3, 1, 2)})) << "from nowhere";
  EXPECT_FALSE(IsLinearizable({Pop(1, 1, 2), Push(1, 3, 4)})) << "before it was sent";
}

TEST(HistoryChecker, TheCallThatSomebodyDiedInMayCountOrNot) {
  EXPECT_TRUE(IsLinearizable({Dead(Push(1, 1, 2)), Empty(3, 4)}));
  EXPECT_TRUE(IsLinearizable({Dead(Push(1, 1, 2)), Pop(1, 3, 4), Empty(5, 6)}));
  EXPECT_TRUE(IsLinearizable({Push(1, 1, 2), Dead(Pop(0, 3, 4)), Empty(5, 6)}));
  EXPECT_FALSE(IsLinearizable({Dead(Push(1, 1, 2)), Pop(1, 3, 4), Pop(1, 5, 6)}));
  EXPECT_FALSE(IsLinearizable({Push(1, 1, 2), Push(2, 3, 4), Dead(Pop(0, 5, 6)), Empty(7, 8)}))
      << "one death takes one message along";
}

TEST(HistoryChecker, TheDeadDoNothingAfterTheirDeath) {
  EXPECT_FALSE(IsLinearizable({Dead(Push(1, 1, 2)), Empty(3, 4), Pop(1, 5, 6)}));
  EXPECT_TRUE(IsLinearizable({Dead(Push(1, 1, 4)), Empty(2, 3), Pop(1, 5, 6)}));
}

// Every order that the moments allow, every subset of what may be void: slow and obviously right.
bool IsLinearizableByTryingAll(std::vector<Operation> operations) {
  const size_t count = operations.size();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  do {
    bool allowed = true;
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = i + 1; j < count; ++j) {
        allowed &= operations[order[j]].end >= operations[order[i]].begin;
      }
    }
    for (uint32_t left_out = 0; allowed && left_out < 1u << count; ++left_out) {
      Fifo state;
      bool fits = true;
      for (size_t i = 0; i < count && fits; ++i) {
        const Operation& operation = operations[order[i]];
        if (left_out >> order[i] & 1) {
          fits = operation.may_be_void;
        } else {
          Fifo next;
          fits = state.After(operation.call, [&](const Fifo& after) {
            next = after;
            return true;
          });
          state = next;
        }
      }
      if (fits) return true;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

// Right by construction: a queue is run one call after the other, then each call is stretched to
// both sides. Sometimes one answer is changed, which mostly makes it wrong.
std::vector<Operation> RandomHistory(Random& random) {
  std::vector<Operation> history;
  Fifo fifo;
  int next_value = 1;
  const uint64_t count = 3 + random.Below(4);
  for (uint64_t i = 0; i < count; ++i) {
    Operation operation{};
    const bool pushes = random.Chance(2);
    if (pushes && fifo.values.size() < Fifo::kCapacity) {
      operation.call = {Fifo::kPush, next_value};
      fifo.values.push_back(next_value++);
    } else if (pushes) {
      operation.call = {Fifo::kFull};
    } else if (!fifo.values.empty()) {
      operation.call = {Fifo::kPop, fifo.values.front()};
      fifo.values.pop_front();
    } else {
      operation.call = {Fifo::kEmpty};
    }
    const uint64_t at = 10 * (i + 1);
    operation.begin = at - random.Below(1 + 6 * random.Below(6)) % at;
    operation.end = at + random.Below(1 + 6 * random.Below(6));
    operation.may_be_void = random.Chance(8);
    history.push_back(operation);
  }
  Operation& changed = history[random.Below(history.size())];
  if (random.Chance(2)) changed.call.kind = static_cast<Fifo::Kind>(random.Below(4));
  if (random.Chance(2) && changed.call.value != 0) {
    changed.call.value = 1 + static_cast<int>(random.Below(3));
  }
  return history;
}

TEST(HistoryChecker, SaysTheSameAsASearchThatTriesEveryOrder) {
  Random random(1);
  uint32_t good = 0;
  uint32_t bad = 0;
  for (int run = 0; run < 3000; ++run) {
    const std::vector<Operation> history = RandomHistory(random);
    const bool expected = IsLinearizableByTryingAll(history);
    ASSERT_EQ(IsLinearizable(history), expected) << "history " << run;
    ++(expected ? good : bad);
  }
  EXPECT_GT(good, 300u);
  EXPECT_GT(bad, 300u);
}

TEST(HistoryChecker, LongHistoriesCostWhatOverlapsAndNoMore) {
  std::vector<Operation> history;
  for (uint64_t i = 0; i < 400; ++i) {
    const int value = 1 + static_cast<int>(i % 100);
    history.push_back(Push(value, 10 * i, 10 * i + 4));
    history.push_back(Pop(value, 10 * i + 2, 10 * i + 6));
    history.push_back(Empty(10 * i + 5, 10 * i + 9));
  }
  HistoryChecker<Fifo> checker(history);
  EXPECT_TRUE(checker.IsLinearizable(Fifo{}));
  EXPECT_LT(checker.steps(), 10'000u);
}

}  // namespace
}  // namespace thole::shm::testing
