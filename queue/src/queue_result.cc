#include "thole/queue/queue_result.h"

namespace thole::queue {

std::string_view ToString(PushResult result) {
  switch (result) {
    case PushResult::kOk:
      return "kOk";
    case PushResult::kFull:
      return "kFull";
    case PushResult::kPending:
      return "kPending";
    case PushResult::kTimeout:
      return "kTimeout";
    case PushResult::kClosed:
      return "kClosed";
    case PushResult::kCorrupt:
      return "kCorrupt";
  }
  return "unknown";
}

std::string_view ToString(PopResult result) {
  switch (result) {
    case PopResult::kOk:
      return "kOk";
    case PopResult::kEmpty:
      return "kEmpty";
    case PopResult::kPending:
      return "kPending";
    case PopResult::kTimeout:
      return "kTimeout";
    case PopResult::kClosed:
      return "kClosed";
    case PopResult::kCorrupt:
      return "kCorrupt";
  }
  return "unknown";
}

std::string_view ToString(ReturnResult result) {
  switch (result) {
    case ReturnResult::kOk:
      return "kOk";
    case ReturnResult::kNotLeased:
      return "kNotLeased";
    case ReturnResult::kBusy:
      return "kBusy";
    case ReturnResult::kCorrupt:
      return "kCorrupt";
  }
  return "unknown";
}

}  // namespace thole::queue
