#include "thole/alloc/own_heap.h"

namespace thole::alloc {
namespace {

// Only threads of this process come: one seat, a lane for each of eight threads.
constexpr uint32_t kSeats = 1;
constexpr uint32_t kLanes = 8;

absl::StatusOr<OwnHeap> JoinOn(absl::StatusOr<shm::Segment> segment, const HeapOptions& options) {
  if (!segment.ok()) return segment.status();
  auto attachment = shm::Attachment::Make(*std::move(segment), shm::MakePrivatePlatform());
  if (!attachment.ok()) return attachment.status();
  auto heap = PersistentTlsfAllocator::Open(*attachment, options);
  if (!heap.ok()) return heap.status();
  if (auto joined = (*attachment)->Join("own heap"); !joined.ok()) return joined;
  return OwnHeap{*std::move(attachment), *std::move(heap)};
}

}  // namespace

absl::StatusOr<OwnHeap> CreateOnMapping(void* base, uint64_t size_bytes,
                                        const HeapOptions& options) {
  const shm::SegmentOptions one_seat{
      .size_bytes = size_bytes, .participants_max = kSeats, .lanes_per_participant = kLanes};
  return JoinOn(shm::Segment::Create(shm::Place::Memory(base, size_bytes), one_seat,
                                     PersistentTlsfAllocator::Roots()),
                options);
}

absl::StatusOr<OwnHeap> AttachToMapping(void* base, uint64_t size_bytes,
                                        const HeapOptions& options) {
  return JoinOn(shm::Segment::Open(shm::Place::Memory(base, size_bytes), {}), options);
}

}  // namespace thole::alloc
