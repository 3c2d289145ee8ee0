// The segment that the image targets damage: as small as it can be, with something of everything in
// it. Two participants died: one holds a buffer and gave a message back, the other one has a
// message on lease and another half written. Messages wait, also in a channel that was closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/fake_kernel.h"

namespace thole::fuzz {

inline constexpr uint64_t kImageBytes = uint64_t{24} << 10;
/// One lane: what is audited most are loans, and more of the same finds nothing more.
inline constexpr shm::SegmentOptions kImageShape{
    .size_bytes = kImageBytes, .participants_max = 2, .lanes_per_participant = 1};
inline constexpr uint32_t kImageEntries = 8;
/// The chains of its registry as words of the image: the bucket, and the entry that it names.
/// `seeds.py` reads them here, a test compares them with the image.
struct ImageChain {
  uint64_t bucket;
  uint64_t entry;
};
inline constexpr ImageChain kImageChains[] = {{1910, 1920}, {1907, 1944}, {1905, 1992}};

/// Memory for one image, page-aligned and alone, so that an access beside it is seen by
/// AddressSanitizer. The same in every run.
class Image {
 public:
  Image();
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  std::span<std::byte> bytes() const { return {memory_, kImageBytes}; }
  shm::Place place() const { return shm::Place::Memory(memory_, kImageBytes); }
  /// An attachment to it that has not joined; `kernel` says who lives.
  absl::StatusOr<std::shared_ptr<shm::Attachment>> Attach(
      std::shared_ptr<shm::testing::FakeKernel> kernel) const;
  /// The same with a seat and a system, in a kernel in which nobody else lives.
  absl::StatusOr<comm::UnifiedCommunicationSystem> Open() const;
  absl::StatusOr<comm::UnifiedCommunicationSystem> Open(
      std::shared_ptr<shm::testing::FakeKernel> kernel) const;

 private:
  std::byte* memory_;
};

/// What it is laid out for: the roots of a system, with fewer names.
std::vector<shm::RootRequest> ImageRoots();
/// Its bytes; the same in every run of a program.
std::vector<std::byte> MakeReference();
/// The reference segment in its image, whole again at the beginning of each run.
class ReferenceStage {
 public:
  /// A kernel in which nobody lives yet: both participants of the segment are dead.
  std::shared_ptr<shm::testing::FakeKernel> Begin();
  const Image& image() const { return image_; }

 private:
  const Image image_;
  const std::vector<std::byte> reference_ = MakeReference();
};
/// One system does a bit of everything, without waiting: nothing is expected to succeed.
void UseAll(comm::UnifiedCommunicationSystem& system);

}  // namespace thole::fuzz
