// MessageHandle: a received message, read in place.
//
//   #include <thole/comm/message_handle.h>
//   int Sum(thole::comm::MessageHandle& message) {
//     int sum = 0;
//     for (std::byte b : message.bytes()) sum += static_cast<int>(b);
//     (void)message.Ack();  // done: it will not be offered again
//     return sum;
//   }
//
// The handle owns one reference to the message and nothing else. On an acknowledged channel it is a
// lease: `Ack` ends it; a handle dropped without it, or a killed process, gives the message back to
// the channel with its attempt counted up. On other channels dropping the handle frees the message.
//
//   step   dies after                       loan                  recovered by
//   ack.1  COMMIT: lease = 0                plain block           freed by alloc's last step
// Dropping is one step of `queue` (the lease goes back) or of `alloc` (the block is freed).
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "thole/queue/message_descriptor.h"
#include "thole/shm/loan_table.h"
#include "thole/shm/status.h"

namespace thole::comm {

class ChannelState;

/// What may cross between processes: bytes that mean the same in each of them.
template <class T>
concept ShmSafe = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
                  !std::is_pointer_v<T> && !std::is_reference_v<T>;

/// A destructor never waits. Where a live participant is inside the lock that it needs, the message
/// is given back by the next call of this process on any channel, or `Recover`.
///
/// Move-only. Thread-compatible; may be released on any thread, also after the system that received
/// it was dropped. A moved-from handle is empty and answers kFailedPrecondition.
class [[nodiscard]] MessageHandle {
 public:
  MessageHandle() = default;
  MessageHandle(MessageHandle&& other) noexcept { *this = std::move(other); }
  MessageHandle& operator=(MessageHandle&& other) noexcept;
  ~MessageHandle() { Drop(); }

  bool empty() const { return channel_ == nullptr; }
  /// Chosen by the sender.
  uint32_t type() const { return descriptor_.type; }
  /// Participant that sent it: slot : 12 | low bits of its generation : 20.
  uint32_t source() const { return descriptor_.source; }
  /// Position in the channel; per sender in sending order.
  uint64_t sequence() const { return descriptor_.sequence; }
  /// CLOCK_MONOTONIC at the commit, in nanoseconds.
  uint64_t timestamp_ns() const { return descriptor_.timestamp_ns; }
  uint64_t correlation() const { return descriptor_.correlation; }
  uint64_t size() const { return descriptor_.size_bytes; }
  /// 0 at the first delivery, then how often it was given back before; stays at 256.
  uint32_t attempt() const { return attempt_; }

  /// The payload, where it lies, 64-byte aligned; valid as long as the handle. Empty in a forked
  /// child, which has no mapping.
  std::span<const std::byte> bytes() const&;
  std::span<const std::byte> bytes() const&& = delete;
  /// The payload as a T, or nullptr when the size is another one.
  template <class T>
    requires ShmSafe<T>
  const T* As() const& {
    static_assert(alignof(T) <= 64, "thole aligns messages to 64 bytes");
    const std::span<const std::byte> all = bytes();
    const void* data = all.data();
    return all.size() == sizeof(T) ? static_cast<const T*>(data) : nullptr;
  }
  template <class T>
  const T* As() const&& = delete;
  /// A copy of the first sizeof(T) bytes, if there are as many.
  template <class T>
    requires ShmSafe<T>
  std::optional<T> ReadPrefix() const {
    const std::span<const std::byte> all = bytes();
    if (all.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(static_cast<void*>(&value), all.data(), sizeof(T));
    return value;
  }

  /// A second handle to the same message of this process. The message goes when the last one does.
  MessageHandle Clone() const;
  /// Done with it: it will not be offered again, whoever dies. One store to the segment; never
  /// blocks. Other clones may go on reading. FailedPrecondition when empty, forked or after the
  /// system left; OK on channels without acknowledgement and when acknowledged already.
  absl::Status Ack();
  /// What dropping does.
  void Release() { Drop(); }

 private:
  friend class ChannelState;
  MessageHandle(std::shared_ptr<ChannelState> channel, shm::LoanRef loan,
                const queue::MessageDescriptor& descriptor, const std::byte* payload,
                uint32_t attempt);
  void Drop() noexcept;

  std::shared_ptr<ChannelState> channel_;
  shm::LoanRef loan_;  // null: a message without a block
  queue::MessageDescriptor descriptor_{};
  const std::byte* payload_ = nullptr;
  uint32_t attempt_ = 0;
};

}  // namespace thole::comm
