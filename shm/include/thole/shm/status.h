// Errors of the cold paths: absl::Status with a sentence that says what was found and what to do.
//
//   #include <thole/shm/status.h>
//   absl::Status Refuse() {
//     return thole::shm::Error(absl::StatusCode::kNotFound, "no segment 'x': create it first");
//   }
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thole {

/// The kinds that programs (and the exit codes of the command) tell apart beyond the canonical
/// code.
enum class ErrorKind : int {
  kNone = 0,
  kUncleanShutdown,  ///< FailedPrecondition: the machine restarted while the segment was in use
  kForkedHandle,     ///< FailedPrecondition: the handle was inherited over fork
  kOtherVersion,     ///< Unimplemented: another layout version
  kNotOurs,          ///< InvalidArgument: not a thole segment at all
  kDamaged,          ///< DataLoss: bytes that cannot be
  kPeerDied,         ///< Aborted
  kPending,          ///< Unavailable: there is something, but a participant is in the middle of it
};
/// The kind that `Error` attached, or kNone.
ErrorKind GetErrorKind(const absl::Status& status);

namespace shm {
/// The one place where std::string becomes Abseil's string type.
absl::Status Error(absl::StatusCode code, std::string_view message,
                   ErrorKind kind = ErrorKind::kNone);
absl::Status ForkedHandleError();
}  // namespace shm

}  // namespace thole
