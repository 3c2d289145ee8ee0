#include "thole/comm/zero_copy_writer.h"

#include "channel_state.h"

namespace thole::comm {

ZeroCopyWriter::ZeroCopyWriter(std::shared_ptr<ChannelState> channel, shm::LoanRef loan,
                               std::byte* payload, uint64_t capacity, uint32_t type)
    : channel_(std::move(channel)),
      loan_(loan),
      payload_(payload),
      capacity_(capacity),
      type_(type) {}

ZeroCopyWriter& ZeroCopyWriter::operator=(ZeroCopyWriter&& other) noexcept {
  if (this == &other) return *this;
  Rollback();
  channel_ = std::move(other.channel_);
  other.channel_ = nullptr;
  loan_ = std::exchange(other.loan_, {});
  payload_ = std::exchange(other.payload_, nullptr);
  capacity_ = std::exchange(other.capacity_, 0);
  type_ = other.type_;
  correlation_ = other.correlation_;
  return *this;
}

std::span<std::byte> ZeroCopyWriter::bytes() & {
  if (channel_ == nullptr || channel_->system().attachment().forked()) return {};
  return {payload_, capacity_};
}

void ZeroCopyWriter::Rollback() noexcept {
  if (channel_ == nullptr) return;
  channel_->system().ReleaseLoan(loan_);
  channel_ = nullptr;
  loan_ = {};
  payload_ = nullptr;
  capacity_ = 0;
}

absl::StatusOr<uint64_t> ZeroCopyWriter::CommitPrefix(uint64_t size_bytes, shm::Deadline deadline) {
  if (channel_ == nullptr) {
    return shm::Error(absl::StatusCode::kFailedPrecondition,
                      "this writer is empty: it was committed, rolled back or moved from");
  }
  if (size_bytes > capacity_) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "cannot commit " + std::to_string(size_bytes) + " bytes of a writer with " +
                          std::to_string(capacity_));
  }
  queue::MessageDescriptor descriptor{};
  descriptor.size_bytes = size_bytes;
  descriptor.type = type_;
  descriptor.correlation = correlation_;
  auto sent = channel_->Commit(loan_, descriptor, capacity_, deadline);
  if (!sent.ok()) return sent;
  channel_ = nullptr;
  loan_ = {};
  payload_ = nullptr;
  capacity_ = 0;
  return sent;
}

}  // namespace thole::comm
