#include "thole/shm/status.h"

#include "absl/strings/cord.h"

namespace thole {
namespace {
constexpr char kKindUrl[] = "thole.ErrorKind";
}

ErrorKind GetErrorKind(const absl::Status& status) {
  const auto payload = status.GetPayload(kKindUrl);
  if (!payload) return ErrorKind::kNone;
  const std::string text(*payload);
  return text.size() == 1 ? static_cast<ErrorKind>(text[0]) : ErrorKind::kNone;
}

namespace shm {

absl::Status Error(absl::StatusCode code, std::string_view message, ErrorKind kind) {
  absl::Status status(code, absl::string_view(message.data(), message.size()));
  if (kind != ErrorKind::kNone) {
    // From a view: clang 19 names Cord's constructor template otherwise than Debian's library does.
    const char text = static_cast<char>(kind);
    status.SetPayload(kKindUrl, absl::Cord(absl::string_view(&text, 1)));
  }
  return status;
}

absl::Status ForkedHandleError() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "this handle was inherited over fork: open the segment again in the child",
               ErrorKind::kForkedHandle);
}

}  // namespace shm
}  // namespace thole
