// Making, opening, sharing and removing segments.
#include "thole/shm/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <set>

#include "support/test_segment.h"

namespace thole::shm {
namespace {

using Uuid = std::array<uint64_t, 2>;

Uuid UuidOf(const Segment& segment) { return {segment.header().uuid[0], segment.header().uuid[1]}; }

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A path in a directory on a real file system.
class TestPath {
 public:
  TestPath() {
    char pattern[] = "/tmp/thole-shm-test-XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  ~TestPath() {
    unlink(path().c_str());
    rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/segment"; }
  Place place() const { return Place::File(path()); }

 private:
  std::string directory_;
};

TEST(Segment, IsThereUnderItsNameUntilItIsRemoved) {
  const TestName name;
  EXPECT_TRUE(absl::IsNotFound(Segment::Open(name.place(), {}).status()));
  Segment made = MakeSegment(name.place());
  EXPECT_TRUE(absl::IsAlreadyExists(Segment::Create(name.place(), {}, {}).status()));
  Segment opened = OpenSegment(name.place());
  EXPECT_EQ(UuidOf(made), UuidOf(opened));
  EXPECT_NE(made.view().base(), opened.view().base());
  const auto names = Segment::List();
  EXPECT_EQ(std::count(names.begin(), names.end(), name.text()), 1);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));

  EXPECT_TRUE(Segment::Remove(name.place()).ok());
  EXPECT_TRUE(absl::IsNotFound(Segment::Remove(name.place())));
  EXPECT_TRUE(absl::IsNotFound(Segment::Open(name.place(), {}).status()));
  Put(WordsOf(made)[3], 77u);  // mappings stay
  EXPECT_EQ(Get(WordsOf(opened)[3]), 77u);
}

TEST(Segment, IsBornCleanAndWithoutFindings) {
  const TestName name;
  const Segment segment = MakeSegment(name.place());
  EXPECT_EQ(Audited(segment), "none");
  EXPECT_EQ(SlotsInUse(segment), 0u);
  EXPECT_EQ(Get(segment.header().state) & 3, static_cast<uint64_t>(SegmentState::kClean));
  struct stat info;
  ASSERT_EQ(stat(name.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(info.st_nlink, 1u);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kSegmentBytesMin);
  EXPECT_GE(static_cast<uint64_t>(info.st_blocks) * 512, kSegmentBytesMin) << "space is not real";
}

TEST(Segment, TakesTheModeItIsToldWhateverTheUmask) {
  const TestName name;
  const mode_t before = umask(0077);
  SegmentOptions options = SmallOptions();
  options.mode = 0664;
  const Segment segment = MakeSegment(name.place(), options);
  umask(before);
  struct stat info;
  ASSERT_EQ(stat(name.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0664u);
}

TEST(Segment, OfOneMebibyteWorksWithItsDefaults) {
  const TestName name;
  SegmentOptions options;
  options.size_bytes = kSegmentBytesMin;
  {
    const Segment segment = MakeSegment(name.place(), options);
    EXPECT_EQ(segment.participants_max(), 8u);
    EXPECT_EQ(segment.lanes_per_participant(), 2u);
    EXPECT_LT(segment.view().OffsetOf(segment.LaneAt(7, 1)), 64u << 10) << "little is left";
  }
  std::vector<std::shared_ptr<Attachment>> all;
  for (int i = 0; i < 8; ++i) all.push_back(JoinedAttachment(name.place()));
  const auto refused = MakeAttachment(name.place())->Join("ninth");
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(Audited(all[0]->segment()), "none");
}

TEST(Segment, GivesRootsWhatTheyAskForAndRunsTheirFormat) {
  const TestName name;
  int formatted = 0;
  RootRequest first = WordsRoot();
  first.align = 4096;
  first.lane_area_bytes = 100;
  first.format = [&](SegmentView view, const RootData& root) {
    ++formatted;
    const Word64* words = view.Array<Word64>(root.offset, kWords);
    for (uint64_t i = 0; i < kWords; ++i) EXPECT_EQ(Get(words[i]), 0u);
    return absl::OkStatus();
  };
  RootRequest rest = WordsRoot(ComponentId::kComm);
  rest.size_bytes = kRestOfSegment;
  const std::vector<RootRequest> roots{first, rest};
  auto segment = Segment::Create(name.place(), SmallOptions(), roots);
  ASSERT_TRUE(segment.ok()) << segment.status();
  EXPECT_EQ(formatted, 1);
  EXPECT_EQ(segment->Root(ComponentId::kShm, kWordsKind)->offset % 4096, 0u);
  const RootData last = *segment->Root(ComponentId::kComm, kWordsKind);
  EXPECT_EQ(last.offset + last.size_bytes, kSegmentBytesMin);
  EXPECT_FALSE(segment->Root(ComponentId::kQueue, kWordsKind).has_value());
  EXPECT_EQ(segment->RepairStepsWanted(), StepsOf(ComponentId::kShm) | StepsOf(ComponentId::kComm));
  EXPECT_NE(segment->LaneArea(segment->LaneAt(0, 0), ComponentId::kShm), nullptr);
  EXPECT_EQ(segment->LaneArea(segment->LaneAt(0, 0), ComponentId::kComm), nullptr);
  EXPECT_EQ(segment->Slot(6), nullptr);
  EXPECT_EQ(segment->LaneAt(0, 2), nullptr);
}

TEST(Segment, WhoseRootCannotBeFormattedDoesNotAppear) {
  const TestName name;
  RootRequest root = WordsRoot();
  root.format = [](SegmentView, const RootData&) {
    return Error(absl::StatusCode::kInternal, "no");
  };
  const std::vector<RootRequest> roots{root};
  EXPECT_TRUE(absl::IsInternal(Segment::Create(name.place(), SmallOptions(), roots).status()));
  EXPECT_TRUE(absl::IsNotFound(Segment::Open(name.place(), {}).status()));
}

// Each child creates or opens as soon as it hears, and answers {made it, uuid}.
struct Answer {
  uint64_t made;
  Uuid uuid;
};

TEST(Segment, RaceOfEightCreatorsHasOneWinnerAndOneSegment) {
  for (int round = 0; round < 20; ++round) {
    const TestName name;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 8; ++i) {
      children.push_back(std::make_unique<Child>([&](Child& parent) {
        CHILD_REQUIRE(parent.Hear() == 'g');
        auto made = Segment::Create(name.place(), SmallOptions(), {});
        CHILD_REQUIRE(made.ok() || absl::IsAlreadyExists(made.status()));
        const Segment opened = OpenSegment(name.place());
        const Answer answer{made.ok() ? uint64_t{1} : 0, UuidOf(opened)};
        CHILD_REQUIRE(!made.ok() || UuidOf(*made) == answer.uuid);
        parent.TellBytes(&answer, sizeof answer);
      }));
    }
    for (auto& child : children) child->Tell('g');
    uint64_t made = 0;
    std::set<Uuid> uuids;
    for (auto& child : children) {
      Answer answer{};
      ASSERT_TRUE(child->HearBytes(&answer, sizeof answer));
      made += answer.made;
      uuids.insert(answer.uuid);
      EXPECT_EQ(child->Wait(), "exit 0");
    }
    EXPECT_EQ(made, 1u);
    EXPECT_EQ(uuids.size(), 1u);
  }
}

TEST(Segment, RaceOfEightOpenOrCreateAlwaysSucceedsWithOneSegment) {
  for (int round = 0; round < 20; ++round) {
    const TestName name;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 8; ++i) {
      children.push_back(std::make_unique<Child>([&](Child& parent) {
        CHILD_REQUIRE(parent.Hear() == 'g');
        auto segment = Segment::OpenOrCreate(name.place(), SmallOptions(), {});
        CHILD_REQUIRE(segment.ok());
        const Uuid uuid = UuidOf(*segment);
        parent.TellBytes(&uuid, sizeof uuid);
      }));
    }
    for (auto& child : children) child->Tell('g');
    std::set<Uuid> uuids;
    for (auto& child : children) {
      Uuid uuid{};
      ASSERT_TRUE(child->HearBytes(&uuid, sizeof uuid));
      uuids.insert(uuid);
    }
    EXPECT_EQ(uuids.size(), 1u);
  }
}

TEST(Segment, OfADescriptorIsInheritedAndCannotChangeItsSize) {
  Segment segment = MakeSegment(Place::Descriptor());
  const int file = segment.file();
  ASSERT_GE(file, 0);
  EXPECT_NE(ftruncate(file, 4096), 0);
  EXPECT_NE(ftruncate(file, 8 << 20), 0);
  Child child([&](Child&) {
    auto attachment = JoinedAttachment(Place::Descriptor(file));
    CHILD_REQUIRE(attachment->slot() == 0);
    Put(WordsOf(attachment->segment())[0], uint64_t{42});
    CHILD_REQUIRE(attachment->Leave(Deadline::Never()).ok());
  });
  EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_EQ(Get(WordsOf(segment)[0]), 42u);
  auto attachment = Attachment::Make(std::move(segment));
  ASSERT_TRUE(attachment.ok());
  EXPECT_TRUE((*attachment)->Join("parent").ok());
}

TEST(Segment, OfADescriptorSeesDeathLikeANamedOne) {
  const Segment segment = MakeSegment(Place::Descriptor());
  const Place place = Place::Descriptor(segment.file());
  Child child([&](Child& parent) {
    auto attachment = JoinedAttachment(place);
    parent.Tell('j');
    parent.Hear();
  });
  ASSERT_EQ(child.Hear(), 'j');
  auto survivor = MakeAttachment(place);
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kAlive);
  child.KillAndWait();
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kDead);
  EXPECT_EQ(survivor->RepairAll(), 1u);
}

TEST(Segment, OfAFileKeepsItsBytesWithoutAnyProcess) {
  const TestPath file;
  Uuid uuid{};
  {
    const Segment segment = MakeSegment(file.place());
    uuid = UuidOf(segment);
    Put(WordsOf(segment)[9], uint64_t{99});
  }
  {
    auto attachment = JoinedAttachment(file.place());
    EXPECT_EQ(UuidOf(attachment->segment()), uuid);
    EXPECT_EQ(Get(WordsOf(attachment->segment())[9]), 99u);
  }
  EXPECT_TRUE(Segment::Remove(file.place()).ok());
  EXPECT_NE(access(file.path().c_str(), F_OK), 0);
}

TEST(Segment, OfMemoryIsSharedByThreadsAndSmallerThanAFile) {
  alignas(kCacheLine) static std::byte memory[32 << 10];
  const Place place = Place::Memory(memory, sizeof memory);
  {
    const Segment segment = MakeSegment(place, SmallOptions(2, 1));
  }
  auto one = JoinedAttachment(place);
  auto two = JoinedAttachment(place);
  EXPECT_NE(one->slot(), two->slot());
  EXPECT_EQ(one->Probe(two->slot(), two->generation()), LifeState::kAlive);
  EXPECT_EQ(one->view().base(), memory);
  EXPECT_TRUE(two->Leave(Deadline::Never()).ok());
  EXPECT_EQ(Audited(one->segment()), "none");
}

TEST(Segment, OpenForReadingNeverWritesAndTakesNoSeat) {
  const TestName name;
  MakeSegment(name.place());
  Child victim([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    parent.Tell('j');
    parent.Hear();
  });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.KillAndWait();

  const std::string before = BytesOf(name.path());
  struct stat info;
  ASSERT_EQ(stat(name.path().c_str(), &info), 0);
  const timespec changed = info.st_mtim;
  ASSERT_EQ(chmod(name.path().c_str(), 0400), 0);
  const Segment reader = OpenSegment(name.place(), true);
  Findings findings;
  Holders holders;
  AuditSegment(reader, findings);
  CollectLoanHolders(reader, holders, findings);
  EXPECT_EQ(findings.ToString(), "none") << "a dead participant is no damage";
  EXPECT_EQ(SlotsInUse(reader), 1u);
  auto refused = Attachment::Make(OpenSegment(name.place(), true));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_EQ(BytesOf(name.path()), before);
  ASSERT_EQ(stat(name.path().c_str(), &info), 0);
  EXPECT_EQ(changed.tv_nsec, info.st_mtim.tv_nsec);
  std::ifstream maps("/proc/self/maps");
  int writable = 0;
  for (std::string line; std::getline(maps, line);) {
    writable += line.find(name.path()) != std::string::npos && line.find("rw-s") < line.size();
  }
  EXPECT_EQ(writable, 0) << "the kernel itself must forbid writing";
}

TEST(Segment, CopyOpensForReading) {
  const TestName name;
  MakeSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  const TestPath copy;
  std::ofstream(copy.path(), std::ios::binary) << BytesOf(name.path());
  const Segment reader = OpenSegment(copy.place(), true);
  EXPECT_EQ(SlotsInUse(reader), 1u);
  EXPECT_EQ(Audited(reader), "none");
  EXPECT_EQ(UuidOf(reader), UuidOf(attachment->segment()));
}

TEST(Segment, ViewEndsWhereTheHeaderSaysAlsoInALongerFile) {
  const TestPath file;
  {
    const Segment segment = MakeSegment(file.place());
  }
  ASSERT_EQ(truncate(file.path().c_str(), 3 << 20), 0);
  const Segment segment = OpenSegment(file.place());
  EXPECT_EQ(segment.view().size_bytes(), kSegmentBytesMin);
  EXPECT_EQ(segment.view().At<Word64>(kSegmentBytesMin), nullptr);
}

TEST(Segment, MovedFromOneOwnsNothing) {
  const TestName name;
  const Belongings before = Belongings::Now();
  {
    Segment first = MakeSegment(name.place());
    Segment second = std::move(first);
    Segment third = OpenSegment(name.place());
    third = std::move(second);
    EXPECT_EQ(Audited(third), "none");
    ASSERT_TRUE(Segment::Remove(name.place()).ok());
  }
  EXPECT_EQ(Belongings::Now(), before);
}

}  // namespace
}  // namespace thole::shm
