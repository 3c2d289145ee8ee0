#include "exit_code.h"

#include <gtest/gtest.h>

namespace thole::cli {
namespace {

using absl::StatusCode;

ExitCode CodeOf(StatusCode code, ErrorKind kind = ErrorKind::kNone) {
  return ExitCodeFor(shm::Error(code, "x", kind));
}

TEST(ExitCode, EveryDocumentedCodeIsReached) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), ExitCode::kOk);
  EXPECT_EQ(CodeOf(StatusCode::kDataLoss, ErrorKind::kDamaged), ExitCode::kNo);
  EXPECT_EQ(CodeOf(StatusCode::kInvalidArgument, ErrorKind::kNotOurs), ExitCode::kNo);
  EXPECT_EQ(CodeOf(StatusCode::kFailedPrecondition, ErrorKind::kUncleanShutdown), ExitCode::kNo);
  EXPECT_EQ(CodeOf(StatusCode::kResourceExhausted), ExitCode::kNo);
  EXPECT_EQ(CodeOf(StatusCode::kInvalidArgument), ExitCode::kUsage);
  EXPECT_EQ(CodeOf(StatusCode::kNotFound), ExitCode::kNotFound);
  EXPECT_EQ(CodeOf(StatusCode::kDeadlineExceeded), ExitCode::kTimeout);
  EXPECT_EQ(CodeOf(StatusCode::kPermissionDenied), ExitCode::kPermission);
  EXPECT_EQ(CodeOf(StatusCode::kUnimplemented, ErrorKind::kOtherVersion), ExitCode::kOtherVersion);
  EXPECT_EQ(CodeOf(StatusCode::kAborted, ErrorKind::kPeerDied), ExitCode::kPeerDied);
}

TEST(ExitCode, NumbersAreThoseOfTheManual) {
  EXPECT_EQ(static_cast<int>(ExitCode::kUsage), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kNotFound), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kTimeout), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::kPermission), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::kOtherVersion), 6);
  EXPECT_EQ(static_cast<int>(ExitCode::kPeerDied), 7);
  EXPECT_EQ(static_cast<int>(ExitCode::kVerificationFailed), 8);
}

}  // namespace
}  // namespace thole::cli
