// The small things that everything stands on.
#include <cstring>

#include "support/test_segment.h"
#include "thole/shm/crc32c.h"
#include "thole/shm/deadline.h"
#include "thole/shm/name_source.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/untrusted.h"

namespace thole::shm {
namespace {

using std::chrono::nanoseconds;

TEST(DeadlineTest, Saturates) {
  EXPECT_TRUE(Deadline::In(nanoseconds::max()).never());
  EXPECT_TRUE(Deadline::In(nanoseconds::max() - nanoseconds(1)).never());
  EXPECT_TRUE(Deadline::In(nanoseconds::min()).now());
  EXPECT_TRUE(Deadline::In(nanoseconds(0)).now());
  EXPECT_TRUE(Deadline::In(nanoseconds(-1)).now());
  EXPECT_TRUE(Deadline::At(INT64_MAX).never());
  EXPECT_FALSE(Deadline::In(std::chrono::hours(24 * 365 * 100)).never());
}

TEST(DeadlineTest, PassesAtItsMoment) {
  const Deadline at = Deadline::At(100);
  EXPECT_FALSE(at.PassedAt(99));
  EXPECT_TRUE(at.PassedAt(100));
  EXPECT_TRUE(Deadline::Now().PassedAt(1));
  EXPECT_FALSE(Deadline::Never().PassedAt(INT64_MAX - 1));
  EXPECT_EQ(at.Before(50).monotonic_ns(), 50);
  EXPECT_EQ(at.Before(150).monotonic_ns(), 100);
  EXPECT_EQ(Deadline::Never().Before(7).monotonic_ns(), 7);
  const auto platform = MakePrivatePlatform();
  const int64_t before = platform->NowNs();
  const Deadline soon = Deadline::In(std::chrono::seconds(1));
  EXPECT_GE(soon.monotonic_ns(), before + 1'000'000'000);
  EXPECT_LE(soon.monotonic_ns(), platform->NowNs() + 1'000'000'000);
}

TEST(Crc32cTest, AgreesWithThePublishedVectors) {
  const auto expect = [](const std::string& bytes, uint32_t sum) {
    EXPECT_EQ(Crc32c(bytes.data(), bytes.size()), sum);
    EXPECT_EQ(Crc32cByTable(bytes.data(), bytes.size()), sum);
  };
  std::string up(32, 0);
  std::string down(32, 0);
  for (int i = 0; i < 32; ++i) up[i] = down[31 - i] = static_cast<char>(i);
  expect("", 0);
  expect("a", 0xc1d04330);
  expect("123456789", 0xe3069283);
  expect(std::string(32, 0), 0x8a9136aa);
  expect(std::string(32, '\xff'), 0x62a8ab43);
  expect(up, 0x46dd794e);
  expect(down, 0x113fdb5c);
}

TEST(Crc32cTest, IsTheSameByTableByInstructionAndInPieces) {
  testing::Random random(3);
  std::string bytes(3000, 0);
  for (char& c : bytes) c = static_cast<char>(random.Next());
  for (int trial = 0; trial < 2000; ++trial) {
    const size_t from = random.Below(bytes.size());
    const size_t count = random.Below(bytes.size() - from + 1);
    const size_t cut = random.Below(count + 1);
    const char* at = bytes.data() + from;
    const auto seed = static_cast<uint32_t>(random.Next());
    const uint32_t whole = Crc32c(at, count, seed);
    ASSERT_EQ(Crc32cByTable(at, count, seed), whole);
    ASSERT_EQ(Crc32c(at + cut, count - cut, Crc32c(at, cut, seed)), whole);
    ASSERT_EQ(Crc32c(at + cut, count - cut, Crc32cByTable(at, cut, seed)), whole);
  }
}

TEST(UntrustedTest, HandsOutOnlyWhatFits) {
  const Untrusted<uint32_t> seven(7);
  EXPECT_EQ(seven.Below(8), 7u);
  EXPECT_FALSE(seven.Below(7));
  EXPECT_FALSE(seven.Below(0));
  EXPECT_EQ(seven.Within(7, 7), 7u);
  EXPECT_FALSE(seven.Within(8, 9));
  EXPECT_FALSE(seven.Within(0, 6));
  EXPECT_FALSE(seven.Within(9, 5));
  EXPECT_FALSE(Untrusted<uint64_t>(~uint64_t{0}).Below(~uint64_t{0}));
  EXPECT_EQ(seven.raw(), 7u);
}

TEST(SegmentViewTest, PointsOnlyInside) {
  alignas(kCacheLine) static std::byte memory[1024];
  const SegmentView view(memory, sizeof memory);
  EXPECT_EQ(view.At<Word64>(0), nullptr) << "0 is null";
  EXPECT_EQ(static_cast<void*>(view.At<Word64>(8)), memory + 8);
  EXPECT_EQ(view.At<Word64>(12), nullptr) << "misaligned";
  EXPECT_NE(view.At<Word32>(12), nullptr);
  EXPECT_NE(view.At<Word64>(1016), nullptr);
  EXPECT_EQ(view.At<Word64>(1024), nullptr);
  EXPECT_EQ(view.At<Word32>(1024), nullptr);
  EXPECT_EQ(view.At<LaneData>(64), nullptr) << "larger than what is left";
  EXPECT_EQ(view.At<SlotData>(1024 - 64), nullptr);
  EXPECT_NE(view.At<SlotData>(1024 - 128), nullptr);
  const uint64_t huge = ~uint64_t{0};
  EXPECT_EQ(view.At<Word64>(huge - 7), nullptr);
  EXPECT_EQ(view.Array<Word64>(8, huge), nullptr);
  EXPECT_EQ(view.Array<Word64>(8, huge / 8 + 1), nullptr) << "count times size overflows to 0";
  EXPECT_NE(view.Array<Word64>(8, 127), nullptr);
  EXPECT_EQ(view.Array<Word64>(8, 128), nullptr);
  EXPECT_NE(view.Bytes(1023, 1), nullptr);
  EXPECT_EQ(view.Bytes(1023, 2), nullptr);
  EXPECT_EQ(view.OffsetOf(memory + 77), 77u);
  EXPECT_TRUE(view.Contains(memory + 1023));
  EXPECT_FALSE(view.Contains(memory + 1024));
  EXPECT_EQ(SegmentView().At<Word64>(8), nullptr);
}

TEST(NameTest, AllowsUtf8AndNothingThatHurts) {
  for (const char* good : {"a", "jobs.in", "...", "a b", "\xc3\xa4", "\xe2\x82\xac",
                           "\xf0\x9f\x9b\xb6", "\xc2\xa0", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) {
    EXPECT_TRUE(IsValidName(good)) << good;
    EXPECT_EQ(DescribeNameProblem("x", good), "");
  }
  for (const char* bad : {"", ".", "..", "a/b", "\n", "a\x7f", "\x80", "\xc1\x81", "\xc3",
                          "\xe2\x82", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc2\x80"}) {
    EXPECT_FALSE(IsValidName(bad)) << bad;
    EXPECT_NE(DescribeNameProblem("x", bad), "");
  }
  EXPECT_TRUE(IsValidName(std::string(63, 'n')));
  EXPECT_FALSE(IsValidName(std::string(64, 'n')));
}

TEST(NameTest, EveryPairOfBytesHasAVerdictWithoutReadingBeyondTheEnd) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const auto exact = std::make_unique<char[]>(2);  // so that the sanitizer sees the end
      exact[0] = static_cast<char>(first);
      exact[1] = static_cast<char>(second);
      const bool valid = IsValidName(std::string_view(exact.get(), 2));
      if (first < 0x80) continue;
      const bool two_bytes = first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf;
      const bool control = first == 0xc2 && second < 0xa0;
      EXPECT_EQ(valid, two_bytes && !control) << first << " " << second;
    }
  }
}

TEST(RootNamesTest, FindRootsOfTheirComponentByName) {
  const TestName name;
  RootRequest one = WordsRoot(ComponentId::kQueue);
  one.name = "jobs";
  RootRequest two = WordsRoot(ComponentId::kComm);
  two.name = "other";
  const std::vector<RootRequest> roots{one, two};
  auto segment = Segment::Create(name.place(), SmallOptions(), roots);
  ASSERT_TRUE(segment.ok());
  RootNames names(*segment, ComponentId::kQueue);
  NamedPlace place;
  EXPECT_EQ(names.Find("jobs", place), NameResult::kOk);
  EXPECT_EQ(place.offset, segment->Root(ComponentId::kQueue, kWordsKind)->offset);
  EXPECT_EQ(place.size_bytes, kWords * 8);
  EXPECT_EQ(names.Find("other", place), NameResult::kNotFound);
  EXPECT_EQ(names.Find("", place), NameResult::kInvalidName);
  uint32_t visited = 0;
  names.ForEach(kWordsKind, [&](const NamedPlace& found) {
    ++visited;
    EXPECT_EQ(found.offset, place.offset);
  });
  EXPECT_EQ(visited, 1u);
}

TEST(StatusTest, CarriesItsKind) {
  const absl::Status status = Error(absl::StatusCode::kDataLoss, "x", ErrorKind::kDamaged);
  EXPECT_EQ(GetErrorKind(status), ErrorKind::kDamaged);
  EXPECT_EQ(GetErrorKind(absl::OkStatus()), ErrorKind::kNone);
  EXPECT_EQ(GetErrorKind(absl::NotFoundError("x")), ErrorKind::kNone);
  EXPECT_EQ(GetErrorKind(ForkedHandleError()), ErrorKind::kForkedHandle);
}

TEST(WordsTest, PackAndUnpackEverything) {
  testing::Random random(5);
  for (int i = 0; i < 10000; ++i) {
    const SlotWord slot{static_cast<uint32_t>(random.Next()),
                        static_cast<uint32_t>(random.Below(1 << 16)),
                        static_cast<SlotState>(random.Below(3))};
    const SlotWord back = SlotWord::Unpack(slot.Pack());
    ASSERT_TRUE(back.generation == slot.generation && back.pending == slot.pending &&
                back.state == slot.state);
    const OwnerId owner{static_cast<uint32_t>(random.Next()),
                        static_cast<uint32_t>(random.Below(256)),
                        static_cast<uint32_t>(random.Below(kParticipantsMax))};
    ASSERT_NE(owner.Pack(), 0u);
    ASSERT_EQ(owner.Pack() & kWaitersBit, 0u);
    const OwnerId same = OwnerId::Unpack(owner.Pack() | kWaitersBit);
    ASSERT_TRUE(same.generation == owner.generation && same.lane == owner.lane &&
                same.slot == owner.slot);
    const uint64_t offset = random.Below(uint64_t{64} << 30) & ~uint64_t{15};
    const auto generation = static_cast<uint32_t>(random.Below(1 << 24));
    ASSERT_EQ(WhereOffset(PackWhere(offset, generation)), offset);
    ASSERT_EQ(WhereGeneration(PackWhere(offset, generation)), generation);
    const uint64_t lease = PackLease(offset, generation, static_cast<uint32_t>(i & 0xff));
    ASSERT_EQ(LeaseOffset(lease), offset);
    ASSERT_EQ(LeaseGeneration(lease), generation);
    ASSERT_EQ(LeaseAttempts(lease), static_cast<uint32_t>(i & 0xff));
  }
}

}  // namespace
}  // namespace thole::shm
