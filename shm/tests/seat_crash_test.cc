// Death at every step of joining, leaving and repairing.
#include <algorithm>
#include <set>

#include "support/test_segment.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/crash_test.h"
#include "thole/shm/transaction.h"

namespace thole::shm {
namespace {

using testing::CrashPointHits;
using testing::CrashPointsOf;
using testing::RunAndDieAt;

constexpr ComponentId kOther = ComponentId::kComm;
constexpr uint64_t kTotal = 1000;
// Words of the root: a lock, then two whose sum never changes, then a count of the part's runs.
constexpr uint32_t kLock = 0;
constexpr uint32_t kFrom = 1;
constexpr uint32_t kTo = 2;
constexpr uint32_t kHeld = 3;

OwnerLockData& LockOf(const Segment& segment) {
  return *segment.view().At<OwnerLockData>(segment.view().OffsetOf(WordsOf(segment, kOther)));
}

// Gives back what the dead one held: a word that names it. Idempotent.
class HeldPart final : public RepairPart {
 public:
  RepairStep step() const override { return RepairStep::kComm; }
  RepairOutcome Repair(DeadParticipant& dead) override {
    Word64& held = WordsOf(dead.survivor.segment(), kOther)[kHeld];
    if (Get(held) == dead.slot + 1) Put(held, uint64_t{0});
    return RepairOutcome::kDone;
  }
};

std::shared_ptr<Attachment> MakeLinked(const TestName& name) {
  auto attachment = MakeAttachment(name.place());
  attachment->Register(std::make_shared<HeldPart>());
  return attachment;
}

void MakeWorld(const TestName& name) {
  const Segment segment = MakeSegment(name.place(), SmallOptions(), kOther);
  Put(WordsOf(segment, kOther)[kFrom], kTotal);
}

// A participant that dies with a lock, an open transaction, a loan and a held word.
void MakeCorpse(const TestName& name) {
  Child victim([&](Child&) {
    auto attachment = MakeLinked(name);
    CHILD_REQUIRE(attachment->Join("victim").ok());
    Word64* words = WordsOf(attachment->segment(), kOther);
    Put(words[kHeld], uint64_t{attachment->slot()} + 1);
    Call call = attachment->Enter(1);
    const LoanRef loan = attachment->TakeLoan(call.lane(), nullptr, Deadline::Now());
    Put(loan->ticket, uint64_t{17});
    CHILD_REQUIRE(Lock(call.lane(), LockOf(attachment->segment()), Deadline::Never()) ==
                  LockResult::kOk);
    Transaction move(call.lane());
    move.Set(words[kFrom], kTotal - 5);
    kill(getpid(), SIGKILL);
  });
  ASSERT_EQ(victim.Wait(), "signal 9");
}

// After any death: one survivor repairs everything, and the seat works again.
void ExpectAllWell(const TestName& name) {
  auto survivor = MakeLinked(name);
  survivor->RepairAll();
  const Segment& segment = survivor->segment();
  EXPECT_EQ(SlotsInUse(segment), 0u);
  EXPECT_EQ(Audited(segment), "none");
  const Word64* words = WordsOf(segment, kOther);
  EXPECT_EQ(Get(words[kFrom]) + Get(words[kTo]), kTotal);
  EXPECT_EQ(Get(words[kLock]), 0u);
  EXPECT_EQ(Get(words[kHeld]), 0u);
  EXPECT_EQ(survivor->RepairAll(), 0u) << "repairing twice is repairing once";
  ASSERT_TRUE(survivor->Join("survivor").ok());
  EXPECT_EQ(survivor->slot(), 0u);
  Call call = survivor->Enter(1);
  ASSERT_TRUE(call);
  EXPECT_EQ(TryLock(call.lane(), LockOf(segment)), LockResult::kOk);
  Unlock(call.lane(), LockOf(segment));
  call.End();
  EXPECT_TRUE(survivor->Leave(Deadline::Never()).ok());
  EXPECT_EQ(Audited(segment), "none");
}

void JoinAndLeave(const TestName& name) {
  auto attachment = MakeLinked(name);
  CHILD_REQUIRE(attachment->Join("victim").ok());
  Put(WordsOf(attachment->segment(), kOther)[kHeld], uint64_t{attachment->slot()} + 1);
  CHILD_REQUIRE(attachment->Leave(Deadline::Never()).ok());
}

void RepairEverybody(const TestName& name) { MakeLinked(name)->RepairAll(); }

const char* const kJoinAndLeave[] = {"join.1",  "join.2",  "join.3",  "join.4", "leave.1",
                                     "leave.2", "leave.3", "clean.1", "clean.2"};
const char* const kRepair[] = {"repair.1", "repair.2", "repair.3", "repair.4"};

// Every point that the run comes by is one of the parameters below, and the reverse.
std::set<std::string> NamesOf(const std::vector<CrashPointHits>& points) {
  std::set<std::string> names;
  for (const CrashPointHits& point : points) names.insert(point.name);
  return names;
}

TEST(SeatCrash, KnowsEveryStep) {
  const TestName name;
  MakeWorld(name);
  auto names = NamesOf(CrashPointsOf("join.", [&] { JoinAndLeave(name); }));
  names.merge(NamesOf(CrashPointsOf("leave.", [&] { JoinAndLeave(name); })));
  names.merge(NamesOf(CrashPointsOf("clean.", [&] { JoinAndLeave(name); })));
  EXPECT_EQ(names, std::set<std::string>(std::begin(kJoinAndLeave), std::end(kJoinAndLeave)));
  MakeCorpse(name);
  names = NamesOf(CrashPointsOf("repair.", [&] { RepairEverybody(name); }));
  EXPECT_EQ(names, std::set<std::string>(std::begin(kRepair), std::end(kRepair)));
}

class SeatCrash : public ::testing::TestWithParam<const char*> {};

TEST_P(SeatCrash, LeavesASeatThatCanBeRepaired) {
  const TestName name;
  MakeWorld(name);
  const auto end = RunAndDieAt(GetParam(), 1, [&] { JoinAndLeave(name); });
  ASSERT_TRUE(end) << end.ToString();
  const Segment segment = OpenSegment(name.place(), true);
  const std::string step = GetParam();
  const bool free = step == "join.1" || step == "leave.3" || step.starts_with("clean.");
  EXPECT_EQ(SlotsInUse(segment), free ? 0u : 1u);
  EXPECT_EQ(WordOf(segment, 0).state, free ? SlotState::kFree : SlotState::kLive);
  ExpectAllWell(name);
}

INSTANTIATE_TEST_SUITE_P(Every, SeatCrash, ::testing::ValuesIn(kJoinAndLeave),
                         [](const auto& step) { return testing::TestNameOf(step.param); });

class RepairCrash : public ::testing::TestWithParam<const char*> {};

TEST_P(RepairCrash, OfTheRepairerIsCarriedOnByTheNextOne) {
  for (uint32_t nth = 1;; ++nth) {
    const TestName name;
    MakeWorld(name);
    MakeCorpse(name);
    const auto end = RunAndDieAt(GetParam(), nth, [&] { RepairEverybody(name); });
    if (!end) {
      EXPECT_GT(nth, 1u) << "never came there";
      EXPECT_EQ(end.ToString(), "ran to its end with exit code 0");
      break;
    }
    ExpectAllWell(name);
  }
}

TEST_P(RepairCrash, OfTwoRepairersIsCarriedOnByTheThird) {
  for (const char* second : kRepair) {
    const TestName name;
    MakeWorld(name);
    MakeCorpse(name);
    ASSERT_TRUE(RunAndDieAt(GetParam(), 1, [&] { RepairEverybody(name); }));
    // Where the first one got further, the second has nothing left to die in.
    (void)RunAndDieAt(second, 1, [&] { RepairEverybody(name); });
    ExpectAllWell(name);
  }
}

INSTANTIATE_TEST_SUITE_P(Every, RepairCrash, ::testing::ValuesIn(kRepair),
                         [](const auto& step) { return testing::TestNameOf(step.param); });

// The lane's state is that of the step table at each moment.
TEST(SeatCrash, PidIsStoredLastAndClearedFirst) {
  for (const char* point : kJoinAndLeave) {
    const TestName name;
    MakeWorld(name);
    ASSERT_TRUE(RunAndDieAt(point, 1, [&] { JoinAndLeave(name); }));
    const Segment segment = OpenSegment(name.place(), true);
    const SlotData& slot = *segment.Slot(0);
    const bool has_pid = std::string(point) == "join.4" || std::string(point) == "leave.1";
    EXPECT_EQ(Get(slot.pid) != 0, has_pid) << point;
    EXPECT_TRUE(!has_pid || Get(slot.start_time) != 0) << point;
  }
}

// Joins and leaves, and waits at a point between telling its parent 'h' and hearing from it.
void JoinAndLeaveWithAStopAt(const char* point, const TestName& name, Child& parent) {
  static Child* line = nullptr;
  static const char* wanted = nullptr;
  line = &parent;
  wanted = point;
  crash_point_hook = [](const char* step) {
    if (std::string(step) != wanted) return;
    line->Tell('h');
    line->Hear();
  };
  JoinAndLeave(name);
}

TEST(SeatCrash, NewcomerIsNotInACleanSegmentThoughTheLastOneSawNobody) {
  const TestName name;
  MakeWorld(name);
  Child leaver([&](Child& parent) { JoinAndLeaveWithAStopAt("clean.1", name, parent); });
  ASSERT_EQ(leaver.Hear(), 'h');
  auto newcomer = MakeLinked(name);
  ASSERT_TRUE(newcomer->Join("newcomer").ok());
  leaver.Tell('g');
  EXPECT_EQ(leaver.Wait(), "exit 0");
  EXPECT_EQ(Get(newcomer->segment().header().state) & 3,
            static_cast<uint64_t>(SegmentState::kDirty));
  EXPECT_EQ(Audited(newcomer->segment()), "none");
}

TEST(SeatCrash, LifeByteFallsAfterTheSlotIsFree) {
  // At leave.3 the slot is FREE; everything before it is LIVE with the byte held until the death.
  const TestName name;
  MakeWorld(name);
  const auto observer = MakeAttachment(name.place());
  for (const char* point : {"leave.1", "leave.2", "leave.3"}) {
    Child child([&](Child& parent) { JoinAndLeaveWithAStopAt(point, name, parent); });
    ASSERT_EQ(child.Hear(), 'h');
    EXPECT_TRUE(observer->platform().IsHeld(LockByte::kLife, 0)) << point;
    child.Tell('g');
    EXPECT_EQ(child.Wait(), "exit 0");
    EXPECT_FALSE(observer->platform().IsHeld(LockByte::kLife, 0)) << point;
  }
}

TEST(SeatCrash, SlotUnderRepairIsNeverClaimed) {
  const TestName name;
  MakeWorld(name);
  MakeCorpse(name);
  ASSERT_TRUE(RunAndDieAt("repair.1", 1, [&] { RepairEverybody(name); }));
  auto unlinked = MakeAttachment(name.place());  // cannot do the other component's step
  ASSERT_TRUE(unlinked->Join("beside").ok());
  EXPECT_EQ(unlinked->slot(), 1u);
  EXPECT_EQ(WordOf(unlinked->segment(), 0).state, SlotState::kRepair);
  EXPECT_EQ(WordOf(unlinked->segment(), 0).generation, 1u);
  const Word64* words = WordsOf(unlinked->segment(), kOther);
  EXPECT_EQ(Get(words[kLock]), 0u) << "its lock is released by whoever is there";
  EXPECT_EQ(Get(words[kFrom]), kTotal);
  unlinked.reset();
  ExpectAllWell(name);
}

}  // namespace
}  // namespace thole::shm
