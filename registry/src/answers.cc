#include "answers.h"

#include <string>

namespace thole::registry {

using absl::StatusCode;
using shm::BlockResult;
using shm::NameResult;

absl::Status Explain(NameResult result, std::string_view name) {
  if (result == NameResult::kInvalidName) {
    return shm::Error(StatusCode::kInvalidArgument, shm::DescribeNameProblem("buffer", name));
  }
  const std::string text = "buffer '" + std::string(name) + "'";
  switch (result) {
    case NameResult::kNotFound:
      return shm::Error(StatusCode::kNotFound, text + " does not exist: create it, or wait for it");
    case NameResult::kExists:
      return shm::Error(StatusCode::kAlreadyExists,
                        text + " exists already: acquire it, or choose another name");
    case NameResult::kWrongType:
      return shm::Error(
          StatusCode::kInvalidArgument,
          text + " has another kind, type or a smaller size than asked for: look it up");
    case NameResult::kFull:
      return shm::Error(StatusCode::kResourceExhausted,
                        text +
                            " finds no free entry in the registry: remove names, or create the "
                            "segment with more entries");
    case NameResult::kBusy:
      return shm::Error(StatusCode::kDeadlineExceeded,
                        text +
                            ": a live participant held the registry until the deadline: try again "
                            "with a later one");
    case NameResult::kUnsupported:
      return shm::Error(StatusCode::kFailedPrecondition,
                        text + ": this attachment has no seat: join first");
    default:
      return shm::Error(StatusCode::kDataLoss,
                        text +
                            ": the registry's bytes cannot be: run the check command, restore or "
                            "recreate the segment",
                        ErrorKind::kDamaged);
  }
}

absl::Status Explain(BlockResult result, std::string_view name, uint64_t size_bytes) {
  const std::string text =
      "buffer '" + std::string(name) + "' of " + std::to_string(size_bytes) + " bytes";
  switch (result) {
    case BlockResult::kFull:
      return shm::Error(StatusCode::kResourceExhausted,
                        text + " finds no memory now: free something, or use a larger segment");
    case BlockResult::kTooLarge:
    case BlockResult::kInvalid:
      return shm::Error(StatusCode::kInvalidArgument,
                        text +
                            " can never fit: ask for 1 byte up to the size of the heap, aligned to "
                            "a power of two up to 4096");
    case BlockResult::kBusy:
      return shm::Error(StatusCode::kDeadlineExceeded,
                        text +
                            ": a live participant held the heap until the deadline: try again with "
                            "a later one");
    default:
      return shm::Error(StatusCode::kDataLoss,
                        text +
                            ": the heap's bytes cannot be: run the check command, restore or "
                            "recreate the segment",
                        ErrorKind::kDamaged);
  }
}

}  // namespace thole::registry
