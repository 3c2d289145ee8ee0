// BufferHandle: one reference to a named buffer, given back when it is dropped.
//
//   #include <thole/registry/shared_buffer_registry.h>
//   struct Counters { uint64_t sent; uint64_t received; };
//   uint64_t Sent(thole::registry::SharedBufferRegistry& registry) {
//     auto buffer = registry.Acquire("counters");
//     if (!buffer.ok()) return 0;
//     const Counters* counters = buffer->As<Counters>();
//     return counters == nullptr ? 0 : counters->sent;
//   }
//
// Guarantees. Move-only. The destructor never fails and never blocks: where the registry is locked
// by somebody else the release is remembered and made up for by the next call. Killing the process
// releases all its handles. In a forked child a handle is empty and its destructor does nothing.
// What the bytes mean, and who may write them when, is the users' affair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "thole/shm/name_source.h"

namespace thole::registry {

class SharedBufferRegistry;

/// Types that keep their meaning in another process: no pointer of their own, no constructor needed
/// to copy them.
template <class T>
concept ShmSafe =
    std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
    std::is_trivially_destructible_v<T> && !std::is_pointer_v<T> && !std::is_reference_v<T>;

class [[nodiscard]] BufferHandle {
 public:
  BufferHandle() = default;
  BufferHandle(BufferHandle&& other) noexcept { *this = std::move(other); }
  BufferHandle& operator=(BufferHandle&& other) noexcept;
  ~BufferHandle() { Release(); }

  /// The payload; empty when moved from or in a forked child.
  std::span<std::byte> bytes() const&;
  std::span<std::byte> bytes() const&& = delete;  // the bytes would outlive their handle
  /// The payload as a T, or nullptr when it is too small or not aligned for one.
  template <ShmSafe T>
  T* As() const& {
    const std::span<std::byte> all = bytes();
    if (all.size() < sizeof(T)) return nullptr;
    void* data = all.data();
    return (place_.offset % alignof(T)) == 0 ? static_cast<T*>(data) : nullptr;
  }
  template <ShmSafe T>
  T* As() const&& = delete;

  const std::string& name() const { return name_; }
  uint64_t size() const { return place_.size_bytes; }
  uint64_t type_id() const { return place_.type_id; }
  const shm::NamedPlace& place() const { return place_; }
  /// False when moved from or released.
  explicit operator bool() const { return registry_ != nullptr; }

  /// Gives the reference back now.
  void Release() noexcept;

 private:
  friend class SharedBufferRegistry;
  BufferHandle(std::shared_ptr<SharedBufferRegistry> registry, std::string_view name,
               const shm::NamedPlace& place, std::byte* data)
      : registry_(std::move(registry)), name_(name), place_(place), data_(data) {}

  std::shared_ptr<SharedBufferRegistry> registry_;
  std::string name_;
  shm::NamedPlace place_;
  std::byte* data_ = nullptr;
};

}  // namespace thole::registry
