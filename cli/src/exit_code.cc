#include "exit_code.h"

#include <cstdio>
#include <string>

#include "table.h"

namespace thole::cli {

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kTimeout;
    case absl::StatusCode::kPermissionDenied:
      return ExitCode::kPermission;
    case absl::StatusCode::kUnimplemented:
      return ExitCode::kOtherVersion;
    case absl::StatusCode::kAborted:
      return GetErrorKind(status) == ErrorKind::kPeerDied ? ExitCode::kPeerDied : ExitCode::kNo;
    case absl::StatusCode::kInvalidArgument:
      return GetErrorKind(status) == ErrorKind::kNotOurs ? ExitCode::kNo : ExitCode::kUsage;
    default:
      return ExitCode::kNo;
  }
}

ExitCode Fail(const absl::Status& status) {
  // Names and paths in the sentence come from outside: nothing in them may steer a terminal.
  std::fprintf(stderr, "thole: %s\n", Printable(std::string(status.message())).c_str());
  return ExitCodeFor(status);
}

ExitCode FailUsage(const std::string& sentence) {
  std::fprintf(stderr, "thole: %s\n", Printable(sentence).c_str());
  return ExitCode::kUsage;
}

}  // namespace thole::cli
