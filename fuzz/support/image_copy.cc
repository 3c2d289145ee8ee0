#include "image_copy.h"

#include <array>
#include <cstring>

namespace thole::fuzz {
namespace {

constexpr size_t kPiece = ImageCopy::kPieceBytes;
using Words = std::array<uint64_t, kPiece / 8>;

bool IsZero(const std::byte* piece) {
  Words words;
  std::memcpy(&words, piece, kPiece);
  uint64_t all = 0;
  for (const uint64_t word : words) all |= word;
  return all == 0;
}

}  // namespace

ImageCopy::ImageCopy(std::span<const std::byte> image) : there_(image.size() / kPiece) {
  for (size_t i = 0; i < there_.size(); ++i) {
    const std::byte* piece = image.data() + i * kPiece;
    if (IsZero(piece)) continue;
    there_[i] = 1;
    bytes_.insert(bytes_.end(), piece, piece + kPiece);
  }
}

void ImageCopy::PutBack(std::span<std::byte> image, const ImageCopy* before,
                        std::span<const uint8_t> written) const {
  const bool same = before == this;
  const std::byte* from = bytes_.data();
  for (size_t i = 0; i < there_.size(); ++i) {
    std::byte* to = image.data() + i * kPiece;
    if (there_[i] != 0) {
      if (!same || written[i] != 0) std::memcpy(to, from, kPiece);
      from += kPiece;
    } else if (written[i] != 0 || (!same && (before == nullptr || before->there_[i] != 0))) {
      std::memset(to, 0, kPiece);
    }
  }
}

uint64_t HashOf(std::span<const std::byte> image, std::span<const uint8_t> written) {
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  uint64_t hash = 0;
  for (size_t i = 0; i < written.size(); ++i) {
    if (written[i] == 0) continue;
    Words words;
    std::memcpy(&words, image.data() + i * kPiece, kPiece);
    uint64_t lanes[4] = {i, 1, 2, 3};  // apart, so that the multiplications overlap
    for (size_t w = 0; w < words.size(); w += 4) {
      for (size_t lane = 0; lane < 4; ++lane) {
        lanes[lane] = (lanes[lane] ^ words[w + lane]) * kFactor;
        lanes[lane] ^= lanes[lane] >> 29;
      }
    }
    for (const uint64_t lane : lanes) hash = (hash ^ lane) * kFactor + (hash >> 31);
  }
  return hash;
}

}  // namespace thole::fuzz
