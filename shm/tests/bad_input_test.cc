// Whatever stands under a name, and whatever a caller asks for: a sentence, and nothing left behind.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>
#include <limits>

#include "support/test_segment.h"
#include "thole/shm/crc32c.h"
#include "thole/shm/testing/scenario.h"

namespace thole::shm {
namespace {

constexpr uid_t kSomebodyElse = 65534;

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override { before_ = Belongings::Now(); }
  void TearDown() override {
    unlink(name_.path().c_str());
    rmdir(name_.path().c_str());
    EXPECT_EQ(Belongings::Now(), before_);
  }

  const TestName name_;

  static void Say(const absl::Status& status) {
    std::cout << "message: " << status.message() << "\n";
  }
  void Write(const std::string& bytes) const {
    std::ofstream(name_.path(), std::ios::binary) << bytes;
  }
  // A segment's file, to be spoilt.
  void WriteSegment() const { MakeSegment(name_.place()); }
  void Spoil(uint64_t offset, uint64_t value, size_t bytes) const {
    const int file = open(name_.path().c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(pwrite(file, &value, bytes, static_cast<off_t>(offset)), static_cast<ssize_t>(bytes));
    close(file);
  }

  // What stands under the name is refused by everybody who looks at it, and said to be there.
  void ExpectRefused(absl::StatusCode code, ErrorKind kind) const {
    const absl::Status status = Segment::Open(name_.place(), {}).status();
    Say(status);
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(GetErrorKind(status), kind);
    EXPECT_NE(status.message().find(name_.text()), absl::string_view::npos) << "what is meant?";
    OpenOptions reading;
    reading.read_only = true;
    EXPECT_EQ(Segment::Open(name_.place(), reading).status().code(), code);
    EXPECT_EQ(Segment::OpenOrCreate(name_.place(), SmallOptions(), {}).status().code(), code);
    EXPECT_TRUE(absl::IsAlreadyExists(Segment::Create(name_.place(), SmallOptions(), {}).status()));
    const bool ours = kind == ErrorKind::kDamaged || kind == ErrorKind::kOtherVersion;
    EXPECT_EQ(Segment::Remove(name_.place()).ok(), ours);
  }
  void ExpectNotOurs() const {
    ExpectRefused(absl::StatusCode::kInvalidArgument, ErrorKind::kNotOurs);
  }
  void ExpectDamaged() const { ExpectRefused(absl::StatusCode::kDataLoss, ErrorKind::kDamaged); }
  // Making a segment with these is refused, and nothing appears under the name.
  void ExpectNotMade(const SegmentOptions& options, std::vector<RootRequest> roots = {}) const {
    const absl::Status status = Segment::Create(name_.place(), options, roots).status();
    Say(status);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Segment::OpenOrCreate(name_.place(), options, roots).status().code(), status.code());
    EXPECT_NE(access(name_.path().c_str(), F_OK), 0);
  }
  static void ExpectBadName(const std::string& text) {
    const Place place = Place::Named(text);
    const absl::Status status = Segment::Create(place, SmallOptions(), {}).status();
    Say(status);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_TRUE(absl::IsInvalidArgument(Segment::Open(place, {}).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(Segment::OpenOrCreate(place, {}, {}).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(Segment::Remove(place)));
    for (const char c : status.message()) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }

 private:
  Belongings before_;
};

// --- What stands under the name. ---

TEST_F(BadInput, NothingUnderTheName) {
  const absl::Status status = Segment::Open(name_.place(), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_TRUE(absl::IsNotFound(Segment::Remove(name_.place())));
}

TEST_F(BadInput, EmptyFile) {
  Write("");
  ExpectNotOurs();
}

TEST_F(BadInput, FileShorterThanAHeader) {
  Write(std::string(sizeof(SegmentHeaderData) - 1, 'x'));
  ExpectNotOurs();
}

TEST_F(BadInput, BeginningOfASegmentOnly) {
  WriteSegment();
  ASSERT_EQ(truncate(name_.path().c_str(), 100), 0);
  ExpectNotOurs();
}

TEST_F(BadInput, TruncatedFile) {
  WriteSegment();
  ASSERT_EQ(truncate(name_.path().c_str(), 8192), 0);
  ExpectDamaged();
}

TEST_F(BadInput, FileShortOfOneByte) {
  WriteSegment();
  ASSERT_EQ(truncate(name_.path().c_str(), (1 << 20) - 1), 0);
  ExpectDamaged();
}

TEST_F(BadInput, RandomBytes) {
  testing::Random random(7);
  for (int round = 0; round < 50; ++round) {
    std::string bytes(64 << 10, 0);
    for (char& c : bytes) c = static_cast<char>(random.Next());
    Write(bytes);
    EXPECT_EQ(GetErrorKind(Segment::Open(name_.place(), {}).status()), ErrorKind::kNotOurs);
  }
  ExpectNotOurs();
}

TEST_F(BadInput, RandomBytesBehindTheMagic) {
  testing::Random random(8);
  std::string bytes(64 << 10, 0);
  for (char& c : bytes) c = static_cast<char>(random.Next());
  Write(bytes);
  Spoil(0, kSegmentMagic, 8);
  ExpectRefused(absl::StatusCode::kUnimplemented, ErrorKind::kOtherVersion);
}

TEST_F(BadInput, AnotherVersion) {
  WriteSegment();
  Spoil(offsetof(SegmentHeaderData, format_version), kFormatVersion + 1, 4);
  ExpectRefused(absl::StatusCode::kUnimplemented, ErrorKind::kOtherVersion);
}

TEST_F(BadInput, AnotherLayout) {
  WriteSegment();
  Spoil(offsetof(SegmentHeaderData, layout_hash), kLayoutHash ^ 1, 8);
  ExpectRefused(absl::StatusCode::kUnimplemented, ErrorKind::kOtherVersion);
}

TEST_F(BadInput, HeaderThatDoesNotFitItsChecksum) {
  WriteSegment();
  Spoil(offsetof(SegmentHeaderData, participants_max), 4, 4);
  ExpectDamaged();
}

TEST_F(BadInput, ParticipantTableThatCannotBe) {
  // With the right checksum, as a hostile peer would write it.
  const auto spoil = [&](auto change) {
    WriteSegment();
    {
      Segment segment = OpenSegment(name_.place());
      SegmentHeaderData& header = segment.header();
      change(header);
      uint32_t sum = Crc32c(&header, offsetof(SegmentHeaderData, boot_id));
      sum = Crc32c(&header.slots_offset, 24, sum);
      sum = Crc32c(header.lane_areas, sizeof header.lane_areas, sum);
      header.static_check = Crc32c(header.roots, sizeof header.roots, sum);
    }
    ExpectDamaged();
  };
  const uint64_t huge = std::numeric_limits<uint64_t>::max();
  spoil([](SegmentHeaderData& header) { header.participants_max = 0; });
  spoil([](SegmentHeaderData& header) { header.participants_max = 4096; });
  spoil([](SegmentHeaderData& header) { header.participants_max = 4095; });
  spoil([](SegmentHeaderData& header) { header.lanes_per_participant = 0; });
  spoil([](SegmentHeaderData& header) { header.lanes_per_participant = 65; });
  spoil([](SegmentHeaderData& header) { header.slots_offset = 0; });
  spoil([](SegmentHeaderData& header) { header.slots_offset += 8; });
  spoil([](SegmentHeaderData& header) { header.lanes_offset -= 64; });
  spoil([&](SegmentHeaderData& header) { header.lanes_offset = huge & ~uint64_t{63}; });
  spoil([](SegmentHeaderData& header) { header.lane_bytes = 64; });
  spoil([&](SegmentHeaderData& header) { header.lane_bytes = huge & ~uint64_t{63}; });
  spoil([](SegmentHeaderData& header) { header.size_bytes = 4096; });
  spoil([&](SegmentHeaderData& header) { header.size_bytes = huge; });
  spoil([&](SegmentHeaderData& header) { header.roots[0].offset = huge & ~uint64_t{63}; });
  spoil([&](SegmentHeaderData& header) { header.roots[0].size_bytes = huge; });
  spoil([](SegmentHeaderData& header) { header.roots[0].offset += 1; });
  spoil([](SegmentHeaderData& header) {
    for (char& c : header.roots[0].name) c = 'x';
  });
}

TEST_F(BadInput, Directory) {
  ASSERT_EQ(mkdir(name_.path().c_str(), 0700), 0);
  ExpectNotOurs();
}

TEST_F(BadInput, Fifo) {
  ASSERT_EQ(mkfifo(name_.path().c_str(), 0600), 0);
  ExpectNotOurs();
}

TEST_F(BadInput, Symlink) {
  const TestName target;
  MakeSegment(target.place());
  ASSERT_EQ(symlink(target.path().c_str(), name_.path().c_str()), 0);
  ExpectNotOurs();
}

TEST_F(BadInput, SymlinkToNothing) {
  ASSERT_EQ(symlink("/dev/shm/thole-test-nothing", name_.path().c_str()), 0);
  const absl::Status status = Segment::Open(name_.place(), {}).status();
  Say(status);
  EXPECT_EQ(GetErrorKind(status), ErrorKind::kNotOurs);
  const absl::Status made = Segment::Create(name_.place(), SmallOptions(), {}).status();
  EXPECT_TRUE(absl::IsAlreadyExists(made)) << made;
}

TEST_F(BadInput, Socket) {
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name_.path().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(file, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ExpectNotOurs();
  close(file);
}

TEST_F(BadInput, Device) {
  const absl::Status status = Segment::Open(Place::File("/dev/zero"), {}).status();
  Say(status);
  EXPECT_EQ(GetErrorKind(status), ErrorKind::kNotOurs);
}

TEST_F(BadInput, TwoHardLinks) {
  WriteSegment();
  const std::string second = name_.path() + ".second";
  ASSERT_EQ(link(name_.path().c_str(), second.c_str()), 0);
  ExpectNotOurs();
  unlink(second.c_str());
  EXPECT_TRUE(Segment::Open(name_.place(), {}).ok());
}

TEST_F(BadInput, FileOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make one";
  WriteSegment();
  ASSERT_EQ(chown(name_.path().c_str(), kSomebodyElse, kSomebodyElse), 0);
  ExpectRefused(absl::StatusCode::kPermissionDenied, ErrorKind::kNone);
}

TEST_F(BadInput, NoPermissionForTheFile) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  WriteSegment();
  Child child([&](Child&) {
    CHILD_REQUIRE(setgroups(0, nullptr) == 0 && setgid(kSomebodyElse) == 0);
    CHILD_REQUIRE(setuid(kSomebodyElse) == 0);
    const absl::Status status = Segment::Open(name_.place(), {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsPermissionDenied(status));
    CHILD_REQUIRE(absl::IsPermissionDenied(Segment::Remove(name_.place())));
  });
  EXPECT_EQ(child.Wait(), "exit 0");
}

TEST_F(BadInput, NoPermissionForTheDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  char directory[] = "/tmp/thole-shm-test-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  Child child([&](Child&) {
    CHILD_REQUIRE(setgroups(0, nullptr) == 0 && setgid(kSomebodyElse) == 0);
    CHILD_REQUIRE(setuid(kSomebodyElse) == 0);
    const Place place = Place::File(std::string(directory) + "/x");
    const absl::Status status = Segment::Create(place, SmallOptions(), {}).status();
    Say(status);
    CHILD_REQUIRE(absl::IsPermissionDenied(status));
  });
  EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_EQ(rmdir(directory), 0) << "something was left";
}

TEST_F(BadInput, NoSuchDirectory) {
  const absl::Status status =
      Segment::OpenOrCreate(Place::File("/tmp/thole-no-such/x"), SmallOptions(), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsNotFound(status));
}

TEST_F(BadInput, PathThatIsEmpty) {
  const absl::Status status = Segment::Create(Place::File(""), SmallOptions(), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::IsInvalidArgument(Segment::Open(Place::File(""), {}).status()));
}

TEST_F(BadInput, PathWithANulByte) {
  const Place place = Place::File(std::string("/tmp/a\0b", 8));
  const absl::Status status = Segment::Create(place, SmallOptions(), {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

TEST_F(BadInput, PathThatIsTooLong) {
  const Place place = Place::File("/tmp/" + std::string(5000, 'x'));
  const absl::Status status = Segment::Open(place, {}).status();
  Say(status);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

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
