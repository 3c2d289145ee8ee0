#include "recover.h"

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

// The intent's block may at the same time stand in a loan. A plain loan loses it here, so that the
// intent alone holds it; any other loan is in a step of its component, which then holds the block.
RepairOutcome FinishIntent(const Heap& heap, DeadParticipant& dead, Lane& lane) {
  LaneData& data = lane.data();
  const uint64_t block = data.block_intent.load(std::memory_order_acquire);  // P-b
  if (block == 0) return RepairOutcome::kDone;
  bool held_by_a_step = false;
  for (Lane& other : dead.lanes) {
    shm::ForEachLoan(heap.view(), other.data(), [&](LoanData& loan) {
      if (loan.block.load(std::memory_order_acquire) != block) return;  // P-b
      if (IsPlain(loan)) {
        loan.block.store(0, std::memory_order_release);  // intent.1: the intent still names it
        THOLE_CRASH_POINT("alloc.intent.1");
      } else {
        held_by_a_step = true;
      }
    });
  }
  if (held_by_a_step) {
    data.block_intent.store(0, std::memory_order_release);  // intent.2 COMMIT: the loan holds it
    return RepairOutcome::kDone;
  }
  const RepairOutcome outcome = FreeHeld(heap, lane, data.block_intent, 0);
  if (outcome == RepairOutcome::kDone) THOLE_CRASH_POINT("alloc.intent.2");
  return outcome;
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

}  // namespace

RepairOutcome RepairIntents::Repair(DeadParticipant& dead) {
  for (Lane& lane : dead.lanes) {
    if (FinishIntent(heap_, dead, lane) == RepairOutcome::kLater) return RepairOutcome::kLater;
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
  return RepairOutcome::kDone;
}

}  // namespace thole::alloc
