// Death at every step of a transaction under an owner lock.
#include <set>
#include "support/test_segment.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/crash_test.h"
#include "thole/shm/transaction.h"

namespace thole::shm {
namespace {

using testing::CrashPointsOf;
using testing::RunAndDieAt;

constexpr uint32_t kLock = 0;
constexpr uint32_t kFirst = 1;   // of the words whose sum stays
constexpr uint32_t kCount = 16;  // of them
constexpr uint64_t kEach = 1000;
constexpr uint32_t kHalf = 20;  // a word of which only the low half is changed

OwnerLockData& LockOf(const Segment& segment) {
  return *segment.view().At<OwnerLockData>(segment.view().OffsetOf(WordsOf(segment) + kLock));
}

void MakeWorld(const TestName& name) {
  const Segment segment = MakeSegment(name.place(), SmallOptions(12));
  for (uint32_t i = 0; i < kCount; ++i) Put(WordsOf(segment)[kFirst + i], kEach);
}

uint64_t SumOf(const Segment& segment) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kCount; ++i) sum += Get(WordsOf(segment)[kFirst + i]);
  return sum;
}

void MoveThree(const TestName& name) {
  auto attachment = JoinedAttachment(name.place());
  Word64* words = WordsOf(attachment->segment());
  Call call = attachment->Enter(1);
  CHILD_REQUIRE(Lock(call.lane(), LockOf(attachment->segment()), Deadline::Never()) ==
                LockResult::kOk);
  Transaction move(call.lane());
  move.Set(words[kFirst], kEach - 3);
  move.Set(words[kFirst + 1], kEach + 3);
  move.Set(LowHalf(words[kHalf]), 3);
  CHILD_REQUIRE(move.Commit());
  Unlock(call.lane(), LockOf(attachment->segment()));
  call.End();
  kill(getpid(), SIGKILL);  // without leaving
}

const char* const kSteps[] = {"lock.1", "lock.2", "lock.3", "log.1", "log.2", "log.3", "log.4"};

TEST(LogCrash, KnowsEveryStep) {
  const TestName name;
  MakeWorld(name);
  std::set<std::string> names;
  for (const char* prefix : {"lock.", "log."}) {
    const auto points = CrashPointsOf(prefix, [&] {
      auto attachment = JoinedAttachment(name.place());
      Call call = attachment->Enter(1);
      CHILD_REQUIRE(Lock(call.lane(), LockOf(attachment->segment()), Deadline::Never()) ==
                    LockResult::kOk);
      Transaction move(call.lane());
      move.Set(WordsOf(attachment->segment())[kFirst], kEach);
      CHILD_REQUIRE(move.Commit());
      Unlock(call.lane(), LockOf(attachment->segment()));
    });
    for (const auto& point : points) names.insert(point.name);
  }
  EXPECT_EQ(names, std::set<std::string>(std::begin(kSteps), std::end(kSteps)));
}

class LogCrash : public ::testing::TestWithParam<const char*> {};

TEST_P(LogCrash, IsTakenBackBeforeTheCommitAndCarriedOnAfterIt) {
  const std::string step = GetParam();
  const bool committed = step == "log.4" || step == "lock.3";
  for (uint32_t nth = 1;; ++nth) {
    const TestName name;
    MakeWorld(name);
    const auto end = RunAndDieAt(step, nth, [&] { MoveThree(name); });
    if (!end) {
      EXPECT_GT(nth, 1u) << "never came there";
      EXPECT_EQ(end.signal, SIGKILL) << end.ToString();  // by its own hand, at the end
      break;
    }
    auto survivor = JoinedAttachment(name.place());
    const Segment& segment = survivor->segment();
    const Word64* words = WordsOf(segment);
    EXPECT_EQ(SumOf(segment), kCount * kEach) << nth;
    EXPECT_EQ(Get(words[kFirst]), committed ? kEach - 3 : kEach) << nth;
    EXPECT_EQ(Get(words[kHalf]), committed ? 3u : 0u) << nth;
    EXPECT_EQ(Get(words[kLock]), 0u) << nth;
    EXPECT_EQ(Audited(segment), "none") << nth;
    EXPECT_EQ(survivor->slot(), 0u) << "the seat of the dead one is free again";
  }
}

INSTANTIATE_TEST_SUITE_P(Every, LogCrash, ::testing::ValuesIn(kSteps),
                         [](const auto& step) { return testing::TestNameOf(step.param); });

// The lane names the lock before it is taken, and forgets it after it is given back.
TEST(LogCrash, LaneNamesTheLockAsLongAsItMayBeTaken) {
  for (const char* step : kSteps) {
    const TestName name;
    MakeWorld(name);
    ASSERT_TRUE(RunAndDieAt(step, 1, [&] { MoveThree(name); })) << step;
    const Segment segment = OpenSegment(name.place(), true);
    const LaneData& lane = *segment.LaneAt(0, 1);
    EXPECT_EQ(Get(lane.lock), segment.view().OffsetOf(&LockOf(segment))) << step;
    const bool mine = std::string(step) != "lock.1" && std::string(step) != "lock.3";
    EXPECT_EQ(Get(LockOf(segment).word) != 0, mine) << step;
  }
}

// Repair rolls back and unlocks in the dead one's name; it may die at the unlock as well.
TEST(LogCrash, OfTheRepairerAtTheUnlockIsCarriedOn) {
  const TestName name;
  MakeWorld(name);
  ASSERT_TRUE(RunAndDieAt("log.3", 2, [&] { MoveThree(name); }));
  ASSERT_TRUE(RunAndDieAt("lock.3", 1, [&] { MakeAttachment(name.place())->RepairAll(); }));
  auto survivor = JoinedAttachment(name.place());
  EXPECT_EQ(survivor->slot(), 0u);
  EXPECT_EQ(SumOf(survivor->segment()), kCount * kEach);
  EXPECT_EQ(Audited(survivor->segment()), "none");
}

}  // namespace
}  // namespace thole::shm
