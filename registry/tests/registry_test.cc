// Buffers and their names in one process, call by call.
#include <algorithm>
#include <thread>

#include "registry_fixture.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::NameResult;
using ::testing::HasSubstr;
using testing::MessageOf;
using Registry = testing::RegistryTest;

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
  EXPECT_THAT(MessageOf(again), HasSubstr("'a' exists already"));
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

TEST_F(Registry, OpenOrCreateTakesWhatSomebodyElseMadeMeanwhileAlsoAtItsDeadline) {
  auto other = segment_.Join();
  absl::StatusOr<BufferHandle> made = absl::UnknownError("not yet");
  me_->heap().DuringNext([&] { made = other->registry().Create("a", 100); });
  auto mine = registry().OpenOrCreate("a", 100, {}, Deadline::Now());
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(mine.ok()) << mine.status();
  EXPECT_EQ(*registry().holders("a"), 2u);
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

}  // namespace
}  // namespace thole::registry
