// Making queues and finding them.
#include "support/party.h"

namespace thole::queue {
namespace {

using testing::Blocks;
using testing::Inline;
using testing::Item;
using testing::MakeSegment;
using testing::Party;
using testing::QueueShape;

class Factory : public ::testing::Test {
 protected:
  Factory() : shapes_{{"jobs", Inline(4)}, {"leased", Blocks(4, true)}} {
    std::vector<shm::RootRequest> roots = RootsOf(shapes_);
    roots[0] = testing::TestPool::Root(16, 1088);
    roots.push_back(testing::TestNames::Root());
    auto made = shm::Segment::Create(shm::Place::Descriptor(), testing::kTestSegment, roots);
    EXPECT_TRUE(made.ok()) << made.status();
    segment_.emplace(*std::move(made));
    party.emplace(segment_->file(), shapes_);
  }
  QueueFactory& factory() { return (*party)->factory(); }

  const std::vector<QueueShape> shapes_;
  std::optional<shm::Segment> segment_;
  std::optional<Party> party;
};

void ExpectRefused(const absl::Status& status, absl::StatusCode code, const char* words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(std::string(status.message()).find(words), std::string::npos) << status;
  std::printf("  %s\n", status.ToString().c_str());
}

TEST_F(Factory, ConnectsToAQueueThatWasLaidOutWithTheSegment) {
  auto queue = factory().Connect<Item>("jobs");
  ASSERT_TRUE(queue.ok()) << queue.status();
  EXPECT_EQ(queue->capacity(), 4u);
  EXPECT_FALSE(queue->leased());
}

TEST_F(Factory, MakesAQueueThatAnotherParticipantFinds) {
  auto made = factory().Create<Item>("made", {.capacity = 2, .type_id = 7});
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->TryPush(Item::Of(3)), PushResult::kOk);
  Party other(segment_->file(), shapes_);
  auto found = other->factory().Connect<Item>("made", 7);
  ASSERT_TRUE(found.ok()) << found.status();
  Item item;
  EXPECT_EQ(found->TryPop(item), PopResult::kOk);
  EXPECT_EQ(item.id, 3u);
  EXPECT_EQ((*party)->pool().free_count(), 15u);
  EXPECT_EQ(party->AuditText(), "none");
}

TEST_F(Factory, RefusesAndLeavesNothingBehind) {
  using Code = absl::StatusCode;
  ExpectRefused(factory().Create<Item>("jobs").status(), Code::kAlreadyExists, "exists already");
  ExpectRefused(factory().Create<Item>("").status(), Code::kInvalidArgument, "name");
  ExpectRefused(factory().Create<Item>("a/b").status(), Code::kInvalidArgument, "name");
  ExpectRefused(factory().Create<Item>("x", {.capacity = 0}).status(), Code::kInvalidArgument,
                "capacity 0");
  ExpectRefused(factory().Create<Item>("x", {.capacity = kCapacityMax + 1}).status(),
                Code::kInvalidArgument, "capacity 524289");
  ExpectRefused(factory().Create<Item>("x", {.leased = true}).status(), Code::kInvalidArgument,
                "descriptors");
  ExpectRefused(factory().Create<Item>("x", {.max_deliveries = 31}).status(),
                Code::kInvalidArgument, "max_deliveries");
  ExpectRefused(factory().Create<Item>("x", {.capacity = 64}).status(), Code::kResourceExhausted,
                "smaller capacity");
  ExpectRefused(factory().CreateHandle("x", {.element_bytes = 249}).status(),
                Code::kInvalidArgument, "249 bytes");
  ExpectRefused(factory().Connect<Item>("nowhere").status(), Code::kNotFound, "create it first");
  ExpectRefused(factory().Connect<uint64_t>("jobs").status(), Code::kInvalidArgument, "of 56");
  ExpectRefused(factory().Connect<MessageDescriptor>("jobs").status(), Code::kInvalidArgument,
                "descriptors");
  ExpectRefused(factory().Connect<Item>("jobs", 9).status(), Code::kInvalidArgument, "type");
  ExpectRefused(factory().OpenOrCreate<MessageDescriptor>("leased").status(),
                Code::kInvalidArgument, "leased");
  EXPECT_EQ((*party)->pool().free_count(), 16u);
  EXPECT_EQ(party->AuditText(), "none");
}

TEST_F(Factory, OpensOrMakesWhicheverFits) {
  auto made = factory().OpenOrCreate<Item>("new", {.capacity = 2});
  ASSERT_TRUE(made.ok()) << made.status();
  auto same = factory().OpenOrCreate<Item>("new", {.capacity = 1});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->capacity(), 2u);
  ASSERT_EQ(made->TryPush(Item::Of(1)), PushResult::kOk);
  EXPECT_EQ(same->SizeApprox(), 1u);
}

TEST_F(Factory, OneOfSeveralCreatorsWins) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(testing::Fork([&] {
      Party child(segment_->file(), shapes_);
      auto queue = child->factory().OpenOrCreate<Item>("race", {.capacity = 2});
      return queue.ok() ? 0 : 1;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(testing::WaitFor(child), 0);
  party->attachment().RepairAll();  // children end without leaving
  EXPECT_EQ((*party)->pool().free_count(), 15u);
  EXPECT_EQ(party->AuditText(), "none");
}

TEST_F(Factory, WantsASeat) {
  auto segment = shm::Segment::Open(shm::Place::Descriptor(segment_->file()), {});
  ASSERT_TRUE(segment.ok());
  auto attachment = shm::Attachment::Make(*std::move(segment));
  ASSERT_TRUE(attachment.ok());
  testing::QueueProcess process(*attachment);
  ExpectRefused(process.factory().Connect<Item>("jobs").status(),
                absl::StatusCode::kFailedPrecondition, "Join");
}

TEST_F(Factory, RefusesDamagedAndOtherFacts) {
  const shm::Segment& segment = party->attachment().segment();
  auto& facts = (*party)->handle().ring().data().facts;
  const QueueFactsData saved = facts;
  facts.capacity = 5;
  ExpectRefused(factory().Connect<Item>("jobs").status(), absl::StatusCode::kDataLoss, "damaged");
  facts = saved;
  facts.layout_version = 9;
  const absl::Status other = factory().Connect<Item>("jobs").status();
  ExpectRefused(other, absl::StatusCode::kUnimplemented, "version 9");
  EXPECT_EQ(GetErrorKind(other), ErrorKind::kOtherVersion);
  facts = saved;
  facts.magic = 1;
  ExpectRefused(factory().Connect<Item>("jobs").status(), absl::StatusCode::kDataLoss, "no queue");
  shm::Findings findings;
  AuditQueues(segment, (*party)->names(), findings);
  ASSERT_EQ(findings.count(), 1u);
  EXPECT_EQ(findings.kept()[0].invariant, "Q1");
  facts = saved;
  EXPECT_TRUE(factory().Connect<Item>("jobs").ok());
}

}  // namespace
}  // namespace thole::queue
