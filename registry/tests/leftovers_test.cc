// What must not be left over: failed calls, destructors that may not wait, leaving.
#include <thread>

#include "registry_fixture.h"
#include "thole/registry/audit.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using ::testing::HasSubstr;
using testing::Member;
using testing::MessageOf;
using testing::Numbered;
using RegistryLeftovers = testing::RegistryTest;

TEST_F(RegistryLeftovers, AFullTableSaysSoAndTakesNothing) {
  std::vector<BufferHandle> handles;
  for (uint32_t i = 0; i < registry().entries_max(); ++i) {
    auto made = registry().Create(Numbered("n", i), 8);
    ASSERT_TRUE(made.ok()) << made.status();
    handles.push_back(*std::move(made));
  }
  const uint64_t before = used();
  const auto more = registry().Create("more", 8);
  EXPECT_TRUE(absl::IsResourceExhausted(more.status()));
  EXPECT_THAT(MessageOf(more), HasSubstr("no free entry"));
  EXPECT_EQ(used(), before);
  EXPECT_EQ(me_->attachment().loans().CountTaken(), 0u);
  ASSERT_TRUE(registry().Remove("n3").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(registry().Create("more", 8).status()))
      << "an entry that is held was given away";
  handles.erase(handles.begin() + 3);
  EXPECT_TRUE(registry().Create("more", 8).ok());
}

TEST_F(RegistryLeftovers, FailedCreationsLeaveTheHeapAsItWas) {
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
  EXPECT_EQ(me_->attachment().loans().CountTaken(), 0u);
  EXPECT_EQ(registry().entry_count(), 1u);
}

TEST_F(RegistryLeftovers, ADestructorNeverWaitsForTheLock) {
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

TEST_F(RegistryLeftovers, APostponedReleaseIsCalledOffByANewHandle) {
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

TEST_F(RegistryLeftovers, ABusyHeapPostponesTheFree) {
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
  EXPECT_EQ(me_->attachment().loans().CountTaken(), 0u);
}

TEST_F(RegistryLeftovers, WithoutAFreeLoanABufferIsLeftAsAnOrphan) {
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

TEST_F(RegistryLeftovers, LeavingReleasesEveryHold) {
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

TEST_F(RegistryLeftovers, NothingWorksWithoutASeat) {
  auto attachment =
      *shm::Attachment::Make(*shm::Segment::Open(shm::Place::Named(segment_.name()), {}));
  Member early(attachment);
  EXPECT_TRUE(absl::IsFailedPrecondition(early.registry().Create("a", 8).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(early.registry().Remove("a")));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(early.registry().WaitFor("a", Deadline::Never()).status()));
  EXPECT_TRUE(absl::IsNotFound(early.registry().Lookup("a").status()));
}

}  // namespace
}  // namespace thole::registry
