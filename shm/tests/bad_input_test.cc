// Whatever stands under a name is refused with a sentence, and nothing is left behind.
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <limits>

#include "support/bad_input.h"
#include "thole/shm/testing/scenario.h"

namespace thole::shm {
namespace {

constexpr uid_t kSomebodyElse = 65534;

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
      header.static_check = StaticCheckOf(header);
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

}  // namespace
}  // namespace thole::shm
