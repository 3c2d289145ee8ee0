#include "heap.h"

#include <memory>
#include <string>

#include "thole/alloc/persistent_tlsf_allocator.h"

namespace thole::alloc {
namespace {

using shm::ComponentId;
using shm::RootData;
using shm::SegmentView;

struct Bounds {
  uint32_t first;
  uint32_t sentinel;
};

// First block and sentinel of a blocks root, if it has room for one block.
std::optional<Bounds> BoundsOf(const RootData& root) {
  const uint64_t first = shm::RoundUp(root.offset, kUnitBytes) / kUnitBytes;
  const uint64_t end = (root.offset + root.size_bytes) / kUnitBytes;
  if (end > uint64_t{UINT32_MAX} + 1 || first == 0) return std::nullopt;
  if (end < first + kBlockUnitsMin + 1) return std::nullopt;
  return Bounds{static_cast<uint32_t>(first), static_cast<uint32_t>(end - 1)};
}

absl::Status Damaged(const std::string& what) {
  return shm::Error(absl::StatusCode::kDataLoss, what + ": the segment is damaged, make a new one",
                    ErrorKind::kDamaged);
}

// The stores of the format are plain in meaning: nobody else can see the segment yet.
constexpr auto kUnseen = std::memory_order_relaxed;

absl::Status FormatBlocks(SegmentView view, const RootData& root, uint64_t control_offset) {
  auto* data = view.At<HeapData>(control_offset);
  const auto bounds = BoundsOf(root);
  if (data == nullptr || !bounds) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "no room for a heap: make the segment larger");
  }
  const uint32_t first = bounds->first;
  const uint32_t size = bounds->sentinel - first;
  const HeaderWord block{size, BlockKind::kFree, 0, 0, 0, HeaderCheck(first, size)};
  const HeaderWord end{1, BlockKind::kSentinel, 0, 0, 0, HeaderCheck(bounds->sentinel, 1)};
  view.At<FreeBlockData>(first * kUnitBytes)->header.word.store(block.Pack(), kUnseen);  // unseen
  auto* sentinel = view.At<BlockHeaderData>(bounds->sentinel * kUnitBytes);
  sentinel->word.store(end.Pack(), kUnseen);  // unseen
  sentinel->prev.store(size, kUnseen);        // unseen
  const SizeClass list = ClassOf(size);
  data->heads[list.row][list.column].store(first, kUnseen);        // unseen
  data->second_level[list.row].store(1u << list.column, kUnseen);  // unseen
  data->first_level.store(1u << list.row, kUnseen);                // unseen
  data->peak_and_free.store(CountPair{0, 1}.Pack(), kUnseen);      // unseen
  data->layout = kHeapLayout;
  return absl::OkStatus();
}

}  // namespace

std::vector<shm::RootRequest> PersistentTlsfAllocator::Roots() {
  // The blocks are formatted after the control words and must find them.
  auto control_offset = std::make_shared<uint64_t>(0);
  shm::RootRequest control{.component = ComponentId::kAlloc,
                           .kind = kControlRoot,
                           .size_bytes = sizeof(HeapData),
                           .align = alignof(HeapData),
                           .name = "heap control",
                           .lane_area_bytes = sizeof(MagazinesData),
                           .format = [control_offset](SegmentView, const RootData& root) {
                             *control_offset = root.offset;
                             return absl::OkStatus();
                           }};
  shm::RootRequest blocks{.component = ComponentId::kAlloc,
                          .kind = kBlocksRoot,
                          .size_bytes = shm::kRestOfSegment,
                          .align = shm::kCacheLine,
                          .name = "heap",
                          .format = [control_offset](SegmentView view, const RootData& root) {
                            return FormatBlocks(view, root, *control_offset);
                          }};
  return {std::move(control), std::move(blocks)};
}

namespace {

// Where in each lane the magazines lie.
std::optional<uint64_t> MagazinesIn(const shm::Segment& segment) {
  // TRUST: the area by LaneArea, its size by the view; all lanes are alike, so the last one too.
  shm::LaneData* lane =
      segment.LaneAt(segment.participants_max() - 1, segment.lanes_per_participant() - 1);
  const void* area = lane == nullptr ? nullptr : segment.LaneArea(lane, ComponentId::kAlloc);
  if (area == nullptr) return std::nullopt;
  const uint64_t offset = segment.view().OffsetOf(area);
  if (segment.view().At<MagazinesData>(offset) == nullptr) return std::nullopt;
  return offset - segment.view().OffsetOf(lane);
}

}  // namespace

absl::StatusOr<Heap> Heap::In(const shm::Segment& segment) {
  const auto control = segment.Root(ComponentId::kAlloc, kControlRoot);
  const auto blocks = segment.Root(ComponentId::kAlloc, kBlocksRoot);
  if (!control || !blocks) {
    return shm::Error(
        absl::StatusCode::kNotFound,
        segment.place().Describe() +
            " has no heap: create it with the roots of PersistentTlsfAllocator::Roots()");
  }
  // TRUST: the roots were checked against the view by Root(); their sizes here.
  auto* data = segment.view().At<HeapData>(control->offset);
  if (data == nullptr || control->size_bytes < sizeof(HeapData)) {
    return Damaged("the heap's control words do not fit into their root");
  }
  const auto bounds = BoundsOf(*blocks);
  if (!bounds) return Damaged("the heap's root has no room for a block");
  const auto magazines = MagazinesIn(segment);
  if (!magazines) return Damaged("the lanes have no room for magazines");
  if (data->layout != kHeapLayout) {
    return shm::Error(absl::StatusCode::kUnimplemented,
                      "the heap of " + segment.place().Describe() + " has layout " +
                          std::to_string(data->layout) + ", this library has " +
                          std::to_string(kHeapLayout) + ": use the library that made it",
                      ErrorKind::kOtherVersion);
  }
  return Heap(segment.view(), data, bounds->first, bounds->sentinel, *magazines);
}

std::optional<Block> Heap::ReadCached(const MagazinesData& magazines,
                                      uint32_t magazine) const noexcept {
  // TRUST: first by Read; the block by its kind and by where it belongs.
  const MagazineHead head = MagazineHead::Unpack(
      magazines.heads[magazine].load(std::memory_order_relaxed));  // own lane, or P-b
  if (head.blocks == 0) return std::nullopt;
  const auto block = Read(head.first);
  if (!block || block->kind() != BlockKind::kCached) return std::nullopt;
  if (MagazineOf(block->unit, block->bits) != magazine) return std::nullopt;
  return block;
}

}  // namespace thole::alloc
