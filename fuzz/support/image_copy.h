// ImageCopy: the bytes of an image without its zeros, to be put back quickly. Compiled without
// instrumentation, unlike all that runs in the simulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace thole::fuzz {

class ImageCopy {
 public:
  /// As SimStage notes what is written to.
  static constexpr size_t kPieceBytes = 512;

  ImageCopy() = default;
  explicit ImageCopy(std::span<const std::byte> image);
  /// `before` is the copy that was put back last, null if that is not known; `written` says which
  /// pieces were written to since then.
  void PutBack(std::span<std::byte> image, const ImageCopy* before,
               std::span<const uint8_t> written) const;
  size_t bytes() const { return bytes_.size(); }
  friend bool operator==(const ImageCopy&, const ImageCopy&) = default;

 private:
  std::vector<uint8_t> there_;  // by piece: not all zero
  std::vector<std::byte> bytes_;
};

/// Of the written pieces.
uint64_t HashOf(std::span<const std::byte> image, std::span<const uint8_t> written);

}  // namespace thole::fuzz
