// What the registry does in one process, call by call.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "registry_world.h"
#include "thole/registry/audit.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::NameResult;
using testing::AuditAll;
using ::testing::HasSubstr;
using testing::Member;
using testing::NamedSegment;
using testing::Numbered;

template <class T>
std::string Message(const absl::StatusOr<T>& result) {
  return std::string(result.status().message());
}

class Registry : public ::testing::Test {
 protected:
  ~Registry() override {
    shm::Findings findings;
    AuditAll(me_->attachment().segment(), findings);
    EXPECT_TRUE(findings.empty()) << findings.ToString();
  }
  SharedBufferRegistry& registry() { return me_->registry(); }
  uint64_t used() { return me_->heap().used_bytes(); }

  NamedSegment segment_{8};
  std::unique_ptr<Member> me_ = segment_.Join();
};

TEST_F(Registry, CreatesAZeroedBufferThatOthersFindByName) {
  auto made = registry().Create("prices", 1000, {.type_id = 7});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->name(), "prices");
  EXPECT_EQ(made->size(), 1000u);
  ASSERT_EQ(made->bytes().size(), 1000u);
  for (const std::byte b : made->bytes()) ASSERT_EQ(b, std::byte{0});
  made->bytes()[999] = std::byte{42};

  auto other = segment_.Join();
  auto mine = other->registry().Acquire("prices", 7, 1000);
  ASSERT_TRUE(mine.ok()) << mine.status();
  EXPECT_EQ(mine->bytes()[999], std::byte{42});
  const auto info = registry().Lookup("prices");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->holders, 2u);
  EXPECT_EQ(info->size_bytes, 1000u);
  EXPECT_EQ(info->type_id, 7u);
  EXPECT_EQ(info->state, EntryState::kLive);
  EXPECT_EQ(info->creator_slot, me_->attachment().slot());
  EXPECT_EQ(info->creator_generation, me_->attachment().generation());
  EXPECT_LT(info->age, std::chrono::minutes(1));
}

TEST_F(Registry, ZeroesTheBytesOfAnEarlierOwner) {
  {
    auto first = registry().Create("a", 256);
    for (std::byte& b : first->bytes()) b = std::byte{0xff};
  }
  ASSERT_TRUE(registry().Remove("a").ok());
  auto second = registry().Create("b", 256);
  for (const std::byte b : second->bytes()) ASSERT_EQ(b, std::byte{0});
}

TEST_F(Registry, LookupTakesNoReference) {
  {
    auto made = registry().Create("a", 8);
  }
  const auto info = registry().Lookup("a");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->holders, 0u);
  EXPECT_EQ(*registry().holders("a"), 0u);
  ASSERT_TRUE(registry().Remove("a").ok());
  EXPECT_EQ(used(), 0u);
}

TEST_F(Registry, ANameIsCreatedOnce) {
  auto made = registry().Create("a", 8);
  const uint64_t before = used();
  const auto again = registry().Create("a", 100000);
  EXPECT_TRUE(absl::IsAlreadyExists(again.status()));
  EXPECT_THAT(Message(again), HasSubstr("'a' exists already"));
  EXPECT_EQ(used(), before);
}

TEST_F(Registry, HandlesOfOneProcessCountAsOneHolder) {
  auto first = registry().Create("a", 8);
  auto second = registry().Acquire("a");
  auto third = registry().Acquire("a");
  EXPECT_EQ(*registry().holders("a"), 1u);
  first->Release();
  BufferHandle moved = *std::move(second);
  EXPECT_TRUE(moved);
  EXPECT_EQ(*registry().holders("a"), 1u);
  moved = *std::move(third);  // drops what it had
  EXPECT_EQ(*registry().holders("a"), 1u);
  moved.Release();
  EXPECT_EQ(*registry().holders("a"), 0u);
  EXPECT_FALSE(moved);
  EXPECT_TRUE(moved.bytes().empty());
  moved.Release();  // nothing left: nothing happens
}

TEST_F(Registry, ARemovedBufferLastsAsLongAsItsLastHolder) {
  auto made = registry().Create("a", 8);
  auto other = segment_.Join();
  auto mine = other->registry().Acquire("a");
  ASSERT_TRUE(registry().Remove("a").ok());
  EXPECT_TRUE(absl::IsNotFound(registry().Lookup("a").status()));
  EXPECT_TRUE(absl::IsNotFound(registry().Acquire("a").status()));
  EXPECT_TRUE(absl::IsNotFound(registry().Remove("a")));
  EXPECT_EQ(registry().entry_count(), 1u);
  ASSERT_EQ(registry().List().size(), 1u);
  EXPECT_EQ(registry().List()[0].state, EntryState::kRemoved);
  EXPECT_EQ(registry().List()[0].holders, 2u);
  mine->bytes()[7] = std::byte{9};

  auto successor = registry().Create("a", 16);  // the name is free again
  ASSERT_TRUE(successor.ok());
  EXPECT_NE(successor->place().index, made->place().index);
  EXPECT_EQ(made->bytes()[7], std::byte{9});
  made->Release();
  EXPECT_EQ(registry().entry_count(), 2u);
  mine->Release();
  EXPECT_EQ(registry().entry_count(), 1u);
  successor->Release();
  ASSERT_TRUE(registry().Remove("a").ok());
  EXPECT_EQ(used(), 0u);
}

TEST_F(Registry, AnEphemeralBufferGoesWithItsLastHandle) {
  auto made = registry().Create("a", 8, {.lifetime = Lifetime::kEphemeral});
  auto other = segment_.Join();
  auto mine = other->registry().Acquire("a");
  EXPECT_TRUE(registry().Lookup("a")->ephemeral);
  made->Release();
  EXPECT_TRUE(registry().Lookup("a").ok());
  mine->Release();
  EXPECT_TRUE(absl::IsNotFound(registry().Lookup("a").status()));
  EXPECT_EQ(used(), 0u);
}

TEST_F(Registry, AcquireChecksTypeAndSize) {
  auto made = registry().Create("a", 100, {.type_id = 7});
  EXPECT_TRUE(registry().Acquire("a", 0, 0).ok());
  EXPECT_TRUE(registry().Acquire("a", 7, 100).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Acquire("a", 8).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Acquire("a", 7, 101).status()));
  made->Release();
  EXPECT_EQ(*registry().holders("a"), 0u) << "a refused Acquire took a reference";
}

TEST_F(Registry, OpenOrCreateTakesWhateverIsThere) {
  auto first = registry().OpenOrCreate("a", 100);
  ASSERT_TRUE(first.ok());
  first->bytes()[0] = std::byte{1};
  auto second = registry().OpenOrCreate("a", 100);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->bytes()[0], std::byte{1});
  EXPECT_TRUE(absl::IsInvalidArgument(registry().OpenOrCreate("a", 101).status()));
}

struct Pair {
  uint64_t left;
  uint32_t right;
};

TEST_F(Registry, AHandleGivesAValueOnlyWhereItFits) {
  auto made = registry().Create("a", 16);
  auto small = registry().Create("b", 15);
  ASSERT_NE(made->As<Pair>(), nullptr);
  made->As<Pair>()->right = 5;
  EXPECT_EQ(registry().Acquire("a").ok(), true);
  auto again = registry().Acquire("a");
  EXPECT_EQ(again->As<Pair>()->right, 5u);
  EXPECT_EQ(small->As<Pair>(), nullptr);
  static_assert(!ShmSafe<std::string> && !ShmSafe<int*> && !ShmSafe<std::unique_ptr<int>>);
}

TEST_F(Registry, AFullTableSaysSoAndTakesNothing) {
  std::vector<BufferHandle> handles;
  for (uint32_t i = 0; i < registry().entries_max(); ++i) {
    auto made = registry().Create(Numbered("n", i), 8);
    ASSERT_TRUE(made.ok()) << made.status();
    handles.push_back(*std::move(made));
  }
  const uint64_t before = used();
  const auto more = registry().Create("more", 8);
  EXPECT_TRUE(absl::IsResourceExhausted(more.status()));
  EXPECT_THAT(Message(more), HasSubstr("no free entry"));
  EXPECT_EQ(used(), before);
  EXPECT_EQ(me_->attachment().loans().taken(), 0u);
  ASSERT_TRUE(registry().Remove("n3").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(registry().Create("more", 8).status()))
      << "an entry that is held was given away";
  handles.erase(handles.begin() + 3);
  EXPECT_TRUE(registry().Create("more", 8).ok());
}

TEST_F(Registry, AReusedEntryRefusesItsFormerBearer) {
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

TEST_F(Registry, FailedCreationsLeaveTheHeapAsItWas) {
  auto kept = registry().Create("a", 64);
  const uint64_t before = used();
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", ~uint64_t{0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", uint64_t{1} << 40).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", 8, {.align = 3}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", 8, {.align = 0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().Create("b", 8, {.align = 8192}).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(registry().Create("b", 3 << 20).status()));
  me_->heap().FailNext(1);
  EXPECT_TRUE(absl::IsResourceExhausted(registry().Create("b", 64).status()));
  EXPECT_EQ(used(), before);
  EXPECT_EQ(me_->attachment().loans().taken(), 0u);
  EXPECT_EQ(registry().entry_count(), 1u);
}

TEST_F(Registry, ListIsWhatLookupsSay) {
  auto a = registry().Create("a", 10);
  auto b = registry().Create("b", 20, {.type_id = 3});
  auto list = registry().List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(registry().entry_count(), 2u);
  std::sort(list.begin(), list.end(), [](auto& x, auto& y) { return x.name < y.name; });
  EXPECT_EQ(list[0].name, "a");
  EXPECT_EQ(list[1].size_bytes, 20u);
  EXPECT_EQ(list[1].kind, shm::kBufferPlace);
  const auto reader = RegistryReader::Make(segment_.OpenReadOnly());
  ASSERT_TRUE(reader.ok());
}

TEST_F(Registry, AReadOnlyReaderSeesTheSame) {
  auto a = registry().Create("a", 10);
  const shm::Segment segment = segment_.OpenReadOnly();
  const auto reader = RegistryReader::Make(segment);
  ASSERT_TRUE(reader.ok());
  ASSERT_EQ(reader->List().size(), 1u);
  EXPECT_EQ(reader->List()[0].holders, 1u);
  NamedPlace place;
  EXPECT_EQ(reader->Find("a", place), NameResult::kOk);
  EXPECT_EQ(place.size_bytes, 10u);
}

TEST_F(Registry, WaitForReturnsByItsDeadlineAndWhenTheNameComes) {
  const auto late = registry().WaitFor("a", Deadline::In(std::chrono::milliseconds(30)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(registry().WaitFor("a", Deadline::Now()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry().WaitFor("", Deadline::Never()).status()));
  std::thread creator([&] { EXPECT_TRUE(registry().Create("a", 8).ok()); });
  const auto there = registry().WaitFor("a", Deadline::In(std::chrono::seconds(30)));
  creator.join();
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->name, "a");
}

TEST_F(Registry, ADestructorNeverWaitsForTheLock) {
  auto made = registry().Create("a", 8);
  ASSERT_TRUE(registry().Remove("a").ok());
  {
    auto other = segment_.Join();
    shm::Call call = other->attachment().Enter(1);
    ASSERT_EQ(Lock(call.lane(), other->data().lock, Deadline::Never()), shm::LockResult::kOk);
    made->Release();  // would hang here
    EXPECT_FALSE(registry().Sweep(Deadline::Now()));
    EXPECT_EQ(registry().entry_count(), 1u);
    const auto busy = registry().Create("b", 8, {}, Deadline::In(std::chrono::milliseconds(5)));
    EXPECT_TRUE(absl::IsDeadlineExceeded(busy.status())) << busy.status();
    Unlock(call.lane(), other->data().lock);
  }
  EXPECT_TRUE(absl::IsNotFound(registry().Remove("nobody")));  // any call makes up for it
  EXPECT_EQ(registry().entry_count(), 0u);
  EXPECT_EQ(used(), 0u);
}

TEST_F(Registry, APostponedReleaseIsCalledOffByANewHandle) {
  auto made = registry().Create("a", 8);
  auto other = segment_.Join();
  shm::Call call = other->attachment().Enter(1);
  shm::Word64& lock = other->data().lock.word;
  ASSERT_EQ(Lock(call.lane(), other->data().lock, Deadline::Never()), shm::LockResult::kOk);
  made->Release();
  // The sweep of the Acquire finds the lock taken, the Acquire itself waits for it.
  std::thread acquirer([&] { EXPECT_TRUE(me_->Keep("a")); });
  while ((lock.load() & shm::kWaitersBit) == 0) std::this_thread::yield();
  Unlock(call.lane(), other->data().lock);
  acquirer.join();
  EXPECT_TRUE(registry().Sweep());
  EXPECT_EQ(*registry().holders("a"), 1u) << "a release of the past took a hold of the present";
  me_->handles().clear();
  EXPECT_EQ(*registry().holders("a"), 0u);
}

TEST_F(Registry, ABusyHeapPostponesTheFree) {
  auto made = registry().Create("a", 8);
  ASSERT_TRUE(registry().Remove("a").ok());
  {
    auto other = segment_.Join();
    shm::Call call = other->attachment().Enter(1);
    ASSERT_EQ(Lock(call.lane(), other->heap().lock(), Deadline::Never()), shm::LockResult::kOk);
    made->Release();
    EXPECT_EQ(registry().entry_count(), 0u);
    EXPECT_NE(used(), 0u);
    Unlock(call.lane(), other->heap().lock());
  }
  EXPECT_TRUE(registry().Sweep());
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(me_->attachment().loans().taken(), 0u);
}

TEST_F(Registry, WithoutAFreeLoanABufferIsLeftAsAnOrphan) {
  auto removed = registry().Create("a", 8);
  auto held = registry().Create("b", 8);
  ASSERT_TRUE(registry().Remove("b").ok());
  std::vector<shm::LoanRef> loans;
  while (const auto loan = me_->attachment().loans().Take(0)) loans.push_back(loan);
  removed->Release();
  ASSERT_TRUE(registry().Remove("a").ok());
  held->Release();
  EXPECT_EQ(me_->data().orphans.load(), 2u);
  EXPECT_EQ(registry().entry_count(), 2u);
  EXPECT_FALSE(registry().Sweep());
  shm::Findings findings;
  AuditRegistry(me_->attachment().segment(), findings);
  EXPECT_TRUE(findings.empty()) << findings.ToString();
  for (const auto loan : loans) me_->attachment().loans().Return(loan);
  EXPECT_TRUE(registry().Sweep());
  EXPECT_EQ(me_->data().orphans.load(), 0u);
  EXPECT_EQ(used(), 0u);
}

TEST_F(Registry, AQueueIsDrainedBeforeItIsFreed) {
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

TEST_F(Registry, AQueueIsNotFreedWhileSomebodysQueueStepIsPending) {
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

TEST_F(Registry, LeavingReleasesEveryHold) {
  auto other = segment_.Join();
  ASSERT_TRUE(other->Keep(other->registry().Create("a", 8)));
  ASSERT_TRUE(other->Keep(other->registry().Create("b", 8)));
  ASSERT_TRUE(other->registry().Remove("b").ok());
  ASSERT_TRUE(other->attachment().Leave(Deadline::Never()).ok());
  EXPECT_EQ(*registry().holders("a"), 0u);
  EXPECT_EQ(registry().entry_count(), 1u);
  ASSERT_TRUE(registry().Remove("a").ok());
  EXPECT_EQ(used(), 0u);
  other->handles().clear();  // after Leave: nothing is given back twice
  EXPECT_EQ(registry().entry_count(), 0u);
}

TEST_F(Registry, NothingWorksWithoutASeat) {
  auto attachment =
      *shm::Attachment::Make(*shm::Segment::Open(shm::Place::Named(segment_.name()), {}));
  Member early(attachment);
  EXPECT_TRUE(absl::IsFailedPrecondition(early.registry().Create("a", 8).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(early.registry().Remove("a")));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(early.registry().WaitFor("a", Deadline::Never()).status()));
  EXPECT_TRUE(absl::IsNotFound(early.registry().Lookup("a").status()));
}

TEST(RegistryRoot, RefusesImpossibleSizes) {
  for (const uint32_t entries : {0u, kEntriesMaxLimit + 1}) {
    const std::vector<shm::RootRequest> roots = {
        SharedBufferRegistry::Root({.entries_max = entries}, 8)};
    const auto made = shm::Segment::Create(shm::Place::Descriptor(),
                                           {.size_bytes = 1 << 20, .participants_max = 8}, roots);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    EXPECT_THAT(Message(made), HasSubstr("entries: use 1 to 65536"));
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
  EXPECT_THAT(Message(other), HasSubstr("has layout 2, this library has 1"));
  data.layout = 1234;
  EXPECT_EQ(GetErrorKind(RegistryReader::Make(*made).status()), ErrorKind::kDamaged);
}

}  // namespace
}  // namespace thole::registry
