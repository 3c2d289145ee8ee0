// Any bytes: every call ends with an answer, and the audit names what is wrong.
#include <gtest/gtest.h>

#include <cstring>

#include "support/queue_world.h"
#include "thole/queue/message_control.h"
#include "thole/shm/testing/fake_kernel.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::LoanRef;
using shm::testing::FakeKernel;
using shm::testing::FakePlatform;
using shm::testing::Random;
using testing::Blocks;
using testing::Inline;
using testing::QueueProcess;
using testing::QueueShape;

const std::vector<QueueShape>& Shapes() {
  static const auto* shapes =
      new std::vector<QueueShape>{{"items", Inline(4)}, {"leased", Blocks(4, true)}};
  return *shapes;
}

/// Memory with guard pages on both sides, participants of a fake kernel.
class Image {
 public:
  static constexpr uint64_t kBytes = 128 << 10;
  Image() : bytes_(kBytes / sizeof(Line)) {
    auto made = shm::Segment::Create(
        shm::Place::Memory(base(), kBytes),
        {.size_bytes = kBytes, .participants_max = 4, .lanes_per_participant = 2},
        testing::RootsOf(Shapes()));
    EXPECT_TRUE(made.ok()) << made.status();
  }
  void* base() { return bytes_.data(); }
  shm::SegmentView view() { return shm::SegmentView(base(), kBytes); }
  std::unique_ptr<QueueProcess> Join() {
    auto segment = shm::Segment::Open(shm::Place::Memory(base(), kBytes), {});
    EXPECT_TRUE(segment.ok()) << segment.status();
    auto platform = std::make_unique<FakePlatform>(kernel_, view());
    last_platform = platform.get();
    auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
    EXPECT_TRUE(attachment.ok());
    auto process = std::make_unique<QueueProcess>(*attachment);
    EXPECT_TRUE((*attachment)->Join("one").ok());
    process->Connect(Shapes());
    return process;
  }
  FakePlatform* last_platform = nullptr;

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> bytes_;
  std::shared_ptr<FakeKernel> kernel_ = std::make_shared<FakeKernel>(8);
};

class Damage : public ::testing::Test {
 protected:
  Damage() : process_(image_.Join()) {}
  const QueueRing& ring(size_t queue = 0) { return process_->handle(queue).ring(); }
  /// The invariants that the audit finds broken, each once, in order.
  std::string Broken() {
    Findings findings;
    process_->Audit(findings);
    std::string text;
    for (const shm::Finding& finding : findings.kept()) {
      if (finding.invariant[0] != 'Q') continue;
      if (text.find(finding.invariant) == std::string::npos) text += finding.invariant + " ";
    }
    return text;
  }
  void Fill() {
    for (uint64_t id = 1; id <= 3; ++id) {
      ASSERT_EQ(PushOne(*process_, id, 0), PushResult::kOk);
      ASSERT_EQ(PushOne(*process_, id, 1), PushResult::kOk);
    }
    uint64_t id = 0;
    PopInfo info;
    LoanRef loans[2];
    for (LoanRef& loan : loans) {
      ASSERT_EQ(PopOne(*process_, id, info, 1, &loan), PopResult::kOk);
    }
    for (const LoanRef loan : loans) ASSERT_EQ(Return(*process_, loan, 1), ReturnResult::kOk);
  }

  Image image_;
  std::unique_ptr<QueueProcess> process_;
};

TEST_F(Damage, TheAuditNamesWhatIsBroken) {
  Fill();
  EXPECT_EQ(Broken(), "");
  struct Case {
    shm::Word64& word;
    uint64_t value;
    const char* broken;
  };
  SharedQueueData& items = ring(0).data();
  ReturnListData& list = ring(1).data().returned;
  const uint64_t last = list.tail;
  auto& last_control = *image_.view().At<MessageControlData>(last);
  auto& first_control = *image_.view().At<MessageControlData>(list.head);
  const Case cases[] = {
      {ring().State(1), CellState{2, 0, CellPhase::kFull, 0}.Pack(), "Q2 "},
      {ring().State(1), CellState{1, 0, static_cast<CellPhase>(6), 0}.Pack(), "Q2 "},
      {ring().State(1), CellState{1, 0, CellPhase::kFull, 1}.Pack(), "Q2 "},
      {ring().State(1), CellState{1, 0, CellPhase::kTaken, 0}.Pack(), "Q2 "},
      {ring().State(1), CellState{101, 0, CellPhase::kEmpty, 0}.Pack(), "Q3 "},
      {items.head, 9, "Q5 Q4 "},
      {items.head, 2, "Q5 "},
      {ring().State(1), CellState{1, 0, CellPhase::kTaken, 3}.Pack(), "Q6 "},
      {ring().State(1), CellState{1, 0, CellPhase::kTaken, CellOwner(0, 9)}.Pack(), "Q6 "},
      {list.count, 1, "Q7 "},
      {list.count, 3, "Q7 "},
      {list.count, ~uint64_t{0}, "Q7 "},
      {list.tail, 0, "Q7 "},
      {list.head, 1 << 20, "Q7 "},
      {list.lock.word, 5, "Q7 "},
      {first_control.link, list.head, "Q7 "},
      {last_control.link, last, "Q7 "},
      {items.returned.count, 1, "Q7 "},
      {items.holders[0], 0x11, "Q8 "},
      {items.holders[3], 1, "Q8 "},
      {items.closed, 2, "Q9 "},
      {ring().State(3), CellState{3, 0, CellPhase::kClosed, 0}.Pack(), "Q9 "},
      {*const_cast<shm::Word64*>(ring(1).Payload(2)), 0, "Q10 "},
      {*const_cast<shm::Word64*>(ring(1).Payload(2)), Image::kBytes - 64, "Q10 "},
  };
  int number = 0;
  for (const Case& one : cases) {
    const uint64_t saved = one.word;
    one.word = one.value;
    EXPECT_EQ(Broken(), one.broken) << "case " << number;
    one.word = saved;
    ++number;
  }
  EXPECT_EQ(Broken(), "");
}

TEST_F(Damage, CallsSayCorrupt) {
  Fill();
  const auto items = process_->items();
  testing::Item item;
  const uint64_t first = ring().State(0);
  ring().State(0) = CellState{1, 0, CellPhase::kFull, 0}.Pack();  // in the wrong cell
  EXPECT_EQ(items.TryPop(item), PopResult::kCorrupt);
  ring().State(0) = CellState{800, 0, CellPhase::kEmpty, 0}.Pack();  // too far ahead
  EXPECT_EQ(items.TryPop(item), PopResult::kCorrupt);
  ring().State(0) = CellState{0, 0, static_cast<CellPhase>(7), 0}.Pack();
  EXPECT_EQ(items.TryPop(item), PopResult::kCorrupt);
  ring().State(0) = first;
  const uint64_t third = ring().State(3);
  ring().State(3) = CellState{2, 0, CellPhase::kEmpty, 0}.Pack();
  EXPECT_EQ(items.TryPush(item), PushResult::kCorrupt);
  ring().State(3) = CellState{403, 0, CellPhase::kEmpty, 0}.Pack();
  EXPECT_EQ(items.TryPush(item), PushResult::kCorrupt);
  ring().State(3) = third;
  EXPECT_EQ(items.TryPush(item), PushResult::kOk);
  ring(1).data().returned.head = 3;
  uint64_t id = 0;
  PopInfo info;
  EXPECT_EQ(PopOne(*process_, id, info, 1), PopResult::kCorrupt);
}

// What a process does all day, by chance, whatever it is told.
void Live(QueueProcess& process, Random& random) {
  uint64_t id = 0;
  PopInfo info;
  LoanRef loan;
  switch (random.Below(8)) {
    case 0:
    case 1:
      (void)PushOne(process, random.Below(100), 0);
      break;
    case 2:
      (void)PopOne(process, id, info, 0);
      break;
    case 3:
    case 4:
      (void)PushOne(process, random.Below(100), 1);
      break;
    case 5:
      if (PopOne(process, id, info, 1, &loan) == PopResult::kOk) (void)Return(process, loan, 1);
      break;
    case 6:
      (void)PopOne(process, id, info, 1);
      break;
    default:
      (void)process.handle(random.Below(2)).Statistics();
  }
}

uint64_t SomeWord(Random& random) {
  switch (random.Below(6)) {
    case 0:
      return random.Next();
    case 1:
      return random.Below(Image::kBytes);
    case 2:
      return ~random.Below(8);
    case 3:
      return random.Below(8);
    case 4:
      return random.Below(64) * 64;
    default:
      return CellState{random.Below(12), random.Below(32), static_cast<CellPhase>(random.Below(8)),
                       random.Below(6)}
          .Pack();
  }
}

TEST(DamageByChance, EndsEveryCallAndEveryRepair) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    Random random(seed);
    Image image;
    auto a = image.Join();
    auto victim = image.Join();
    FakePlatform* victims_kernel = image.last_platform;
    const uint64_t begin = image.view().OffsetOf(&a->handle(0).ring().data());
    const uint64_t end =
        image.view().OffsetOf(&a->handle(1).ring().data()) + *QueueBytes(Blocks(4, true));
    for (int i = 0; i < 60; ++i) {
      Live(random.Chance(2) ? *a : *victim, random);
      const uint64_t word = begin + random.Below((end - begin) / 8) * 8;
      image.view().At<shm::Word64>(word)->store(SomeWord(random));
      if (random.Chance(12)) {  // a loan of somebody, or a control word
        const uint64_t lane = image.view().OffsetOf(&a->attachment().lane(0).data());
        const uint64_t where = lane + 704 + random.Below(64) * 8;
        image.view().At<shm::Word64>(where)->store(SomeWord(random));
      }
      testing::Item item;
      (void)a->items().Push(testing::Item::Of(1),
                            Deadline::At(image.last_platform->NowNs() + 100'000));
      (void)a->items().Pop(item, Deadline::At(image.last_platform->NowNs() + 100'000));
    }
    Findings findings;
    AuditQueues(a->attachment().segment(), a->names(), findings);
    shm::Holders holders;
    CollectQueueHolders(a->attachment().segment(), a->names(), holders, findings);
    victims_kernel->Die();
    (void)a->attachment().RepairAll();
    for (int i = 0; i < 20; ++i) Live(*a, random);
    a->handle(0).Close();
    a->handle(1).Close();
    Live(*a, random);
    // Nobody leaves cleanly any more; that the destructors end is part of the test.
  }
}

}  // namespace
}  // namespace thole::queue
