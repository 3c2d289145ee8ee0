// ChannelState: sending to and receiving from one channel. Private to `comm`.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "system_state.h"
#include "thole/comm/channel_options.h"
#include "thole/comm/message_handle.h"
#include "thole/comm/zero_copy_writer.h"
#include "thole/queue/persistent_queue.h"

namespace thole::comm {

class ChannelState : public std::enable_shared_from_this<ChannelState> {
 public:
  ChannelState(std::shared_ptr<SystemState> system, std::string_view name, queue::QueueHandle queue)
      : system_(std::move(system)), name_(name), queue_(std::move(queue)) {}

  absl::StatusOr<ZeroCopyWriter> Reserve(uint32_t type, uint64_t size_bytes,
                                         shm::Deadline deadline);
  /// On success the block has left `loan`, which is offered again. `capacity` is what the writer
  /// has; it becomes the descriptor's size when the rest was given back.
  absl::StatusOr<uint64_t> Commit(shm::LoanRef loan, queue::MessageDescriptor& descriptor,
                                  uint64_t& capacity, shm::Deadline deadline);
  absl::StatusOr<MessageHandle> Receive(shm::Deadline deadline);
  absl::Status Close();
  ChannelInfo Info();

  SystemState& system() { return *system_; }
  const std::string& name() const { return name_; }

 private:
  /// Distance of the payload from its block.
  uint32_t payload_offset() const;
  uint64_t BlockBytes(uint64_t size_bytes) const;

  queue::PushResult TryCommit(shm::LoanRef loan, queue::MessageDescriptor& descriptor,
                              uint64_t& capacity, queue::PushInfo& info,
                              shm::Deadline deadline) noexcept;
  void Shrink(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes, uint64_t& capacity,
              shm::Deadline deadline) noexcept;
  queue::PopResult TryReceive(queue::MessageDescriptor& descriptor, shm::LoanRef& loan,
                              queue::PopInfo& info, shm::Deadline deadline) noexcept;
  absl::StatusOr<MessageHandle> Accept(const queue::MessageDescriptor& descriptor,
                                       shm::LoanRef loan, uint32_t attempt);
  shm::BlockResult AllocateOnce(shm::LoanRef& loan, uint64_t size_bytes, shm::Deadline deadline);
  absl::Status SendError(queue::PushResult result) const;
  absl::Status ReceiveError(queue::PopResult result) const;
  absl::Status ReserveError(shm::BlockResult result, uint64_t size_bytes) const;

  std::shared_ptr<SystemState> system_;
  std::string name_;
  queue::PersistentQueue<queue::MessageDescriptor> queue_;
};

}  // namespace thole::comm
