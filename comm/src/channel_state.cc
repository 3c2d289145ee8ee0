#include "channel_state.h"

#include <algorithm>

#include "call_ids.h"
#include "thole/queue/message_control.h"
#include "thole/queue/queue_wait.h"

namespace thole::comm {
namespace {

using queue::MessageDescriptor;
using queue::PopResult;
using queue::PushResult;
using shm::BlockResult;
using shm::Deadline;

// How long a sender sleeps before it looks again for memory that others may have freed.
constexpr int64_t kMemorySliceNs = 1'000'000;
// How long a commit waits for the heap in order to give a tail back. Giving it back is a kindness.
constexpr int64_t kShrinkPatienceNs = 100'000;

// A status with the kind and no text.
absl::Status Pending() {
  return shm::Error(absl::StatusCode::kUnavailable, "", ErrorKind::kPending);
}

}  // namespace

uint32_t ChannelState::payload_offset() const {
  return queue_.leased() ? sizeof(queue::MessageControlData) : 0;
}

// A block has at least one byte, so that every message is held by something.
uint64_t ChannelState::BlockBytes(uint64_t size_bytes) const {
  return payload_offset() + std::max<uint64_t>(size_bytes, 1);
}

BlockResult ChannelState::AllocateOnce(shm::LoanRef& loan, uint64_t size_bytes, Deadline deadline) {
  shm::Attachment& attachment = system_->attachment();
  shm::Call call = system_->Enter(kCallReserve, deadline);
  if (!call) return BlockResult::kBusy;
  system_->Sweep(call.lane(), deadline);
  loan = attachment.TakeLoan(call.lane(), &system_->heap(), deadline);
  if (!loan) return BlockResult::kFull;
  const BlockResult result =
      system_->heap().AllocateTo(call.lane(), loan, size_bytes, shm::kCacheLine, deadline);
  if (result != BlockResult::kOk) {
    attachment.loans().Return(loan);
    loan = {};
  }
  return result;
}

absl::StatusOr<ZeroCopyWriter> ChannelState::Reserve(uint32_t type, uint64_t size_bytes,
                                                     Deadline deadline) {
  if (auto ready = system_->Ready(); !ready.ok()) return ready;
  if (queue_.IsClosed()) return SendError(PushResult::kClosed);
  shm::Attachment& attachment = system_->attachment();
  if (size_bytes > attachment.view().size_bytes()) {
    return ReserveError(BlockResult::kTooLarge, size_bytes);
  }
  const uint64_t block_bytes = BlockBytes(size_bytes);
  shm::LoanRef loan;
  BlockResult result = AllocateOnce(loan, block_bytes, deadline);
  // Memory comes back when somebody frees it, or died holding it; nobody tells, so look again.
  for (shm::Word32 nobody_wakes{0}; result == BlockResult::kFull;) {
    const bool came_back = attachment.RepairAll() > 0;
    const int64_t now = attachment.platform().NowNs();
    if (!came_back && deadline.PassedAt(now)) break;
    if (!came_back) {
      attachment.platform().WaitWord(nobody_wakes, 0, 1,
                                     deadline.Before(now + kMemorySliceNs).monotonic_ns());
    }
    result = AllocateOnce(loan, block_bytes, deadline);
  }
  if (result != BlockResult::kOk) return ReserveError(result, size_bytes);
  const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
  std::byte* payload = attachment.view().Bytes(block + payload_offset(), size_bytes);
  if (payload == nullptr && size_bytes != 0) {
    system_->ReleaseLoan(loan);
    return ReserveError(BlockResult::kCorrupt, size_bytes);
  }
  return ZeroCopyWriter(shared_from_this(), loan, payload, size_bytes, type);
}

// Gives the tail of a block back before the block leaves the loan: afterwards it is the receiver's.
// Only where the push that follows will probably succeed, so that a writer whose commit is refused
// keeps what it has.
void ChannelState::Shrink(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes,
                          uint64_t& capacity, Deadline deadline) noexcept {
  const queue::SharedQueueData& data = queue_.handle().ring().data();
  const uint64_t tail = data.tail.load(std::memory_order_relaxed);  // a guess
  const uint64_t head = data.head.load(std::memory_order_relaxed);  // a guess
  if (queue_.IsClosed() || queue::TicketDistance(tail, head) >= queue_.capacity()) return;
  const int64_t now = system_->attachment().platform().NowNs();
  const BlockResult shrunk = system_->heap().Shrink(lane, loan, BlockBytes(size_bytes),
                                                    deadline.Before(now + kShrinkPatienceNs));
  if (shrunk == BlockResult::kOk) capacity = size_bytes;
}

PushResult ChannelState::TryCommit(shm::LoanRef loan, MessageDescriptor& descriptor,
                                   uint64_t& capacity, queue::PushInfo& info,
                                   Deadline deadline) noexcept {
  shm::Attachment& attachment = system_->attachment();
  shm::Call call = system_->Enter(kCallSend, deadline);
  if (!call) return system_->usable() ? PushResult::kPending : PushResult::kClosed;
  system_->Sweep(call.lane(), deadline);
  if (descriptor.size_bytes < capacity) {
    Shrink(call.lane(), loan, descriptor.size_bytes, capacity, deadline);
  }
  descriptor.timestamp_ns = static_cast<uint64_t>(attachment.platform().NowNs());
  const PushResult result = queue_.TryPush(call.lane(), descriptor, loan, &info);
  if (result == PushResult::kOk) {
    attachment.loans().Return(loan);
  } else {
    system_->heap().HearRequests(call.lane());  // who waits keeps nothing that others need
  }
  return result;
}

absl::StatusOr<uint64_t> ChannelState::Commit(shm::LoanRef loan, MessageDescriptor& descriptor,
                                              uint64_t& capacity, Deadline deadline) {
  if (auto ready = system_->Ready(); !ready.ok()) return ready;
  const shm::Attachment& attachment = system_->attachment();
  descriptor.block = loan->block.load(std::memory_order_relaxed);  // own loan
  descriptor.SetPayload(payload_offset(), 0);
  descriptor.SetSource(attachment.slot(), attachment.generation());
  queue::QueueWait wait(queue_.handle(), queue::WaitSide::kPush, deadline);
  for (;;) {
    queue::PushInfo info;
    const PushResult result = TryCommit(loan, descriptor, capacity, info, deadline);
    if (result == PushResult::kOk) return info.ticket;
    if (!queue::MayChange(result)) return SendError(result);
    if (deadline.now()) {
      if (result == PushResult::kFull) queue_.handle().CountRejected();
      return SendError(result);
    }
    if (!wait.Next(result == PushResult::kPending, info.stalled_on)) {
      return SendError(PushResult::kTimeout);
    }
  }
}

PopResult ChannelState::TryReceive(MessageDescriptor& descriptor, shm::LoanRef& loan,
                                   queue::PopInfo& info, Deadline deadline) noexcept {
  shm::Attachment& attachment = system_->attachment();
  shm::Call call = system_->Enter(kCallReceive, deadline);
  if (!call) return system_->usable() ? PopResult::kPending : PopResult::kClosed;
  system_->Sweep(call.lane(), deadline);
  loan = attachment.TakeLoan(call.lane(), &system_->heap(), deadline);
  if (!loan) return PopResult::kEmpty;
  const PopResult result = queue_.TryPop(call.lane(), descriptor, loan, &info);
  if (result != PopResult::kOk) {
    attachment.loans().Return(loan);
    system_->heap().HearRequests(call.lane());  // who waits keeps nothing that others need
  }
  return result;
}

absl::StatusOr<MessageHandle> ChannelState::Receive(Deadline deadline) {
  if (auto ready = system_->Ready(); !ready.ok()) return ready;
  queue::QueueWait wait(queue_.handle(), queue::WaitSide::kPop, deadline);
  for (;;) {
    MessageDescriptor descriptor;
    queue::PopInfo info;
    shm::LoanRef loan;
    const PopResult result = TryReceive(descriptor, loan, info, deadline);
    if (result == PopResult::kOk) return Accept(descriptor, loan, info.attempts);
    if (!loan && result == PopResult::kEmpty) {
      return shm::Error(absl::StatusCode::kResourceExhausted,
                        "no loan is left for another message of channel '" + name_ +
                            "': release some of those that are held");
    }
    if (!queue::MayChange(result) || deadline.now()) return ReceiveError(result);
    if (!wait.Next(result == PopResult::kPending, info.stalled_on)) {
      return ReceiveError(PopResult::kTimeout);
    }
  }
}

absl::StatusOr<MessageHandle> ChannelState::Accept(const MessageDescriptor& descriptor,
                                                   shm::LoanRef loan, uint32_t attempt) {
  // TRUST: the payload must lie inside a block in use, which is what the loan holds.
  const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
  const uint64_t room = system_->heap().BlockSize(block);
  const uint64_t offset = descriptor.payload_offset();
  const bool fits = block == descriptor.block && offset <= room &&
                    descriptor.size_bytes <= room - offset && offset == payload_offset();
  const std::byte* payload =
      fits ? system_->attachment().view().Bytes(block + offset, descriptor.size_bytes) : nullptr;
  if (!fits || (payload == nullptr && descriptor.size_bytes != 0)) {
    loan->lease.store(0, std::memory_order_release);  // not to be offered to the next one
    system_->ReleaseLoan(loan);
    return ReceiveError(PopResult::kCorrupt);
  }
  return MessageHandle(shared_from_this(), loan, descriptor, payload, attempt);
}

absl::Status ChannelState::Close() {
  if (auto ready = system_->Ready(); !ready.ok()) return ready;
  queue_.Close();
  return absl::OkStatus();
}

ChannelInfo ChannelState::Info() {
  ChannelInfo info;
  info.name = name_;
  info.capacity = queue_.capacity();
  info.acknowledged = queue_.leased();
  info.closed = queue_.IsClosed();
  const queue::QueueStatistics statistics = queue_.Statistics();
  info.waiting = statistics.waiting + statistics.returned;
  info.sent = statistics.pushed;
  info.redelivered = statistics.redelivered;
  if (auto holders = system_->names().holders(name_); holders.ok()) info.participants = *holders;
  return info;
}

// Full, empty and late are answers, not surprises: their Status has no text and allocates nothing.

absl::Status ChannelState::SendError(PushResult result) const {
  switch (result) {
    case PushResult::kFull:
      return absl::Status(absl::StatusCode::kResourceExhausted, "");
    case PushResult::kPending:
      return Pending();
    case PushResult::kTimeout:
      return absl::Status(absl::StatusCode::kDeadlineExceeded, "");
    case PushResult::kClosed:
      if (auto ready = system_->Ready(); !ready.ok()) return ready;
      return shm::Error(absl::StatusCode::kFailedPrecondition,
                        "channel '" + name_ + "' is closed: nothing more can be sent to it");
    default:
      return shm::Error(absl::StatusCode::kDataLoss,
                        "channel '" + name_ + "' is damaged: run `thole check`",
                        ErrorKind::kDamaged);
  }
}

absl::Status ChannelState::ReceiveError(PopResult result) const {
  switch (result) {
    case PopResult::kEmpty:
      return absl::Status(absl::StatusCode::kUnavailable, "");
    case PopResult::kPending:
      return Pending();
    case PopResult::kTimeout:
      return absl::Status(absl::StatusCode::kDeadlineExceeded, "");
    case PopResult::kClosed:
      if (auto ready = system_->Ready(); !ready.ok()) return ready;
      return absl::Status(absl::StatusCode::kOutOfRange, "");
    default:
      return shm::Error(absl::StatusCode::kDataLoss,
                        "channel '" + name_ + "' is damaged: run `thole check`",
                        ErrorKind::kDamaged);
  }
}

absl::Status ChannelState::ReserveError(BlockResult result, uint64_t size_bytes) const {
  const std::string what =
      "a message of " + std::to_string(size_bytes) + " bytes for channel '" + name_ + "'";
  switch (result) {
    case BlockResult::kFull:
      return absl::Status(absl::StatusCode::kResourceExhausted, "");
    case BlockResult::kBusy:
      return absl::Status(absl::StatusCode::kDeadlineExceeded, "");
    case BlockResult::kTooLarge:
      return shm::Error(absl::StatusCode::kInvalidArgument,
                        what +
                            " can never fit into this segment: send it in pieces, or create the "
                            "segment larger");
    default:
      return shm::Error(absl::StatusCode::kDataLoss,
                        what + " found the heap damaged: run `thole check`", ErrorKind::kDamaged);
  }
}

}  // namespace thole::comm
