#include "thole/comm/channel.h"

#include <cstring>

#include "channel_state.h"

namespace thole::comm {
namespace {

absl::Status MovedFrom() {
  return shm::Error(absl::StatusCode::kFailedPrecondition,
                    "this channel was moved from: use the one it was moved to");
}

}  // namespace

absl::Status Channel::SendBytes(uint32_t type, std::span<const std::byte> bytes,
                                shm::Deadline deadline) const {
  if (state_ == nullptr) return MovedFrom();
  auto writer = state_->Reserve(type, bytes.size(), deadline);
  if (!writer.ok()) return writer.status();
  if (!bytes.empty()) std::memcpy(writer->bytes().data(), bytes.data(), bytes.size());
  return writer->Commit(deadline).status();
}

absl::StatusOr<ZeroCopyWriter> Channel::SendZeroCopy(uint32_t type, uint64_t size_bytes,
                                                     shm::Deadline deadline) const {
  if (state_ == nullptr) return MovedFrom();
  return state_->Reserve(type, size_bytes, deadline);
}

absl::StatusOr<MessageHandle> Channel::Receive(shm::Deadline deadline) const {
  if (state_ == nullptr) return MovedFrom();
  return state_->Receive(deadline);
}

absl::Status Channel::Close() const { return state_ == nullptr ? MovedFrom() : state_->Close(); }

ChannelInfo Channel::Info() const { return state_ == nullptr ? ChannelInfo{} : state_->Info(); }

std::string_view Channel::name() const {
  return state_ == nullptr ? std::string_view() : state_->name();
}

}  // namespace thole::comm
