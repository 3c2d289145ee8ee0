// ZeroCopyWriter: a message that is written where it will be read.
//
//   #include <thole/comm/unified_communication_system.h>
//   absl::Status Example(thole::comm::UnifiedCommunicationSystem& system) {
//     auto writer = system.SendZeroCopy("frames", 7, 4096, thole::shm::Deadline::Now());
//     if (!writer.ok()) return writer.status();
//     writer->bytes()[0] = std::byte{42};
//     return writer->Commit(thole::shm::Deadline::Now()).status();
//   }
//
// The block is on loan until it is committed: dropping the writer, or the death of the process,
// frees it. A commit that fails (channel full, closed) leaves the writer as it was, to try again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "thole/queue/message_descriptor.h"
#include "thole/shm/deadline.h"
#include "thole/shm/loan_table.h"
#include "thole/shm/status.h"

namespace thole::comm {

class ChannelState;

/// Move-only, thread-compatible. Any number may be open at once.
class [[nodiscard]] ZeroCopyWriter {
 public:
  ZeroCopyWriter() = default;
  ZeroCopyWriter(ZeroCopyWriter&& other) noexcept { *this = std::move(other); }
  ZeroCopyWriter& operator=(ZeroCopyWriter&& other) noexcept;
  ~ZeroCopyWriter() { Rollback(); }

  bool empty() const { return channel_ == nullptr; }
  /// The room for the payload: what was asked for, 64-byte aligned. Contents are unspecified. Empty
  /// in a forked child.
  std::span<std::byte> bytes() &;
  std::span<std::byte> bytes() && = delete;
  void set_type(uint32_t type) { type_ = type; }
  void set_correlation(uint64_t correlation) { correlation_ = correlation; }

  /// Sends all of it; waits for room until the deadline. The sequence number on success, then the
  /// writer is empty. ResourceExhausted (full), DeadlineExceeded, FailedPrecondition (closed; or
  /// the writer is empty), Unavailable (a participant is in the middle of the next place).
  absl::StatusOr<uint64_t> Commit(shm::Deadline deadline) {
    return CommitPrefix(capacity_, deadline);
  }
  /// Sends the first `size_bytes` only; the rest goes back to the heap first, if the channel looks
  /// as if it had room. After a failure the writer has at least these bytes, and all of them when
  /// the channel was full or closed. InvalidArgument when that is more than there is.
  absl::StatusOr<uint64_t> CommitPrefix(uint64_t size_bytes, shm::Deadline deadline);
  /// Gives the block back. Never blocks.
  void Rollback() noexcept;

 private:
  friend class ChannelState;
  ZeroCopyWriter(std::shared_ptr<ChannelState> channel, shm::LoanRef loan, std::byte* payload,
                 uint64_t capacity, uint32_t type);

  std::shared_ptr<ChannelState> channel_;
  shm::LoanRef loan_;  // null: a message without a block
  std::byte* payload_ = nullptr;
  uint64_t capacity_ = 0;
  uint32_t type_ = 0;
  uint64_t correlation_ = 0;
};

}  // namespace thole::comm
