#include "thole/registry/buffer_handle.h"

#include "thole/registry/shared_buffer_registry.h"

namespace thole::registry {

BufferHandle& BufferHandle::operator=(BufferHandle&& other) noexcept {
  if (this == &other) return *this;
  Release();
  registry_ = std::move(other.registry_);
  name_ = std::move(other.name_);
  place_ = other.place_;
  data_ = other.data_;
  other.registry_ = nullptr;
  other.data_ = nullptr;
  other.place_ = {};
  other.name_.clear();
  return *this;
}

std::span<std::byte> BufferHandle::bytes() const& {
  if (registry_ == nullptr || registry_->attachment_->forked()) return {};
  return {data_, place_.size_bytes};
}

void BufferHandle::Release() noexcept {
  if (registry_ == nullptr) return;
  registry_->DropHandle(place_);
  registry_ = nullptr;
  data_ = nullptr;
  place_ = {};
}

}  // namespace thole::registry
