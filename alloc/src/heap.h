// Heap: where one heap's bytes lie, and reading them without believing them.
//
// A value without ownership: the door and the repair parts each keep one. Everything read from the
// segment is checked here, right after one load; what comes out of `Read...` may be used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "thole/alloc/heap_data.h"
#include "thole/alloc/magazine_data.h"
#include "thole/shm/block_source.h"
#include "thole/shm/segment.h"

namespace thole::alloc {

/// A block's header, read once and checked against the heap.
struct Block {
  uint64_t bits = 0;  // a packed HeaderWord
  BlockHeaderData* header = nullptr;
  uint32_t unit = 0;

  HeaderWord word() const { return HeaderWord::Unpack(bits); }
  uint32_t size() const { return word().size; }
  BlockKind kind() const { return word().kind; }
  uint32_t end() const { return unit + size(); }
  bool free() const { return kind() == BlockKind::kFree; }
};

/// How a call gets the heap's lock.
struct LockMode {
  shm::Deadline deadline = shm::Deadline::Now();
  bool try_only = false;  ///< never sleeps, never repairs: for destructors
};

/// What the magazines of one lane may hold of a heap: a small part, and not much of a cache.
constexpr uint32_t CachedUnitsMax(uint32_t heap_units) {
  constexpr uint32_t kPart = 256;
  constexpr uint32_t kLeast = 64;    // 1 KiB
  constexpr uint32_t kMost = 65536;  // 1 MiB
  return std::clamp(heap_units / kPart, kLeast, kMost);
}

/// Units of a block with `size_bytes` of payload, header included.
constexpr uint64_t UnitsFor(uint64_t size_bytes) {
  const uint64_t payload = size_bytes / kUnitBytes + (size_bytes % kUnitBytes != 0);
  return payload + 1;
}
static_assert(UnitsFor(1) == kBlockUnitsMin && UnitsFor(16) == 2 && UnitsFor(17) == 3);
static_assert(UnitsFor(UINT64_MAX) == (uint64_t{1} << 60) + 1, "no size overflows");

/// A request in units: the block with its header, and the alignment of its payload.
struct Request {
  uint64_t units;
  uint64_t align;  // a power of two; 1 = any unit
};
/// The request for a block of `size_bytes` whose payload is aligned; `units` 0: there is none.
inline Request RequestFor(uint64_t size_bytes, uint64_t align) noexcept {
  if (size_bytes == 0 || align == 0 || (align & (align - 1)) != 0) return {0, 0};
  if (align <= kUnitBytes) return Request{UnitsFor(size_bytes), 1};
  // Whole cache lines, so that the block behind it finds its place without a gap.
  const uint64_t step = align < shm::kCacheLine ? 1 : kLineUnits;
  return Request{shm::RoundUp(UnitsFor(size_bytes), step), align / kUnitBytes};
}

/// Where a block goes in the transaction that takes it out of the lists: into a holder, or on top
/// of the magazine of its size.
struct Receiver {
  shm::Word64* holder = nullptr;
  MagazinesData* magazines = nullptr;
};

class Heap {
 public:
  /// The heap of a segment. NotFound, DataLoss, Unimplemented.
  static absl::StatusOr<Heap> In(const shm::Segment& segment);

  HeapData& data() const { return *data_; }
  shm::SegmentView view() const { return view_; }
  uint32_t first() const { return first_; }        // unit of the first block
  uint32_t sentinel() const { return sentinel_; }  // unit behind the last block
  uint32_t units() const { return sentinel_ - first_; }

  /// The block at `unit`, or none: outside of the heap, or no header that can be.
  [[gnu::always_inline]] std::optional<Block> Read(uint32_t unit) const noexcept {
    // TRUST: unit by the heap's range; size by the room behind it; both by the check bits.
    if (unit < first_ || unit >= sentinel_) return std::nullopt;
    BlockHeaderData* header = HeaderAt(unit);
    const Block block{header->word.load(std::memory_order_acquire),  // A-a; lock holders: L1
                      header, unit};
    if (block.size() < kBlockUnitsMin || block.size() > sentinel_ - unit) return std::nullopt;
    if (block.word().check != HeaderCheck(unit, block.size())) return std::nullopt;
    return block;
  }
  /// The unit of a payload's offset; one that `Read` refuses when it cannot be any.
  uint32_t UnitOf(uint64_t offset) const noexcept {
    const uint64_t unit = offset / kUnitBytes - 1;
    return offset % kUnitBytes == 0 && unit < sentinel_ ? static_cast<uint32_t>(unit) : sentinel_;
  }
  /// The block in use whose payload begins at `offset`, or none.
  std::optional<Block> ReadUsed(uint64_t offset) const noexcept {
    const auto block = Read(UnitOf(offset));
    if (!block || block->kind() != BlockKind::kUsed) return std::nullopt;
    return block;
  }
  /// The header at a unit that was checked to be below or at the sentinel.
  BlockHeaderData* HeaderAt(uint32_t unit) const noexcept {
    return view_.Shown<BlockHeaderData>(unit * kUnitBytes);  // the whole heap lies inside: In
  }
  /// The link of a FREE or CACHED block that was read.
  shm::Word64& LinkOf(uint32_t unit) const noexcept {
    return view_.Shown<FreeBlockData>(unit * kUnitBytes)->link;  // two units or more: Read
  }
  /// The magazines of a lane of this segment.
  MagazinesData& MagazinesOf(const shm::LaneData& lane) const noexcept {
    return *view_.Shown<MagazinesData>(view_.OffsetOf(&lane) + magazines_);  // in all lanes: In
  }
  /// What the magazines of one lane may hold.
  uint32_t cached_units_max() const { return cached_units_max_; }
  /// The first block of a magazine, or none: it is empty, or its bytes cannot be.
  std::optional<Block> ReadCached(const MagazinesData& magazines, uint32_t magazine) const noexcept;

  // The moves. Each is one step table of persistent_tlsf_allocator.h.
  /// `request` must be one that `EverFits`, `holder` must be 0.
  shm::BlockResult Allocate(shm::Lane& lane, shm::Word64& holder, Request request,
                            shm::Deadline deadline) const noexcept;
  /// `loan`, if given, is the loan that `holder` belongs to: its other words become 0.
  shm::BlockResult Free(shm::Lane& lane, shm::Word64& holder, uint64_t next, shm::LoanData* loan,
                        LockMode mode) const noexcept;
  shm::BlockResult Shrink(shm::Lane& lane, const shm::Word64& holder, uint64_t size_bytes,
                          shm::Deadline deadline) const noexcept;
  shm::BlockResult Grow(shm::Lane& lane, const shm::Word64& holder, uint64_t size_bytes,
                        shm::Deadline deadline) const noexcept;

  // The middle of Allocate and of Free: one transaction, while the lane holds the heap's lock.
  shm::BlockResult AllocateLocked(shm::Lane& lane, Request request,
                                  Receiver receiver) const noexcept;
  /// `magazines`, if given, are those of the magazine whose head `holder` is.
  shm::BlockResult FreeLocked(shm::Lane& lane, const Block& block, shm::Word64& holder,
                              uint64_t next, shm::LoanData* loan,
                              MagazinesData* magazines) const noexcept;

 private:
  Heap(shm::SegmentView view, HeapData* data, uint32_t first, uint32_t sentinel, uint64_t magazines)
      : view_(view),
        data_(data),
        first_(first),
        sentinel_(sentinel),
        cached_units_max_(CachedUnitsMax(sentinel - first)),
        magazines_(magazines) {}

  shm::SegmentView view_;
  HeapData* data_;
  uint32_t first_;
  uint32_t sentinel_;
  uint32_t cached_units_max_;
  uint64_t magazines_;  // from the beginning of a lane
};

/// Whether a request could be met if the heap were empty.
bool EverFits(const Heap& heap, const Request& request) noexcept;

}  // namespace thole::alloc
