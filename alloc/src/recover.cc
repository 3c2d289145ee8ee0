#include "recover.h"

#include "edit.h"
#include "magazines.h"
#include "thole/shm/crash_point.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::DeadParticipant;
using shm::Lane;
using shm::LaneData;
using shm::LoanData;
using shm::RepairOutcome;

// How long a repairer waits for a live holder of the heap's lock before it leaves the step to
// later.
constexpr int64_t kPatienceNs = 20'000'000;

bool IsPlain(const LoanData& loan) {
  return loan.ticket.load(std::memory_order_acquire) == 0 &&  // P-b: the repair right is ours
         loan.lease.load(std::memory_order_acquire) == 0;     // P-b
}

// Frees the block that `holder` names. A word that names no block, or a heap whose bytes cannot be,
// must not keep the slot of the dead for ever: the word is emptied, and the audit tells the rest.
RepairOutcome FreeHeld(const Heap& heap, Lane& lane, shm::Word64& holder, uint64_t next) {
  const int64_t now = lane.attachment().platform().NowNs();
  const LockMode patient{.deadline = shm::Deadline::At(now + kPatienceNs)};
  switch (heap.Free(lane, holder, next, nullptr, patient)) {
    case BlockResult::kOk:
      return RepairOutcome::kDone;
    case BlockResult::kBusy:
      return RepairOutcome::kLater;
    default:
      holder.store(next, std::memory_order_release);  // the repair right is ours
      return RepairOutcome::kDone;
  }
}

RepairOutcome FreePlain(const Heap& heap, Lane& lane, LoanData& loan) {
  const uint64_t block = loan.block.load(std::memory_order_acquire);  // P-b
  if (block == 0 || !IsPlain(loan)) return RepairOutcome::kDone;
  const RepairOutcome outcome = FreeHeld(heap, lane, loan.block, 0);
  if (outcome == RepairOutcome::kDone) THOLE_CRASH_POINT("alloc.loan.1");
  return outcome;
}

// Whether the block that an intent names has a place already: the holder that it was taken for or
// from, or the magazine.
bool HasPlace(const Heap& heap, const LaneData& lane, const BlockIntent& intent) {
  // TRUST: the holder by the view; the magazine by ReadCached.
  const auto* holder = heap.view().At<shm::Word64>(intent.holder * BlockIntent::kHolderStep);
  const uint64_t offset = (uint64_t{intent.unit} + 1) * kUnitBytes;
  if (holder != nullptr && holder->load(std::memory_order_acquire) == offset) return true;  // P-b
  const auto block = heap.Read(intent.unit);
  if (!block || block->kind() != BlockKind::kCached) return false;
  const uint32_t magazine = MagazineOf(block->unit, block->bits);
  if (magazine == kMagazines) return false;
  const auto first = heap.ReadCached(heap.MagazinesOf(lane), magazine);
  return first && first->unit == block->unit;
}

// The block has no place but the intent: its header says USED or CACHED, by how far the call came.
BlockResult FreeIntended(const Heap& heap, Lane& lane, uint32_t unit) {
  const int64_t now = lane.attachment().platform().NowNs();
  const HeapLock lock(lane, heap.data().lock, {.deadline = shm::Deadline::At(now + kPatienceNs)});
  if (!lock) return lock.failure();
  const auto block = heap.Read(unit);
  const bool held =
      block && (block->kind() == BlockKind::kUsed || block->kind() == BlockKind::kCached);
  if (!held) return BlockResult::kInvalid;
  return heap.FreeLocked(lane, *block, lane.data().block_intent, 0, nullptr, nullptr);
}

RepairOutcome FinishIntent(const Heap& heap, Lane& lane) {
  shm::Word64& word = lane.data().block_intent;
  const uint64_t value = word.load(std::memory_order_acquire);  // P-b
  if (value == 0) return RepairOutcome::kDone;
  const BlockIntent intent = BlockIntent::Unpack(value);
  if (HasPlace(heap, lane.data(), intent)) {
    word.store(0, std::memory_order_release);  // intent.1: holder or magazine has the block
    THOLE_CRASH_POINT("alloc.intent.1");
    return RepairOutcome::kDone;
  }
  const BlockResult freed = FreeIntended(heap, lane, intent.unit);
  if (freed == BlockResult::kBusy) return RepairOutcome::kLater;
  if (freed != BlockResult::kOk) word.store(0, std::memory_order_release);  // ours to repair
  THOLE_CRASH_POINT("alloc.intent.2");
  return RepairOutcome::kDone;
}

// Whether the chunk chain of a lane contains `chunk`.
bool IsLinked(const Heap& heap, const LaneData& lane, uint64_t chunk) {
  // TRUST: each link by the view, the length by how many chunks could fit.
  uint64_t left = heap.view().size_bytes() / sizeof(shm::LoanChunkData);
  uint64_t offset = lane.first_chunk.load(std::memory_order_acquire);  // P-b
  while (offset != 0 && left-- > 0) {
    if (offset == chunk) return true;
    const auto* data = heap.view().At<shm::LoanChunkData>(offset);
    if (data == nullptr) return false;
    offset = data->next.load(std::memory_order_acquire);  // P-b
  }
  return false;
}

RepairOutcome FinishReserved(const Heap& heap, Lane& lane) {
  LaneData& data = lane.data();
  const uint64_t chunk = data.reserved.block.load(std::memory_order_acquire);  // P-b
  if (chunk == 0) return RepairOutcome::kDone;
  if (IsLinked(heap, data, chunk)) {
    data.reserved.block.store(0, std::memory_order_release);  // reserved.1: the chain holds it
    THOLE_CRASH_POINT("alloc.reserved.1");
    return RepairOutcome::kDone;
  }
  const RepairOutcome outcome = FreeHeld(heap, lane, data.reserved.block, 0);
  if (outcome == RepairOutcome::kDone) THOLE_CRASH_POINT("alloc.reserved.2");
  return outcome;
}

RepairOutcome FreeChunks(const Heap& heap, Lane& lane) {
  LaneData& data = lane.data();
  // TRUST: each link by the view, the length by how many chunks could fit.
  uint64_t left = heap.view().size_bytes() / sizeof(shm::LoanChunkData);
  for (;;) {
    const uint64_t first = data.first_chunk.load(std::memory_order_acquire);  // P-b
    if (first == 0) return RepairOutcome::kDone;
    const auto* chunk = heap.view().At<shm::LoanChunkData>(first);
    const uint64_t next =
        chunk == nullptr || left == 0 ? 0 : chunk->next.load(std::memory_order_acquire);  // P-b
    if (left > 0) --left;
    if (FreeHeld(heap, lane, data.first_chunk, next) == RepairOutcome::kLater) {
      return RepairOutcome::kLater;
    }
    THOLE_CRASH_POINT("alloc.chain.1");
  }
}

RepairOutcome EmptyMagazines(const Heap& heap, Lane& lane) {
  const int64_t now = lane.attachment().platform().NowNs();
  const LockMode patient{.deadline = shm::Deadline::At(now + kPatienceNs)};
  if (Magazines(heap, lane, Batches(0)).FlushAll(patient) == BlockResult::kBusy) {
    return RepairOutcome::kLater;
  }
  THOLE_CRASH_POINT("alloc.empty.1");
  return RepairOutcome::kDone;
}

}  // namespace

RepairOutcome RepairIntents::Repair(DeadParticipant& dead) {
  for (Lane& lane : dead.lanes) {
    if (FinishIntent(heap_, lane) == RepairOutcome::kLater) return RepairOutcome::kLater;
  }
  for (Lane& lane : dead.lanes) {
    if (FinishReserved(heap_, lane) == RepairOutcome::kLater) return RepairOutcome::kLater;
  }
  return RepairOutcome::kDone;
}

RepairOutcome RepairLoans::Repair(DeadParticipant& dead) {
  for (Lane& lane : dead.lanes) {
    RepairOutcome outcome = RepairOutcome::kDone;
    shm::ForEachLoan(heap_.view(), lane.data(), [&](LoanData& loan) {
      if (outcome == RepairOutcome::kDone) outcome = FreePlain(heap_, lane, loan);
    });
    if (outcome == RepairOutcome::kLater) return outcome;
  }
  // Chunks last: until here the loans in them say what is left to do.
  for (Lane& lane : dead.lanes) {
    if (FreeChunks(heap_, lane) == RepairOutcome::kLater) return RepairOutcome::kLater;
  }
  for (Lane& lane : dead.lanes) {
    if (EmptyMagazines(heap_, lane) == RepairOutcome::kLater) return RepairOutcome::kLater;
  }
  return RepairOutcome::kDone;
}

}  // namespace thole::alloc
