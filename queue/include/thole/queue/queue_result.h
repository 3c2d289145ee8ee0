// PushResult and PopResult: what the hot calls of a queue answer.
//
//   #include <thole/queue/queue_result.h>
//   bool TryLater(thole::queue::PopResult result) {
//     return thole::queue::MayChange(result);
//   }
#pragma once

#include <cstdint>
#include <ostream>
#include <string_view>

namespace thole::queue {

enum class [[nodiscard]] PushResult : uint8_t {
  kOk,
  kFull,
  kPending,  ///< the place is in the middle of somebody's call: try again, or repair him
  kTimeout,
  kClosed,   ///< also in a child of fork and after the attachment left
  kCorrupt,  ///< bytes that cannot be, or a call that the queue's kind does not allow
};

enum class [[nodiscard]] PopResult : uint8_t {
  kOk,
  kEmpty,
  kPending,  ///< there is or may be a message, but somebody is in the middle of it
  kTimeout,
  kClosed,  ///< closed, and no message is left that could still come
  kCorrupt,
};

enum class [[nodiscard]] ReturnResult : uint8_t {
  kOk,
  kNotLeased,  ///< the loan holds no lease of this queue
  kBusy,       ///< a live participant held the return list until the deadline
  kCorrupt,
};

std::string_view ToString(PushResult result);
std::string_view ToString(PopResult result);
std::string_view ToString(ReturnResult result);
inline std::ostream& operator<<(std::ostream& out, PushResult result) {
  return out << ToString(result);
}
inline std::ostream& operator<<(std::ostream& out, PopResult result) {
  return out << ToString(result);
}
inline std::ostream& operator<<(std::ostream& out, ReturnResult result) {
  return out << ToString(result);
}

/// Whether the answer may be another one later, without any doing of the caller.
constexpr bool MayChange(PushResult result) {
  return result == PushResult::kFull || result == PushResult::kPending;
}
constexpr bool MayChange(PopResult result) {
  return result == PopResult::kEmpty || result == PopResult::kPending;
}

inline constexpr uint32_t kNobody = ~uint32_t{0};

/// More about a push.
struct PushInfo {
  uint64_t ticket = 0;            ///< after kOk
  uint32_t stalled_on = kNobody;  ///< slot of who is in the middle, after kPending
};
/// More about a pop.
struct PopInfo {
  uint64_t ticket = 0;            ///< after kOk
  uint32_t attempts = 0;          ///< how often the message was handed out before
  uint32_t stalled_on = kNobody;  ///< slot of who is in the middle, after kPending
};

}  // namespace thole::queue
