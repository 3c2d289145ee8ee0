// What the exit status of `thole` says. One function maps every error of the library to it.
#pragma once

#include "thole/shm/status.h"

namespace thole::cli {

enum class ExitCode : int {
  kOk = 0,
  kNo = 1,  ///< the answer is no: damaged, not a segment, no space
  kUsage = 2,
  kNotFound = 3,
  kTimeout = 4,
  kPermission = 5,
  kOtherVersion = 6,
  kPeerDied = 7,
  kVerificationFailed = 8,
};

ExitCode ExitCodeFor(const absl::Status& status);
/// Prints "thole: <sentence>" on stderr and maps the status.
ExitCode Fail(const absl::Status& status);
/// The same for a mistake in the command line.
ExitCode FailUsage(const std::string& sentence);

}  // namespace thole::cli
