#include "thole/alloc/persistent_tlsf_allocator.h"

#include <algorithm>
#include <string>

#include "heap.h"
#include "magazines.h"
#include "recover.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::Lane;
using shm::LoanRef;

// How many blocks of the list with the largest ones are looked at.
constexpr int kLooksMax = 16;

// The largest FREE block. Without the lock: every word may be another moment's, but each is
// checked.
uint64_t LargestFreeUnits(const Heap& heap) {
  // TRUST: row by the number of rows; blocks by Read; the walk by kLooksMax.
  const HeapData& data = heap.data();
  const uint32_t rows = data.first_level.load(std::memory_order_relaxed);  // statistics
  if (rows == 0) return 0;
  const uint32_t row = 31 - static_cast<uint32_t>(std::countl_zero(rows));
  if (row >= kRows) return 0;
  const uint32_t columns = data.second_level[row].load(std::memory_order_relaxed);  // statistics
  if (columns == 0) return 0;
  const uint32_t column = 31 - static_cast<uint32_t>(std::countl_zero(columns));
  uint32_t unit = data.heads[row][column].load(std::memory_order_relaxed);  // statistics
  uint64_t largest = 0;
  for (int looks = 0; unit != 0 && looks < kLooksMax; ++looks) {
    const auto block = heap.Read(unit);
    if (!block || !block->free()) break;
    largest = std::max<uint64_t>(largest, block->size());
    unit = Link::Unpack(heap.LinkOf(unit).load(std::memory_order_relaxed)).next;  // statistics
  }
  return largest;
}

// What all magazines of the segment hold, each lane at a moment of its own.
CountPair CachedIn(const Heap& heap, const shm::Segment& segment) {
  CountPair all{0, 0};
  for (uint32_t slot = 0; slot < segment.participants_max(); ++slot) {
    const uint64_t word = segment.Slot(slot)->word.load(std::memory_order_relaxed);  // a statistic
    if (shm::SlotWord::Unpack(word).state == shm::SlotState::kFree) continue;
    for (uint32_t index = 0; index < segment.lanes_per_participant(); ++index) {
      const CountPair one =
          CountPair::Unpack(heap.MagazinesOf(*segment.LaneAt(slot, index))
                                .cached.load(std::memory_order_relaxed));  // a statistic
      all.units += one.units;
      all.blocks += one.blocks;
    }
  }
  return all;
}

}  // namespace

PersistentTlsfAllocator::PersistentTlsfAllocator(std::shared_ptr<shm::Attachment> attachment,
                                                 std::unique_ptr<Heap> heap, uint32_t batch)
    : attachment_(std::move(attachment)), heap_(std::move(heap)), batch_(batch) {}

PersistentTlsfAllocator::~PersistentTlsfAllocator() = default;

absl::StatusOr<std::shared_ptr<PersistentTlsfAllocator>> PersistentTlsfAllocator::Open(
    std::shared_ptr<shm::Attachment> attachment, const HeapOptions& options) {
  if (attachment == nullptr) {
    return shm::Error(absl::StatusCode::kInvalidArgument, "no attachment: make one first");
  }
  if (options.batch > kBatchMax) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "a batch of " + std::to_string(options.batch) + " blocks: at most " +
                          std::to_string(kBatchMax) + ", or 0 for no magazines");
  }
  if (attachment->forked()) return shm::ForkedHandleError();
  auto heap = Heap::In(attachment->segment());
  if (!heap.ok()) return heap.status();
  attachment->Register(std::make_shared<RepairIntents>(*heap));
  attachment->Register(std::make_shared<RepairLoans>(*heap));
  return std::shared_ptr<PersistentTlsfAllocator>(new PersistentTlsfAllocator(
      std::move(attachment), std::make_unique<Heap>(*heap), options.batch));
}

BlockResult PersistentTlsfAllocator::AllocateTo(Lane& lane, LoanRef loan, uint64_t size_bytes,
                                                uint64_t align, Deadline deadline) noexcept {
  const Request request = RequestFor(size_bytes, align);
  shm::Word64& holder = loan->block;
  // What a holder has already would be nobody's.
  if (request.units == 0 || holder.load(std::memory_order_relaxed) != 0) {  // the caller's own word
    return BlockResult::kInvalid;
  }
  const uint32_t magazine = MagazineFor(request);
  Magazines magazines(*heap_, lane, Batches(batch_));
  if (magazine == kMagazines || !HasMagazines(lane) || !magazines.CanName(holder)) [[unlikely]] {
    return AllocateSlow(lane, holder, request, deadline);
  }
  if (magazines.TryTake(magazine, request, holder)) [[likely]]
    return BlockResult::kOk;
  return AllocateRarely(lane, holder, request, deadline);
}

BlockResult PersistentTlsfAllocator::AllocateRarely(Lane& lane, shm::Word64& holder,
                                                    Request request, Deadline deadline) noexcept {
  Magazines magazines(*heap_, lane, Batches(batch_));
  const BlockResult taken = magazines.Take(MagazineFor(request), request, holder, deadline);
  return taken == BlockResult::kFull ? AllocateSlow(lane, holder, request, deadline) : taken;
}

BlockResult PersistentTlsfAllocator::AllocateSlow(Lane& lane, shm::Word64& holder, Request request,
                                                  Deadline deadline) noexcept {
  if (!EverFits(*heap_, request)) return BlockResult::kTooLarge;
  const BlockResult result = heap_->Allocate(lane, holder, request, deadline);
  if (result != BlockResult::kFull || !GatherCached(lane)) return result;
  return heap_->Allocate(lane, holder, request, deadline);
}

// Empties the magazines of this process, as far as they are not in use, and asks the others to do
// the same with theirs. False: there was nothing to empty.
bool PersistentTlsfAllocator::GatherCached(Lane& lane) noexcept {
  if (!HasMagazines(lane)) return false;
  bool any = false;
  const auto flush = [&](Lane& own) {
    Magazines magazines(*heap_, own, Batches(batch_));
    if (magazines.cached_units() == 0) return;
    any = magazines.FlushAll({.deadline = Deadline::Now()}) == BlockResult::kOk || any;
  };
  flush(lane);
  attachment_->VisitIdleLanes(lane, flush);
  if (CachedIn(*heap_, attachment_->segment()).units != 0) {
    heap_->data().asked.fetch_add(1, std::memory_order_relaxed);  // A-b
  }
  return any;
}

void PersistentTlsfAllocator::HearRequests(Lane& lane) noexcept {
  if (HasMagazines(lane)) Magazines(*heap_, lane, Batches(batch_)).HearRequests();
}

BlockResult PersistentTlsfAllocator::Flush(Lane& lane, Deadline deadline) noexcept {
  return Magazines(*heap_, lane, Batches(batch_)).FlushAll({.deadline = deadline});
}

BlockResult PersistentTlsfAllocator::FreeFrom(Lane& lane, shm::Word64& holder, uint64_t next,
                                              Deadline deadline) noexcept {
  return heap_->Free(lane, holder, next, nullptr, {.deadline = deadline});
}

BlockResult PersistentTlsfAllocator::FreeRarely(Lane& lane, LoanRef loan, bool try_only,
                                                Deadline deadline) noexcept {
  const LockMode mode{.deadline = deadline, .try_only = try_only};
  shm::LoanData& data = loan.data();
  Magazines magazines(*heap_, lane, Batches(batch_));
  const auto block = heap_->ReadUsed(data.block.load(std::memory_order_relaxed));  // own loan
  if (!block) return BlockResult::kInvalid;
  if (!HasMagazines(lane) || block->size() > kMagazineUnitsMax || !magazines.CanName(data.block)) {
    return heap_->Free(lane, data.block, 0, &data, mode);
  }
  return magazines.Put(*block, data, mode);
}

// The frequent way of both: no call of a function, no lock.
[[gnu::always_inline]] inline bool PersistentTlsfAllocator::FreeFast(Lane& lane,
                                                                     LoanRef loan) noexcept {
  shm::LoanData& data = loan.data();
  Magazines magazines(*heap_, lane, Batches(batch_));
  const uint64_t offset = data.block.load(std::memory_order_relaxed);  // own loan
  const auto block = heap_->Read(heap_->UnitOf(offset));
  return block && block->kind() == BlockKind::kUsed && block->size() <= kMagazineUnitsMax &&
         HasMagazines(lane) && magazines.CanName(data.block) && magazines.TryPut(*block, data);
}

BlockResult PersistentTlsfAllocator::FreeLoan(Lane& lane, LoanRef loan,
                                              Deadline deadline) noexcept {
  if (FreeFast(lane, loan)) [[likely]]
    return BlockResult::kOk;
  return FreeRarely(lane, loan, false, deadline);
}

BlockResult PersistentTlsfAllocator::TryFreeLoan(Lane& lane, LoanRef loan) noexcept {
  if (FreeFast(lane, loan)) [[likely]]
    return BlockResult::kOk;
  return FreeRarely(lane, loan, true, Deadline::Now());
}

BlockResult PersistentTlsfAllocator::Shrink(Lane& lane, LoanRef loan, uint64_t size_bytes,
                                            Deadline deadline) noexcept {
  return heap_->Shrink(lane, loan->block, size_bytes, deadline);
}

BlockResult PersistentTlsfAllocator::Grow(Lane& lane, LoanRef loan, uint64_t size_bytes,
                                          Deadline deadline) noexcept {
  return heap_->Grow(lane, loan->block, size_bytes, deadline);
}

uint64_t PersistentTlsfAllocator::BlockSize(uint64_t offset) const noexcept {
  const auto block = heap_->ReadUsed(offset);
  return block ? (block->size() - 1) * kUnitBytes : 0;
}

namespace {

HeapStatistics StatisticsOf(const Heap& heap, const shm::Segment& segment) noexcept {
  const HeapData& data = heap.data();
  const CountPair cached = CachedIn(heap, segment);
  const CountPair taken =
      CountPair::Unpack(data.used.load(std::memory_order_relaxed));  // one moment
  const CountPair used{taken.units - std::min(cached.units, taken.units),
                       taken.blocks - std::min(cached.blocks, taken.blocks)};
  const CountPair other =
      CountPair::Unpack(data.peak_and_free.load(std::memory_order_relaxed));  // perhaps the next
  const uint64_t units = heap.units();
  const uint64_t free_units = units - std::min<uint64_t>(used.units, units);
  const uint64_t largest = std::min(LargestFreeUnits(heap), free_units);
  return {
      .heap_bytes = units * kUnitBytes,
      .used_bytes = used.units * kUnitBytes,
      .peak_bytes = std::max(used.units, other.units) * kUnitBytes,
      .free_bytes = free_units * kUnitBytes,
      .cached_bytes = cached.units * kUnitBytes,
      .largest_free_bytes = largest * kUnitBytes,
      .blocks_used = used.blocks,
      .blocks_free = other.blocks,
      .fragmentation =
          free_units == 0 ? 0 : 1 - static_cast<double>(largest) / static_cast<double>(free_units)};
}

}  // namespace

HeapStatistics PersistentTlsfAllocator::Statistics() const noexcept {
  return StatisticsOf(*heap_, attachment_->segment());
}

absl::StatusOr<HeapStatistics> PersistentTlsfAllocator::ReadStatistics(
    const shm::Segment& segment) {
  const auto heap = Heap::In(segment);
  if (!heap.ok()) return heap.status();
  return StatisticsOf(*heap, segment);
}

}  // namespace thole::alloc
