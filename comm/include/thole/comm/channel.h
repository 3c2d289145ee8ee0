// Channel: one process's door to one channel. What `ConnectChannel` returns.
//
//   #include <thole/comm/unified_communication_system.h>
//   absl::Status Work(thole::comm::UnifiedCommunicationSystem& system) {
//     auto jobs = system.ConnectChannel("jobs");
//     if (!jobs.ok()) return jobs.status();
//     auto job = jobs->Receive(thole::shm::Deadline::In(std::chrono::seconds(1)));
//     if (!job.ok()) return job.status();
//     return job->Ack();
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "thole/comm/channel_options.h"
#include "thole/comm/message_handle.h"
#include "thole/comm/zero_copy_writer.h"
#include "thole/shm/deadline.h"

namespace thole::comm {

/// Copyable reference to a channel; thread-safe. Outlives the system object it came from. Moved
/// from, it answers FailedPrecondition.
class Channel {
 public:
  explicit Channel(std::shared_ptr<ChannelState> state) : state_(std::move(state)) {}

  /// Copies a value into a message and sends it. Codes as ZeroCopyWriter::Commit.
  template <class T>
  absl::Status Send(uint32_t type, const T& value, shm::Deadline deadline) const {
    static_assert(ShmSafe<T>,
                  "thole: a message must be trivially copyable, of standard layout and no pointer: "
                  "its bytes are read by other processes");
    return SendBytes(type, std::as_bytes(std::span<const T, 1>(&value, 1)), deadline);
  }
  absl::Status SendBytes(uint32_t type, std::span<const std::byte> bytes,
                         shm::Deadline deadline) const;
  /// Room for a message of `size_bytes` (0 is allowed), to be written in place.
  absl::StatusOr<ZeroCopyWriter> SendZeroCopy(uint32_t type, uint64_t size_bytes,
                                              shm::Deadline deadline) const;
  /// The next message; waits for one until the deadline. DeadlineExceeded; Unavailable (TryReceive:
  /// nothing there, or with kPending: a participant is in the middle of it); OutOfRange (closed and
  /// drained); DataLoss; ResourceExhausted (no loan left).
  absl::StatusOr<MessageHandle> Receive(shm::Deadline deadline) const;
  absl::StatusOr<MessageHandle> TryReceive() const { return Receive(shm::Deadline::Now()); }
  /// No further sends, by anybody; what is in the channel can still be received.
  absl::Status Close() const;

  ChannelInfo Info() const;
  std::string_view name() const;

 private:
  std::shared_ptr<ChannelState> state_;
};

}  // namespace thole::comm
