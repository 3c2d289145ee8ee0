// What a child of fork may do with what it inherited: be told so, and nothing else.
#include <fcntl.h>

#include <optional>

#include "support/test_segment.h"
#include "thole/shm/owner_lock.h"

namespace thole::shm {
namespace {

bool IsForkedHandle(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && GetErrorKind(status) == ErrorKind::kForkedHandle;
}

class CountingPart final : public RepairPart {
 public:
  RepairStep step() const override { return RepairStep::kComm; }
  RepairOutcome Repair(DeadParticipant&) override {
    ++calls;
    return RepairOutcome::kDone;
  }
  int calls = 0;
};

class Forked : public ::testing::Test {
 protected:
  void SetUp() override {
    MakeSegment(name_.place());
    attachment_ = MakeAttachment(name_.place());
    attachment_->Register(part_);
    ASSERT_TRUE(attachment_->Join("parent").ok());
  }
  void TearDown() override {
    // The parent is unharmed.
    EXPECT_EQ(WordOf(attachment_->segment(), 0).state, SlotState::kLive);
    EXPECT_EQ(Audited(attachment_->segment()), "none");
    EXPECT_TRUE(attachment_->Enter(1));
    EXPECT_TRUE(attachment_->Leave(Deadline::Never()).ok());
  }
  const TestName name_;
  const std::shared_ptr<CountingPart> part_ = std::make_shared<CountingPart>();
  std::shared_ptr<Attachment> attachment_;
};

TEST_F(Forked, EveryCallOfAnAttachmentAnswersThatItWasInherited) {
  EXPECT_FALSE(attachment_->forked());
  Child child([&](Child&) {
    Attachment& inherited = *attachment_;
    CHILD_REQUIRE(inherited.forked());
    CHILD_REQUIRE(IsForkedHandle(inherited.Join("child")));
    CHILD_REQUIRE(IsForkedHandle(inherited.Leave(Deadline::Never())));
    CHILD_REQUIRE(!inherited.Enter(1));
    CHILD_REQUIRE(!inherited.Enter(1, Deadline::Now()));
    CHILD_REQUIRE(!inherited.TryEnter(1));
    CHILD_REQUIRE(inherited.Probe(0, 1) == LifeState::kAlive);
    CHILD_REQUIRE(inherited.RepairSlot(0) == RepairVerdict::kNothing);
    CHILD_REQUIRE(inherited.ReleaseLocksOf(0) == RepairVerdict::kNothing);
    CHILD_REQUIRE(inherited.RepairAll() == 0);
    Lane lane;
    CHILD_REQUIRE(!inherited.TakeLoan(lane, nullptr, Deadline::Now()));
    inherited.Abandon();
    CHILD_REQUIRE(part_->calls == 0);
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST_F(Forked, InheritedSegmentSaysSoAndIsNotTouched) {
  std::optional<Segment> segment = OpenSegment(name_.place());
  Child child([&](Child&) {
    CHILD_REQUIRE(segment->forked());
    CHILD_REQUIRE(attachment_->segment().forked());
    Findings findings;
    AuditSegment(*segment, findings);
    CHILD_REQUIRE(findings.count() == 1);
    Holders holders;
    CollectLoanHolders(*segment, holders, findings);
    CHILD_REQUIRE(findings.count() == 2 && holders.by_block().empty());
    CHILD_REQUIRE(segment->Root(ComponentId::kShm, kWordsKind).has_value());
    CHILD_REQUIRE(IsForkedHandle(Attachment::Make(*std::move(segment)).status()));
    // What the child opens itself works.
    const Segment own = OpenSegment(name_.place());
    CHILD_REQUIRE(!own.forked() && Audited(own) == "none");
  });
  EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_FALSE(segment->forked());
}

TEST_F(Forked, DestructorsInTheChildDoNothing) {
  auto segment = std::make_unique<Segment>(OpenSegment(name_.place()));
  auto call = std::make_unique<Call>(attachment_->Enter(7));
  const LaneData& lane = call->lane().data();
  Child child([&](Child&) {
    const int file = segment->file();
    call.reset();
    segment.reset();
    attachment_.reset();
    CHILD_REQUIRE(fcntl(file, F_GETFD) != -1);  // the number may stand for another file by now
    CHILD_REQUIRE(part_->calls == 0);
  });
  EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_EQ(Get(lane.in_call), 7u) << "the call goes on in the parent";
  auto other = JoinedAttachment(name_.place());
  EXPECT_EQ(other->Probe(0, 1), LifeState::kAlive) << "the child dropped the parent's life byte";
}

TEST_F(Forked, ChildAttachesAnewBesideItsParent) {
  Child child([&](Child& parent) {
    auto own = JoinedAttachment(name_.place());
    CHILD_REQUIRE(own->slot() == 1);
    CHILD_REQUIRE(own->Probe(0, 1) == LifeState::kAlive);
    parent.Tell('j');
    parent.Hear();
    CHILD_REQUIRE(own->Leave(Deadline::Never()).ok());
  });
  ASSERT_EQ(child.Hear(), 'j');
  EXPECT_EQ(attachment_->Probe(1, 1), LifeState::kAlive);
  child.Tell('g');
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST_F(Forked, NothingOfTheParentIsMappedInTheChild) {
  const auto* word = &attachment_->segment().header().state;
  Child child([&](Child&) {
    signal(SIGSEGV, [](int) { _exit(3); });
    (void)Get(*word);
  });
  EXPECT_EQ(child.Wait(), "exit 3");
}

TEST_F(Forked, OfAForkedChildIsForkedToo) {
  Child child([&](Child&) {
    Child grandchild([&](Child&) {
      CHILD_REQUIRE(attachment_->forked());
      attachment_.reset();
    });
    CHILD_REQUIRE(grandchild.Wait() == "exit 0");
    auto own = JoinedAttachment(name_.place());
    Child other([&](Child&) { CHILD_REQUIRE(own->forked() && attachment_->forked()); });
    CHILD_REQUIRE(other.Wait() == "exit 0");
    CHILD_REQUIRE(own->Leave(Deadline::Never()).ok());
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST(ForkedMemory, OfThreadsIsInheritedAsACopyAndRefused) {
  alignas(kCacheLine) static std::byte memory[64 << 10];
  const Place place = Place::Memory(memory, sizeof memory);
  MakeSegment(place);
  auto attachment = JoinedAttachment(place);
  Child child([&](Child&) {
    CHILD_REQUIRE(attachment->forked() && !attachment->Enter(1));
    attachment.reset();
  });
  EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_TRUE(attachment->Enter(1));
}

}  // namespace
}  // namespace thole::shm
