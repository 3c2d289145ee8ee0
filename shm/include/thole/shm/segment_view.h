// SegmentView: the only place where an offset becomes a pointer.
//
// Offsets are 64-bit distances from the segment's base; 0 is null. Every process maps the segment
// at its own address, so no pointer is ever stored in it.
//
//   #include <thole/shm/segment_view.h>
//   const thole::shm::Word64* Find(thole::shm::SegmentView view, uint64_t offset) {
//     return view.At<thole::shm::Word64>(offset);  // nullptr: outside, null or misaligned
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thole/shm/word.h"

namespace thole::shm {

/// A mapping's base and its trusted size (the smaller of header size and file size). A value; owns
/// nothing; thread-safe. Each call is a few instructions.
class SegmentView {
 public:
  constexpr SegmentView() = default;
  SegmentView(void* base, uint64_t size_bytes)
      : base_(static_cast<std::byte*>(base)), size_bytes_(size_bytes) {}

  /// The object at `offset`, or nullptr if it would be null, misaligned or not wholly inside.
  template <class T>
  T* At(uint64_t offset) const {
    return Array<T>(offset, 1);
  }
  /// `count` objects at `offset`, or nullptr as above. `count` may come from the segment.
  template <class T>
  T* Array(uint64_t offset, uint64_t count) const {
    static_assert(std::is_standard_layout_v<T>);
    if (offset == 0 || offset % alignof(T) != 0 || offset >= size_bytes_) return nullptr;
    if (count > (size_bytes_ - offset) / sizeof(T)) return nullptr;
    return reinterpret_cast<T*>(base_ + offset);
  }
  /// Plain payload bytes, or nullptr as above.
  std::byte* Bytes(uint64_t offset, uint64_t count) const {
    return Array<std::byte>(offset, count);
  }
  /// The object at an offset of which was shown before that such an object lies there. Whoever
  /// calls this says where; on paths where each instruction counts.
  template <class T>
  T* Shown(uint64_t offset) const {
    static_assert(std::is_standard_layout_v<T>);
    return reinterpret_cast<T*>(base_ + offset);
  }
  /// The distance of an object of this mapping from its base. `object` must lie inside.
  uint64_t OffsetOf(const void* object) const {
    return static_cast<uint64_t>(static_cast<const std::byte*>(object) - base_);
  }
  bool Contains(const void* object) const {
    return object >= base_ && object < base_ + size_bytes_;
  }

  std::byte* base() const { return base_; }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* base_ = nullptr;
  uint64_t size_bytes_ = 0;
};

/// The low half of a 64-bit word, on which the kernel can wait.
inline Word32& LowHalf(Word64& word) { return *reinterpret_cast<Word32*>(&word); }

}  // namespace thole::shm
