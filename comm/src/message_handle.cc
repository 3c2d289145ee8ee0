#include "thole/comm/message_handle.h"

#include "channel_state.h"
#include "thole/shm/crash_point.h"

namespace thole::comm {

MessageHandle::MessageHandle(std::shared_ptr<ChannelState> channel, shm::LoanRef loan,
                             const queue::MessageDescriptor& descriptor, const std::byte* payload,
                             uint32_t attempt)
    : channel_(std::move(channel)),
      loan_(loan),
      descriptor_(descriptor),
      payload_(payload),
      attempt_(attempt) {}

MessageHandle& MessageHandle::operator=(MessageHandle&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  channel_ = std::move(other.channel_);
  other.channel_ = nullptr;
  loan_ = std::exchange(other.loan_, {});
  descriptor_ = std::exchange(other.descriptor_, {});
  payload_ = std::exchange(other.payload_, nullptr);
  attempt_ = std::exchange(other.attempt_, 0);
  return *this;
}

std::span<const std::byte> MessageHandle::bytes() const& {
  if (channel_ == nullptr || channel_->system().attachment().forked()) return {};
  return {payload_, descriptor_.size_bytes};
}

void MessageHandle::Drop() noexcept {
  if (channel_ == nullptr) return;
  shm::Attachment& attachment = channel_->system().attachment();
  // Release our reads before the last one frees, acquire the others' before we do.
  if (!attachment.forked() &&
      attachment.loans().Shares(loan_).fetch_sub(1, std::memory_order_acq_rel) == 0) {  // clones
    channel_->system().ReleaseLoan(loan_);
  }
  channel_ = nullptr;
  loan_ = {};
  descriptor_ = {};
  payload_ = nullptr;
  attempt_ = 0;
}

MessageHandle MessageHandle::Clone() const {
  if (channel_ == nullptr) return {};
  shm::LoanTable& loans = channel_->system().attachment().loans();
  loans.Shares(loan_).fetch_add(1, std::memory_order_relaxed);  // this handle keeps it alive
  return MessageHandle(channel_, loan_, descriptor_, payload_, attempt_);
}

absl::Status MessageHandle::Ack() {
  if (channel_ == nullptr) {
    return shm::Error(absl::StatusCode::kFailedPrecondition,
                      "this message handle is empty: it was moved from or released");
  }
  // Without a lane, so that it never waits for one: the seat must not go in the middle of it.
  const SystemState::StayGuard stay(channel_->system());
  if (auto ready = channel_->system().Ready(); !ready.ok()) return ready;
  loan_->lease.store(0, std::memory_order_release);  // ack.1 COMMIT: after all we did with it
  THOLE_CRASH_POINT("comm.ack.1");
  return absl::OkStatus();
}

}  // namespace thole::comm
