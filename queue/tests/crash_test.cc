// Death at every step of every table, by a real signal; then somebody else repairs and counts.
#include "thole/shm/testing/crash_test.h"

#include <gtest/gtest.h>

#include "support/party.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using shm::LoanRef;
using shm::testing::CrashPointHits;
using shm::testing::CrashPointsOf;
using shm::testing::RunAndDieAt;
using testing::Blocks;
using testing::Inline;
using testing::Item;
using testing::Party;
using testing::QueueShape;

const std::vector<QueueShape>& Shapes() {
  static const auto* shapes = new std::vector<QueueShape>{
      {"items", Inline(4)}, {"blocks", Blocks(4, false)}, {"leased", Blocks(4, true)}};
  return *shapes;
}
enum Index : size_t { kItems = 0, kBlocks = 1, kLeased = 2 };

shm::Segment MakeCrashSegment() {
  auto roots = testing::RootsOf(Shapes());
  roots[0] = testing::TestPool::Root(48, 1088);
  roots.push_back(testing::TestNames::Root());
  auto made = shm::Segment::Create(shm::Place::Descriptor(), testing::kTestSegment, roots);
  if (!made.ok()) std::abort();
  return *std::move(made);
}

// Something lies in every queue, and one message in the return list.
void Prepare(Party& party) {
  for (uint64_t id = 1; id <= 2; ++id) {
    for (const size_t queue : {kItems, kBlocks, kLeased}) (void)PushOne(*party, id, queue);
  }
  uint64_t id = 0;
  PopInfo info;
  LoanRef loan;
  (void)PopOne(*party, id, info, kLeased, &loan);
  (void)Return(*party, loan, kLeased);
}

// Every move there is, so that it comes by every step; ids 11 and up.
void Everything(int file) {
  Party party(file, Shapes());
  uint64_t id = 0;
  PopInfo info;
  for (const size_t queue : {kItems, kBlocks, kLeased}) {
    (void)PushOne(*party, 11, queue);
    (void)PopOne(*party, id, info, queue);
    LoanRef loan;
    (void)PopOne(*party, id, info, queue, &loan);
    if (queue == kLeased) (void)Return(*party, loan, kLeased);
    if (queue == kBlocks) Free(*party, loan);
    (void)PushOne(*party, 12, queue);
  }
  (void)party->factory().Create<Item>("created", {.capacity = 2});
  party->handle(kBlocks).Close();
}

// Dies with two claims, a lease and a plain loan; what it was about is repaired by the next victim.
int LeaveAMess(int file) {
  Party party(file, Shapes());
  uint64_t id = 0;
  PopInfo info;
  LoanRef loan;
  (void)PopOne(*party, id, info, kLeased, &loan);
  const uint64_t owner = CellOwner(party.attachment().slot(), party.attachment().generation());
  const QueueRing& items = party->handle(kItems).ring();
  const CellState full = CellState::Unpack(items.State(0).load());
  items.State(0) = CellState{full.ticket, 0, CellPhase::kTaken, owner}.Pack();
  items.data().head = PackHead(0, full.ticket + 1);  // a helper passed it
  const QueueRing& blocks = party->handle(kBlocks).ring();
  const LoanRef given = NewMessage(*party);
  given->where = blocks.where();
  blocks.State(2) = CellState{2, 0, CellPhase::kWriting, owner}.Pack();
  given->ticket = shm::PackTicket(shm::LoanKind::kSend, 2);
  return raise(SIGKILL);  // before the destructors
}
void Repair(int file) {
  Party party(file, Shapes());  // Join repairs
  party.attachment().RepairAll();
}

void ExpectWhole(Party& survivor) {
  survivor.attachment().RepairAll();
  EXPECT_EQ(survivor.AuditText(), "none");
  // Accepted before: two ids in each queue. What the victim took is gone with it, unless leased.
  bool seen[32] = {};
  uint64_t id = 0;
  PopInfo info;
  while (PopOne(*survivor, id, info, kLeased) == PopResult::kOk) {
    ASSERT_LT(id, 32u);
    EXPECT_FALSE(seen[id]) << "twice: " << id;
    seen[id] = true;
  }
  for (const size_t queue : {kItems, kBlocks}) {
    int left = 20;
    while (--left > 0 && PopOne(*survivor, id, info, queue) == PopResult::kOk) EXPECT_LT(id, 32u);
    EXPECT_GT(left, 0);
  }
  auto created = survivor->factory().OpenOrCreate<Item>("created", {.capacity = 2});
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->TryPush(Item::Of(1)), PushResult::kOk);
  EXPECT_EQ(survivor.AuditText(), "none");
  // Everything is given back: all blocks but that of the created queue are free.
  EXPECT_EQ(survivor->pool().free_count(), 47u);
}

std::vector<CrashPointHits> PointsOf(bool repair) {
  const shm::Segment segment = MakeCrashSegment();
  {
    Party first(segment.file(), Shapes());
    Prepare(first);
  }
  if (repair) (void)testing::WaitFor(testing::Fork([&] { return LeaveAMess(segment.file()); }));
  return CrashPointsOf("queue.", [&] {
    if (repair) {
      Repair(segment.file());
    } else {
      Everything(segment.file());
    }
  });
}

std::string NameOf(const ::testing::TestParamInfo<CrashPointHits>& info) {
  return shm::testing::TestNameOf(info.param.name);
}

class QueueCrash : public ::testing::TestWithParam<CrashPointHits> {};

TEST_P(QueueCrash, IsRepairedAfterEveryHit) {
  const CrashPointHits& point = GetParam();
  for (uint32_t nth = 1; nth <= point.hits; ++nth) {
    const shm::Segment segment = MakeCrashSegment();
    Party survivor(segment.file(), Shapes());
    Prepare(survivor);
    ASSERT_TRUE(RunAndDieAt(point.name, nth, [&] { Everything(segment.file()); }))
        << point.name << ", hit " << nth;
    ExpectWhole(survivor);
  }
}
INSTANTIATE_TEST_SUITE_P(Steps, QueueCrash, ::testing::ValuesIn(PointsOf(false)), NameOf);

class RepairCrash : public ::testing::TestWithParam<CrashPointHits> {};

TEST_P(RepairCrash, IsGoneOnWithByTheNextRepairer) {
  const CrashPointHits& point = GetParam();
  for (uint32_t nth = 1; nth <= point.hits; ++nth) {
    const shm::Segment segment = MakeCrashSegment();
    Party survivor(segment.file(), Shapes());
    Prepare(survivor);
    ASSERT_EQ(testing::WaitFor(testing::Fork([&] { return LeaveAMess(segment.file()); })),
              -SIGKILL);
    ASSERT_TRUE(RunAndDieAt(point.name, nth, [&] { Repair(segment.file()); }))
        << point.name << ", hit " << nth;
    ExpectWhole(survivor);
  }
}
INSTANTIATE_TEST_SUITE_P(Steps, RepairCrash, ::testing::ValuesIn(PointsOf(true)), NameOf);

TEST(CrashPoints, AreAllComeBy) {
  std::vector<std::string> names;
  for (const bool repair : {false, true}) {
    for (const CrashPointHits& point : PointsOf(repair)) names.push_back(point.name);
  }
  const std::pair<const char*, int> operations[] = {{"push", 7},   {"pop", 7},    {"return", 5},
                                                    {"serve", 5},  {"close", 1},  {"recover", 7},
                                                    {"create", 3}, {"connect", 1}};
  for (const auto& [operation, steps] : operations) {
    for (int step = 1; step <= steps; ++step) {
      const std::string name = "queue." + std::string(operation) + "." + std::to_string(step);
      EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
    }
  }
}

// A waiter whose next message is claimed by a producer that dies goes on within slices.
TEST(Crash, AWaiterRepairsTheProducerItWaitsFor) {
  const shm::Segment segment = MakeCrashSegment();
  Party survivor(segment.file(), Shapes());
  ASSERT_TRUE(RunAndDieAt("queue.push.2", 1, [&] {
    Party victim(segment.file(), Shapes());
    (void)PushOne(*victim, 1, kItems);
  }));
  Item item;
  EXPECT_EQ(survivor->items(kItems).TryPop(item), PopResult::kPending);
  ASSERT_EQ(PushOne(*survivor, 2, kItems), PushResult::kOk);
  EXPECT_EQ(survivor->items(kItems).Pop(item, Deadline::In(std::chrono::seconds(20))),
            PopResult::kOk);
  EXPECT_EQ(item.id, 2u);
  EXPECT_EQ(survivor.AuditText(), "none");
}

TEST(Crash, AFullQueueIsFreedOfAConsumerThatDiedInIt) {
  const shm::Segment segment = MakeCrashSegment();
  Party survivor(segment.file(), Shapes());
  for (uint64_t id = 1; id <= 4; ++id) (void)PushOne(*survivor, id, kItems);
  ASSERT_TRUE(RunAndDieAt("queue.pop.2", 1, [&] {
    Party victim(segment.file(), Shapes());
    uint64_t id = 0;
    PopInfo info;
    (void)PopOne(*victim, id, info, kItems);
  }));
  const auto queue = survivor->items(kItems);
  PushInfo info;
  uint64_t words[7] = {};
  EXPECT_EQ(survivor->handle(kItems).TryPush(words, info), PushResult::kPending);
  EXPECT_NE(info.stalled_on, kNobody);
  // The waiting producer repairs; the message is there again, so the queue is full.
  EXPECT_EQ(queue.Push(Item::Of(5), Deadline::In(std::chrono::milliseconds(300))),
            PushResult::kTimeout);
  EXPECT_EQ(queue.TryPush(Item::Of(5)), PushResult::kFull);
  Item item;
  PopInfo pop;
  EXPECT_EQ(queue.TryPop(item, pop), PopResult::kOk);
  EXPECT_EQ(item.id, 1u);
  EXPECT_EQ(pop.attempts, 1u);
}

// A transaction that was cut off shows the list as it would have been: the repair takes that back.
TEST(Crash, AMessageIsNotSaidToBeGoneThatADeadOneWasAboutToTakeOffTheList) {
  const auto take = [](int file) {
    Party victim(file, Shapes());
    uint64_t id = 0;
    PopInfo info;
    LoanRef loan;
    (void)PopOne(*victim, id, info, kLeased, &loan);
    raise(SIGKILL);  // with the message, if it came to that
  };
  struct Scene {
    shm::Segment segment = MakeCrashSegment();
    Party survivor{segment.file(), Shapes()};
    Scene() {
      uint64_t id = 0;
      PopInfo info;
      LoanRef loan;
      (void)PushOne(*survivor, 1, kLeased);
      (void)PopOne(*survivor, id, info, kLeased, &loan);
      (void)Return(*survivor, loan, kLeased);
    }
  };
  int said_to_be_empty = 0;
  int said_to_be_pending = 0;
  for (const char* step : {"queue.serve.1", "queue.serve.2", "queue.serve.3", "queue.serve.4",
                           "log.1", "log.2", "log.3", "log.4"}) {
    for (uint32_t hit = 1; hit <= 8; ++hit) {
      SCOPED_TRACE(step + std::string(", hit ") + std::to_string(hit));
      Scene scene;
      (void)RunAndDieAt(step, hit, [&] { take(scene.segment.file()); });
      uint64_t id = 0;
      PopInfo info;
      LoanRef loan;
      const PopResult before = PopOne(*scene.survivor, id, info, kLeased, &loan);
      EXPECT_TRUE(before == PopResult::kEmpty || before == PopResult::kPending) << before;
      (before == PopResult::kEmpty ? said_to_be_empty : said_to_be_pending) += 1;
      EXPECT_EQ(scene.survivor.attachment().RepairAll(), 1u);
      ASSERT_EQ(PopOne(*scene.survivor, id, info, kLeased, &loan), PopResult::kOk);
      if (before == PopResult::kEmpty) {
        EXPECT_EQ(info.attempts, 2u) << "the dead one never had it";
      }
      Free(*scene.survivor, loan);
    }
  }
  EXPECT_GT(said_to_be_empty, 0);
  EXPECT_GT(said_to_be_pending, 0);
}

}  // namespace
}  // namespace thole::queue
