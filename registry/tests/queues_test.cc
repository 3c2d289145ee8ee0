// Queues as entries, their end, and the root itself.
#include "registry_fixture.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::NameResult;
using ::testing::HasSubstr;
using testing::MessageOf;
using RegistryQueues = testing::RegistryTest;

TEST_F(RegistryQueues, AReusedEntryRefusesItsFormerBearer) {
  shm::Call call = me_->attachment().Enter(1);
  NamedPlace first;
  ASSERT_EQ(me_->PublishQueue("q", &first), NameResult::kOk);
  const auto loan = me_->attachment().TakeLoan(call.lane(), nullptr, Deadline::Now());
  ASSERT_EQ(registry().ReleaseHold(call.lane(), first), NameResult::kOk);
  ASSERT_EQ(registry().MarkRemoved(call.lane(), first), NameResult::kOk);
  ASSERT_EQ(registry().ClaimDying(call.lane(), first), NameResult::kOk);
  ASSERT_EQ(registry().FreeEntry(call.lane(), first, loan), NameResult::kOk);
  ASSERT_EQ(me_->heap().FreeLoan(call.lane(), loan, Deadline::Never()), shm::BlockResult::kOk);
  me_->attachment().loans().Return(loan);
  me_->data().free_hint.store(first.index);
  NamedPlace second;
  ASSERT_EQ(me_->PublishQueue("q", &second), NameResult::kOk);
  ASSERT_EQ(second.index, first.index);
  EXPECT_GT(second.generation, first.generation);
  EXPECT_EQ(registry().Hold(call.lane(), first, Deadline::Never()), NameResult::kNotFound);
  EXPECT_EQ(registry().MarkRemoved(call.lane(), first), NameResult::kNotFound);
  EXPECT_EQ(registry().ReleaseHold(call.lane(), first), NameResult::kNotFound);
  EXPECT_EQ(registry().ClaimDying(call.lane(), first), NameResult::kNotFound);
  EXPECT_EQ(registry().FreeEntry(call.lane(), first, loan), NameResult::kNotFound);
  EXPECT_EQ(*registry().holders("q"), 1u) << "a stale place took the hold of another";
}

TEST_F(RegistryQueues, AQueueIsDrainedBeforeItIsFreed) {
  shm::Call call = me_->attachment().Enter(1);
  NamedPlace place;
  ASSERT_EQ(me_->PublishQueue("q", &place), NameResult::kOk);
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Acquire("q").status())) << "a queue is no buffer";
  EXPECT_TRUE(absl::IsFailedPrecondition(registry().Remove("q")));
  const auto loan = me_->attachment().TakeLoan(call.lane(), nullptr, Deadline::Now());
  EXPECT_EQ(registry().ClaimDying(call.lane(), place), NameResult::kWrongType);
  EXPECT_EQ(registry().FreeEntry(call.lane(), place, loan), NameResult::kWrongType);
  auto other = segment_.Join();
  shm::Call others = other->attachment().Enter(1);
  ASSERT_EQ(other->registry().Hold(others.lane(), place, Deadline::Never()), NameResult::kOk);
  ASSERT_EQ(registry().MarkRemoved(call.lane(), place), NameResult::kOk);
  EXPECT_EQ(registry().MarkRemoved(call.lane(), place), NameResult::kNotFound);
  EXPECT_EQ(registry().Hold(call.lane(), place, Deadline::Never()), NameResult::kNotFound);
  ASSERT_EQ(registry().ReleaseHold(call.lane(), place), NameResult::kOk);
  EXPECT_EQ(registry().List()[0].state, EntryState::kRemoved);
  ASSERT_EQ(other->registry().ReleaseHold(others.lane(), place), NameResult::kOk);
  EXPECT_EQ(registry().List()[0].state, EntryState::kDying);
  int visited = 0;
  registry().ForEach(shm::kQueuePlace, [&](const NamedPlace& dying) {
    ++visited;
    EXPECT_EQ(dying.offset, place.offset);
  });
  EXPECT_EQ(visited, 1);
  ASSERT_EQ(registry().ClaimDying(call.lane(), place), NameResult::kOk);
  EXPECT_EQ(other->registry().ClaimDying(others.lane(), place), NameResult::kBusy);
  EXPECT_EQ(other->registry().FreeEntry(others.lane(), place, loan), NameResult::kBusy);
  ASSERT_EQ(registry().FreeEntry(call.lane(), place, loan), NameResult::kOk);
  EXPECT_EQ(loan->block.load(), place.offset);
  ASSERT_EQ(me_->heap().FreeLoan(call.lane(), loan, Deadline::Never()), shm::BlockResult::kOk);
  me_->attachment().loans().Return(loan);
  EXPECT_EQ(registry().entry_count(), 0u);
  EXPECT_EQ(used(), 0u);
}

TEST_F(RegistryQueues, AQueueIsNotFreedWhileSomebodysQueueStepIsPending) {
  shm::Call call = me_->attachment().Enter(1);
  NamedPlace place;
  ASSERT_EQ(me_->PublishQueue("q", &place), NameResult::kOk);
  ASSERT_EQ(registry().ReleaseHold(call.lane(), place), NameResult::kOk);
  ASSERT_EQ(registry().MarkRemoved(call.lane(), place), NameResult::kOk);
  const auto loan = me_->attachment().TakeLoan(call.lane(), nullptr, Deadline::Now());
  shm::Word64& slot = me_->attachment().segment().Slot(5)->word;
  const uint64_t before = slot.load();
  slot.store(
      shm::SlotWord{9, 1u << static_cast<int>(shm::RepairStep::kQueue), shm::SlotState::kRepair}
          .Pack());
  EXPECT_EQ(registry().ClaimDying(call.lane(), place), NameResult::kBusy);
  slot.store(before);
  ASSERT_EQ(registry().ClaimDying(call.lane(), place), NameResult::kOk);
  slot.store(
      shm::SlotWord{9, 1u << static_cast<int>(shm::RepairStep::kQueue), shm::SlotState::kRepair}
          .Pack());
  EXPECT_EQ(registry().FreeEntry(call.lane(), place, loan), NameResult::kBusy);
  slot.store(before);
  EXPECT_EQ(registry().FreeEntry(call.lane(), place, loan), NameResult::kOk);
  ASSERT_EQ(me_->heap().FreeLoan(call.lane(), loan, Deadline::Never()), shm::BlockResult::kOk);
  me_->attachment().loans().Return(loan);
}

TEST(RegistryRoot, RefusesImpossibleSizes) {
  for (const uint32_t entries : {0u, kEntriesMaxLimit + 1}) {
    const std::vector<shm::RootRequest> roots = {
        SharedBufferRegistry::Root({.entries_max = entries}, 8)};
    const auto made = shm::Segment::Create(shm::Place::Descriptor(),
                                           {.size_bytes = 1 << 20, .participants_max = 8}, roots);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    EXPECT_THAT(MessageOf(made), HasSubstr("entries: use 1 to 65536"));
  }
  EXPECT_EQ(RegistryOptions::For(4 << 20).entries_max, 64u);
  EXPECT_EQ(RegistryOptions::For((4 << 20) + 1).entries_max, 1024u);
}

TEST(RegistryRoot, ASegmentWithoutARegistryOrOfAnotherVersionIsRefused) {
  auto bare = shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = 1 << 20}, {});
  EXPECT_TRUE(absl::IsNotFound(RegistryReader::Make(*bare).status()));
  const std::vector<shm::RootRequest> roots = {SharedBufferRegistry::Root({.entries_max = 4}, 8)};
  auto made = shm::Segment::Create(shm::Place::Descriptor(),
                                   {.size_bytes = 1 << 20, .participants_max = 8}, roots);
  ASSERT_TRUE(made.ok());
  auto& data = RegistryTable::Make(*made)->data();
  data.layout = kRegistryLayout + 1;
  const auto other = RegistryReader::Make(*made);
  EXPECT_TRUE(absl::IsUnimplemented(other.status()));
  EXPECT_EQ(GetErrorKind(other.status()), ErrorKind::kOtherVersion);
  EXPECT_THAT(MessageOf(other), HasSubstr("has layout 2, this library has 1"));
  data.layout = 1234;
  EXPECT_EQ(GetErrorKind(RegistryReader::Make(*made).status()), ErrorKind::kDamaged);
}

}  // namespace
}  // namespace thole::registry
