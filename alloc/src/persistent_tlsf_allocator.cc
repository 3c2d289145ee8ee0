#include "thole/alloc/persistent_tlsf_allocator.h"

#include <algorithm>

#include "heap.h"
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

}  // namespace

PersistentTlsfAllocator::PersistentTlsfAllocator(std::shared_ptr<shm::Attachment> attachment,
                                                 std::unique_ptr<Heap> heap)
    : attachment_(std::move(attachment)), heap_(std::move(heap)) {}

PersistentTlsfAllocator::~PersistentTlsfAllocator() = default;

absl::StatusOr<std::shared_ptr<PersistentTlsfAllocator>> PersistentTlsfAllocator::Open(
    std::shared_ptr<shm::Attachment> attachment) {
  if (attachment == nullptr) {
    return shm::Error(absl::StatusCode::kInvalidArgument, "no attachment: make one first");
  }
  if (attachment->forked()) return shm::ForkedHandleError();
  auto heap = Heap::In(attachment->segment());
  if (!heap.ok()) return heap.status();
  attachment->Register(std::make_shared<RepairIntents>(*heap));
  attachment->Register(std::make_shared<RepairLoans>(*heap));
  return std::shared_ptr<PersistentTlsfAllocator>(
      new PersistentTlsfAllocator(std::move(attachment), std::make_unique<Heap>(*heap)));
}

BlockResult PersistentTlsfAllocator::AllocateTo(Lane& lane, LoanRef loan, uint64_t size_bytes,
                                                uint64_t align, Deadline deadline) noexcept {
  return heap_->Allocate(lane, loan->block, size_bytes, align, deadline);
}

BlockResult PersistentTlsfAllocator::FreeFrom(Lane& lane, shm::Word64& holder, uint64_t next,
                                              Deadline deadline) noexcept {
  return heap_->Free(lane, holder, next, nullptr, {.deadline = deadline});
}

BlockResult PersistentTlsfAllocator::FreeLoan(Lane& lane, LoanRef loan,
                                              Deadline deadline) noexcept {
  return heap_->Free(lane, loan->block, 0, &loan.data(), {.deadline = deadline});
}

BlockResult PersistentTlsfAllocator::TryFreeLoan(Lane& lane, LoanRef loan) noexcept {
  return heap_->Free(lane, loan->block, 0, &loan.data(), {.try_only = true});
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

HeapStatistics StatisticsOf(const Heap& heap) noexcept {
  const HeapData& data = heap.data();
  const CountPair used =
      CountPair::Unpack(data.used.load(std::memory_order_relaxed));  // one moment
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
      .largest_free_bytes = largest * kUnitBytes,
      .blocks_used = used.blocks,
      .blocks_free = other.blocks,
      .fragmentation =
          free_units == 0 ? 0 : 1 - static_cast<double>(largest) / static_cast<double>(free_units)};
}

}  // namespace

HeapStatistics PersistentTlsfAllocator::Statistics() const noexcept { return StatisticsOf(*heap_); }

absl::StatusOr<HeapStatistics> PersistentTlsfAllocator::ReadStatistics(
    const shm::Segment& segment) {
  const auto heap = Heap::In(segment);
  if (!heap.ok()) return heap.status();
  return StatisticsOf(*heap);
}

}  // namespace thole::alloc
