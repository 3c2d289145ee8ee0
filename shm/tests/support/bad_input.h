// The fixture of the tests of bad input: each says the message it got, and leaves nothing behind.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <iostream>

#include "test_segment.h"

namespace thole::shm {

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

}  // namespace thole::shm
