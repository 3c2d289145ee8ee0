// Names: which are refused and with which words, and what a lookup costs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "registry_world.h"

namespace thole::registry {
namespace {

using testing::AuditAll;
using ::testing::HasSubstr;
using testing::NamedSegment;
using testing::Numbered;

struct BadName {
  const char* what;
  std::string name;
  const char* says;
};

class BadNames : public ::testing::TestWithParam<BadName> {};

TEST_P(BadNames, AreRefusedEverywhereAndLeaveNothing) {
  NamedSegment segment;
  auto me = segment.Join();
  SharedBufferRegistry& registry = me->registry();
  const std::string& name = GetParam().name;
  const auto made = registry.Create(name, 64);
  std::printf("%s: %s\n", GetParam().what, std::string(made.status().message()).c_str());
  EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr(GetParam().says));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Acquire(name).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Lookup(name).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Remove(name)));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.OpenOrCreate(name, 64).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.WaitFor(name, shm::Deadline::Never()).status()));
  shm::NamedPlace place;
  EXPECT_EQ(registry.Find(name, place), shm::NameResult::kInvalidName);
  EXPECT_EQ(me->PublishQueue(name, &place), shm::NameResult::kInvalidName);
  EXPECT_EQ(me->heap().used_bytes(), 0u);
  EXPECT_EQ(me->attachment().loans().CountTaken(), 0u);
  EXPECT_EQ(registry.entry_count(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Registry, BadNames,
    ::testing::Values(BadName{"Empty", "", "is empty"},
                      BadName{"TooLong", std::string(64, 'x'), "longer than 63 bytes"},
                      BadName{"FarTooLong", std::string(100'000, 'x'), "longer than 63 bytes"},
                      BadName{"WithSlash", "a/b", "contains '/'"},
                      BadName{"WithNewline", "a\nb", "contains a control character"},
                      BadName{"WithZero", std::string("a\0b", 3), "contains a control character"},
                      BadName{"WithDelete", "a\x7f", "contains a control character"},
                      BadName{"NotUtf8", "a\xff", "is not UTF-8"},
                      BadName{"OverlongUtf8", "\xc0\xaf", "is not UTF-8"},
                      BadName{"CutUtf8", "\xe2\x82", "is not UTF-8"}),
    [](const auto& test) { return test.param.what; });

TEST(GoodNames, OfEveryLengthAndScriptAreKeptWhole) {
  NamedSegment segment(128);
  auto me = segment.Join();
  std::vector<std::string> names;
  for (size_t length = 1; length <= 63; ++length) names.push_back(std::string(length, 'n'));
  names.push_back("préis €");
  names.push_back(" ");
  names.push_back("名前");
  for (const auto& name : names) {
    auto made = me->registry().Create(name, 8);
    ASSERT_TRUE(made.ok()) << name << made.status();
    ASSERT_TRUE(me->Keep(std::move(made)));
  }
  for (const auto& name : names) EXPECT_EQ(me->registry().Lookup(name)->name, name);
  EXPECT_EQ(me->registry().entry_count(), names.size());
  shm::Findings findings;
  AuditAll(me->attachment().segment(), findings);
  EXPECT_TRUE(findings.empty()) << findings.ToString();
}

// Entries that a lookup has to look at: on average over all names, and for the worst of them.
struct Steps {
  double found = 0;
  double missing = 0;
  uint32_t worst = 0;
};

Steps MeasureSteps(const RegistryReader& reader, const std::vector<std::string>& names) {
  Steps steps;
  shm::NamedPlace place;
  uint32_t count = 0;
  for (const auto& name : names) {
    EXPECT_EQ(reader.Find(name, place, &count), shm::NameResult::kOk);
    steps.found += count;
    steps.worst = std::max(steps.worst, count);
    EXPECT_EQ(reader.Find(name + "?", place, &count), shm::NameResult::kNotFound);
    steps.missing += count;
  }
  steps.found /= static_cast<double>(names.size());
  steps.missing /= static_cast<double>(names.size());
  return steps;
}

TEST(Lookups, LookAtTheSameNumberOfEntriesWhateverTheTableHolds) {
  NamedSegment segment(1024, 128, 32 << 20);
  auto me = segment.Join();
  std::vector<std::string> names;
  const auto fill = [&](size_t count) {
    while (names.size() < count) {
      const std::string name = Numbered("channel-", names.size());
      ASSERT_TRUE(me->registry().Create(name, 8).ok());
      names.push_back(name);
    }
  };
  fill(16);
  const Steps few = MeasureSteps(me->registry().reader(), names);
  fill(1023);
  const Steps many = MeasureSteps(me->registry().reader(), names);
  std::printf("16 of 1024 entries: %.3f steps, missing %.3f, worst %u\n", few.found, few.missing,
              few.worst);
  std::printf("1023 of 1024 entries: %.3f steps, missing %.3f, worst %u\n", many.found,
              many.missing, many.worst);
  EXPECT_LE(many.found, 2 * few.found);
  EXPECT_LE(many.missing, 2.0) << "a missing name looks at half an entry on average";
  EXPECT_LE(many.worst, 10u);

  // Churn must not make it worse: nothing is left behind in the chains.
  for (uint32_t round = 0; round < 20'000; ++round) {
    const size_t i = round * 7919 % names.size();
    ASSERT_TRUE(me->registry().Remove(names[i]).ok());
    names[i] = Numbered("churned-", round);
    ASSERT_TRUE(me->registry().Create(names[i], 8).ok());
  }
  const Steps churned = MeasureSteps(me->registry().reader(), names);
  std::printf("after 20,000 removals: %.3f steps, missing %.3f, worst %u\n", churned.found,
              churned.missing, churned.worst);
  EXPECT_LE(churned.found, 2 * few.found);
  shm::Findings findings;
  AuditAll(me->attachment().segment(), findings);
  EXPECT_TRUE(findings.empty()) << findings.ToString();
}

TEST(Lookups, FindEveryNameOfOneChain) {
  NamedSegment segment(64);
  auto me = segment.Join();
  const RegistryTable& table = me->registry().reader().table();
  std::vector<std::string> names;  // of one bucket: the worst case
  for (uint32_t i = 0; names.size() < 12; ++i) {
    const std::string name = Numbered("n", i);
    if (&table.bucket_of(HashName(PackName(name))) == &table.bucket(3)) names.push_back(name);
  }
  for (const auto& name : names) ASSERT_TRUE(me->registry().Create(name, 8).ok());
  const Steps steps = MeasureSteps(me->registry().reader(), names);
  EXPECT_EQ(steps.worst, names.size()) << "the worst case is the number of entries in one chain";
  // First, middle and last link.
  for (const size_t gone : {size_t{11}, size_t{5}, size_t{0}}) {
    ASSERT_TRUE(me->registry().Remove(names[gone]).ok());
    names.erase(names.begin() + static_cast<ptrdiff_t>(gone));
    for (const auto& name : names) EXPECT_TRUE(me->registry().Lookup(name).ok()) << name;
  }
}

}  // namespace
}  // namespace thole::registry
