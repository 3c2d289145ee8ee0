// SimStage: what costs system calls to set up for a simulator - mappings of one image, stacks of
// fibers - so that several runs, also of different programs, can borrow it one after the other.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fiber.h"

namespace thole::shm::testing {

inline constexpr uint32_t kFibersMax = 16;
inline uint64_t AddressOf(const volatile void* pointer) { return std::bit_cast<uint64_t>(pointer); }

class SimStage {
 public:
  /// The image is noted as written to in pieces of so many bytes.
  static constexpr uint64_t kPieceBytes = 512;

  explicit SimStage(uint64_t image_bytes_max);
  ~SimStage();
  SimStage(const SimStage&) = delete;
  SimStage& operator=(const SimStage&) = delete;

  /// The mapping of a fiber; all show the same bytes.
  std::byte* view(uint32_t fiber) const { return arena_ + fiber * stride_; }
  std::byte* arena() const { return arena_; }
  uint64_t arena_bytes() const { return stride_ * kFibersMax; }
  uint64_t bytes_max() const { return bytes_max_; }
  uint64_t stride() const { return stride_; }  // a power of two
  Fiber& fiber(uint32_t fiber) { return *fibers_[fiber]; }

  /// The pieces that fibers wrote to; whoever puts them back as they were clears them.
  std::vector<uint8_t>& written() { return written_; }
  void NoteWrite(uint64_t offset, uint64_t bytes) {
    const uint64_t last = (offset + bytes - 1) / kPieceBytes;
    for (uint64_t piece = offset / kPieceBytes; piece <= last; ++piece) written_[piece] = 1;
  }

 private:
  uint64_t bytes_max_;
  uint64_t stride_;
  std::byte* arena_;
  std::vector<uint8_t> written_;
  std::array<std::unique_ptr<Fiber>, kFibersMax> fibers_;
};

}  // namespace thole::shm::testing
