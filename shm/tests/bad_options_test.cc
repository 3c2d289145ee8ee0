// Whatever a caller asks for that cannot be is refused with a sentence, and nothing is left behind.
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cstring>
#include <limits>

#include "support/bad_input.h"

namespace thole::shm {
namespace {

// --- Names. ---

TEST_F(BadInput, NameEmpty) { ExpectBadName(""); }
TEST_F(BadInput, NameTooLong) {
  ExpectBadName(std::string(64, 'n'));
  EXPECT_TRUE(absl::IsNotFound(Segment::Open(Place::Named(std::string(63, 'n')), {}).status()));
}
TEST_F(BadInput, NameVeryLong) { ExpectBadName(std::string(1 << 20, 'n')); }
TEST_F(BadInput, NameWithSlashes) {
  ExpectBadName("a/b");
  ExpectBadName("../../etc/passwd");
  ExpectBadName("/");
}
TEST_F(BadInput, NameOfADirectory) {
  ExpectBadName(".");
  ExpectBadName("..");
}
TEST_F(BadInput, NameWithControlBytes) {
  ExpectBadName("a\nb");
  ExpectBadName("\x1b[2J");
  ExpectBadName("a\x7f");
  ExpectBadName(std::string("a\0b", 3));
  ExpectBadName("a\xc2\x9b");  // U+009B
}
TEST_F(BadInput, NameNotUtf8) {
  ExpectBadName("\xff");
  ExpectBadName("a\x80");
  ExpectBadName("\xc3");
  ExpectBadName("\xc0\xaf");          // overlong
  ExpectBadName("\xed\xa0\x80");      // a surrogate
  ExpectBadName("\xf4\x90\x80\x80");  // beyond U+10FFFF
}

TEST_F(BadInput, ParticipantName) {
  WriteSegment();
  for (const std::string& text :
       {std::string(40, 'p'), std::string("a\nb"), std::string("\xff"), std::string("a/b")}) {
    const absl::Status status = MakeAttachment(name_.place())->Join(text);
    Say(status);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
  }
  EXPECT_TRUE(MakeAttachment(name_.place())->Join(std::string(39, 'p')).ok());
}

// --- Sizes. ---

SegmentOptions OptionsOf(uint64_t size_bytes, uint32_t participants = 0, uint32_t lanes = 0) {
  SegmentOptions options;
  options.size_bytes = size_bytes;
  options.participants_max = participants;
  options.lanes_per_participant = lanes;
  return options;
}

TEST_F(BadInput, SizeZero) { ExpectNotMade(OptionsOf(0)); }
TEST_F(BadInput, SizeBelowOneMebibyte) { ExpectNotMade(OptionsOf(kSegmentBytesMin - 1)); }
TEST_F(BadInput, SizeImpossible) {
  ExpectNotMade(OptionsOf(kSegmentBytesMax + 1));
  ExpectNotMade(OptionsOf(uint64_t{1} << 63));
  ExpectNotMade(OptionsOf(std::numeric_limits<uint64_t>::max()));
}
TEST_F(BadInput, TooManyParticipantsForTheSize) { ExpectNotMade(OptionsOf(1 << 20, 4095)); }
TEST_F(BadInput, TooManyLanesForTheSize) { ExpectNotMade(OptionsOf(1 << 20, 16, 64)); }
TEST_F(BadInput, ParticipantsOutOfRange) { ExpectNotMade(OptionsOf(64 << 20, 4096)); }
TEST_F(BadInput, LanesOutOfRange) { ExpectNotMade(OptionsOf(64 << 20, 1, 65)); }
TEST_F(BadInput, ModeThatLocksTheOwnerOut) {
  SegmentOptions options = SmallOptions();
  options.mode = 0400;
  ExpectNotMade(options);
}
TEST_F(BadInput, ModeWithOtherBits) {
  SegmentOptions options = SmallOptions();
  options.mode = 04600;
  ExpectNotMade(options);
}

// A root like WordsRoot, changed. Its format must never run.
template <class Change>
std::vector<RootRequest> Roots(Change change) {
  RootRequest root = WordsRoot();
  root.format = [](SegmentView, const RootData&) {
    ADD_FAILURE() << "a root that does not fit was formatted";
    return absl::OkStatus();
  };
  change(root);
  return {root};
}

TEST_F(BadInput, RootLargerThanTheSegment) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.size_bytes = 1 << 20; }));
}
TEST_F(BadInput, RootWhoseEndOverflows) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.size_bytes = ~uint64_t{0}; }));
}
TEST_F(BadInput, RootWithAnOddAlignment) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.align = 96; }));
}
TEST_F(BadInput, RootWithAHugeAlignment) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.align = uint64_t{1} << 63; }));
}
TEST_F(BadInput, RootOfAnImpossibleComponent) {
  ExpectNotMade(SmallOptions(),
                Roots([](RootRequest& root) { root.component = static_cast<ComponentId>(8); }));
}
TEST_F(BadInput, RootWithALongName) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.name.assign(32, 'r'); }));
}
TEST_F(BadInput, RootWithAHugeLaneArea) {
  ExpectNotMade(SmallOptions(), Roots([](RootRequest& root) { root.lane_area_bytes = ~0u; }));
}
TEST_F(BadInput, RestOfTheSegmentBeforeTheLastRoot) {
  auto roots = Roots([](RootRequest& root) { root.size_bytes = kRestOfSegment; });
  roots.push_back(WordsRoot(ComponentId::kComm));
  ExpectNotMade(SmallOptions(), roots);
}
TEST_F(BadInput, TooManyRoots) {
  ExpectNotMade(SmallOptions(), std::vector<RootRequest>(33, WordsRoot()));
}

// --- Descriptors and memory. ---

TEST_F(BadInput, DescriptorThatIsClosed) {
  const absl::Status status = Segment::Open(Place::Descriptor(9999), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

TEST_F(BadInput, DescriptorOfAPipe) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const absl::Status status = Segment::Open(Place::Descriptor(ends[0]), {}).status();
  Say(status);
  EXPECT_EQ(GetErrorKind(status), ErrorKind::kNotOurs);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(BadInput, DescriptorThatIsOpenForReadingOnly) {
  WriteSegment();
  const int file = open(name_.path().c_str(), O_RDONLY | O_CLOEXEC);
  const absl::Status status = Segment::Open(Place::Descriptor(file), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  OpenOptions reading;
  reading.read_only = true;
  EXPECT_TRUE(Segment::Open(Place::Descriptor(file), reading).ok());
  close(file);
}

TEST_F(BadInput, DescriptorOfAnEmptyFile) {
  const int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const absl::Status status = Segment::Open(Place::Descriptor(file), {}).status();
  Say(status);
  EXPECT_EQ(GetErrorKind(status), ErrorKind::kNotOurs);
  close(file);
}

TEST_F(BadInput, RemoveOfWhatHasNoName) {
  const absl::Status status = Segment::Remove(Place::Descriptor(0));
  Say(status);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

TEST_F(BadInput, MemoryThatCannotBe) {
  alignas(kCacheLine) static std::byte memory[32 << 10];
  for (const Place& place :
       {Place::Memory(nullptr, 1 << 20), Place::Memory(memory + 8, sizeof memory - 8),
        Place::Memory(memory, 100), Place::Memory(memory, 0), Place::Memory(memory, 4096)}) {
    const absl::Status status = Segment::Create(place, SmallOptions(), {}).status();
    Say(status);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_FALSE(Segment::Open(place, {}).ok());
  }
  const Place place = Place::Memory(memory, sizeof memory);
  EXPECT_TRUE(absl::IsInvalidArgument(Segment::Create(place, OptionsOf(0, 4096), {}).status()));
}

// --- No room. ---

// In a child with a mount namespace of its own and a small tmpfs on its own directory.
void OnASmallFileSystem(uint64_t size_bytes,
                        const std::function<void(const std::string& directory)>& body) {
  char directory[] = "/tmp/thole-shm-test-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  Child child([&](Child&) {
    if (unshare(CLONE_NEWNS) != 0) _exit(77);
    const std::string options = "size=" + std::to_string(size_bytes);
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    if (mount("none", directory, "tmpfs", 0, options.c_str()) != 0) _exit(77);
    body(directory);
  });
  const std::string end = child.Wait();
  rmdir(directory);
  if (end == "exit 77") GTEST_SKIP() << "needs the right to mount: run it as root";
  EXPECT_EQ(end, "exit 0");
}

TEST_F(BadInput, FullFileSystem) {
  OnASmallFileSystem(2 << 20, [](const std::string& directory) {
    const Place place = Place::File(directory + "/segment");
    SegmentOptions options = SmallOptions();
    options.size_bytes = 3 << 20;
    const absl::Status status = Segment::Create(place, options, {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsResourceExhausted(status));
    CHILD_REQUIRE(absl::IsResourceExhausted(Segment::OpenOrCreate(place, options, {}).status()));
    CHILD_REQUIRE(access(place.text().c_str(), F_OK) != 0);
    // Nothing is left: what fits still fits, and every byte of it is real.
    options.size_bytes = (2 << 20) - 8192;
    auto segment = Segment::Create(place, options, {});
    CHILD_REQUIRE(segment.ok());
    std::memset(segment->view().base() + (1 << 20), 1, (1 << 20) - 8192);
  });
}

TEST_F(BadInput, ReadOnlyFileSystem) {
  OnASmallFileSystem(4 << 20, [](const std::string& directory) {
    const Place place = Place::File(directory + "/segment");
    CHILD_REQUIRE(Segment::Create(place, SmallOptions(), {}).ok());
    CHILD_REQUIRE(mount(nullptr, directory.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    const absl::Status status = Segment::Open(place, {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsPermissionDenied(status));
    OpenOptions reading;
    reading.read_only = true;
    CHILD_REQUIRE(Segment::Open(place, reading).ok());
    CHILD_REQUIRE(absl::IsPermissionDenied(
        Segment::Create(Place::File(directory + "/other"), SmallOptions(), {}).status()));
  });
}

TEST_F(BadInput, FileSizeLimitOfTheProcess) {
  Child child([&](Child&) {
    const rlimit limit{1 << 16, 1 << 16};
    CHILD_REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const absl::Status status = Segment::Create(name_.place(), SmallOptions(), {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsResourceExhausted(status));
    CHILD_REQUIRE(absl::IsResourceExhausted(
        Segment::Create(Place::Descriptor(), SmallOptions(), {}).status()));
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST_F(BadInput, AddressSpaceLimitOfTheProcess) {
  Child child([&](Child&) {
    const rlimit limit{uint64_t{1} << 30, uint64_t{1} << 30};
    CHILD_REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    SegmentOptions options = SmallOptions();
    options.size_bytes = uint64_t{1} << 30;
    const absl::Status status = Segment::Create(name_.place(), options, {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsResourceExhausted(status));
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST_F(BadInput, NoDescriptorsLeft) {
  WriteSegment();
  Child child([&](Child&) {
    Segment segment = OpenSegment(name_.place());
    const rlimit limit{static_cast<rlim_t>(segment.file()) + 1, 1024};
    CHILD_REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    const absl::Status status = Segment::Open(name_.place(), {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsResourceExhausted(status));
    const auto attachment = Attachment::Make(std::move(segment)).status();
    Say(attachment);
    CHILD_REQUIRE(!attachment.ok());
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

}  // namespace
}  // namespace thole::shm
