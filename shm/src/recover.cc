// Death and repair: who is dead, who may repair, in which order.
#include <algorithm>

#include "lane_state.h"
#include "thole/shm/attachment.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/transaction.h"

namespace thole::shm {

namespace {

// Whether somebody who holds a life byte is gone all the same: then a forked child inherited the
// lock. `started` is what the kernel says about the pid, `start_time` what its owner wrote.
bool IsGone(std::optional<uint64_t> started, uint64_t start_time) {
  if (!started) return false;
  return *started == 0 || (start_time != 0 && *started != start_time);
}

bool IsOwnedBy(const OwnerLockData& lock, uint32_t slot, uint32_t generation) {
  const uint64_t word = lock.word.load(std::memory_order_relaxed);  // the repair right is ours
  const OwnerId owner = OwnerId::Unpack(word);
  return word != 0 && owner.slot == slot && owner.generation == generation;
}

}  // namespace

LifeState Attachment::Probe(uint32_t index, uint32_t generation) noexcept {
  if (forked()) return LifeState::kAlive;
  SlotData* slot = segment_.Slot(index);
  if (slot == nullptr) return LifeState::kNobody;
  const SlotWord before = SlotWord::Unpack(slot->word.load(std::memory_order_acquire));  // P-a
  if (before.state == SlotState::kFree || before.generation != generation)
    return LifeState::kNobody;
  if (life_byte_.load(std::memory_order_seq_cst) == index) return LifeState::kAlive;  // it is ours
  const uint32_t pid = slot->pid.load(std::memory_order_acquire);                     // P-a
  const uint64_t start_time = slot->start_time.load(std::memory_order_acquire);  // fits pid, or:
  const uint64_t pid_namespace = slot->pid_namespace.load(std::memory_order_acquire);    // fits pid
  const uint64_t time_namespace = slot->time_namespace.load(std::memory_order_acquire);  // fits pid
  const bool held = platform_->IsHeld(LockByte::kLife, index);
  std::optional<uint64_t> started;
  if (held && pid != 0) {
    const ProcessIdentity self = platform_->Self();
    if (pid_namespace != 0 && pid_namespace == self.pid_namespace &&
        time_namespace == self.time_namespace) {
      started = platform_->StartTimeOf(pid);
    }
  }
  // Read again: a slot that changed hands in between says nothing about who held it before.
  const SlotWord after = SlotWord::Unpack(slot->word.load(std::memory_order_acquire));  // P-a
  if (after.generation != generation || after.state == SlotState::kFree) return LifeState::kNobody;
  if (slot->pid.load(std::memory_order_acquire) != pid ||                // P-a
      slot->start_time.load(std::memory_order_acquire) != start_time) {  // still the same claim?
    return LifeState::kAlive;
  }
  return !held || IsGone(started, start_time) ? LifeState::kDead : LifeState::kAlive;
}

class Attachment::RepairRight {
 public:
  RepairRight(Attachment& attachment, uint32_t slot, uint32_t generation)
      : attachment_(attachment), slot_(slot) {
    // Two threads share one description, so both would get the byte: the mutex comes first.
    if (!attachment_.repairing_[slot].try_lock()) return;
    if (attachment_.platform_->TryHold(LockByte::kRepair, slot)) {
      // Somebody may have repaired the slot, and another may live in it, since the caller looked.
      if (attachment_.Probe(slot, generation) == LifeState::kDead) {
        held_ = true;
        return;
      }
      attachment_.platform_->Drop(LockByte::kRepair, slot);
    }
    attachment_.repairing_[slot].unlock();
  }
  ~RepairRight() {
    if (!held_) return;
    attachment_.platform_->Drop(LockByte::kRepair, slot_);
    attachment_.repairing_[slot_].unlock();
  }
  RepairRight(const RepairRight&) = delete;
  RepairRight& operator=(const RepairRight&) = delete;
  bool held() const { return held_; }

 private:
  Attachment& attachment_;
  uint32_t slot_;
  bool held_ = false;
};

Attachment::LanesOf Attachment::LanesInNameOf(uint32_t slot, uint32_t generation,
                                              bool for_dead) noexcept {
  LanesOf result;
  result.count = segment_.lanes_per_participant();
  for (uint32_t i = 0; i < result.count; ++i) {
    result.lanes[i] = Lane(this, segment_.LaneAt(slot, i), OwnerId{generation, i, slot}, for_dead);
  }
  return result;
}

void Attachment::ReleaseLocks(std::span<Lane> lanes) noexcept {
  for (Lane& lane : lanes) {
    LaneData& data = lane.data();
    RollBack(view(), data.log);
    // TRUST: the offset by the view; whether the lock is the dead one's by its word.
    const uint64_t offset = data.lock.load(std::memory_order_acquire);  // P-b
    auto* lock = view().At<OwnerLockData>(offset);
    if (lock != nullptr && IsLockedBy(lane, *lock)) {
      Unlock(lane, *lock);
    } else if (offset != 0) {
      data.lock.store(0, std::memory_order_release);  // named but never taken
    }
  }
}

bool Attachment::RunSteps(SlotData& slot, DeadParticipant& dead) noexcept {
  // Step 0 always runs: an earlier repairer may have died with the dead one's log and locks.
  ReleaseLocks(dead.lanes);
  for (uint32_t step = 0; step < kRepairSteps; ++step) {
    const uint64_t bit = uint64_t{1} << (step + 2);
    if ((slot.word.load(std::memory_order_acquire) & bit) == 0) continue;  // the right is ours
    if (step != static_cast<uint32_t>(RepairStep::kLocks)) {
      if (parts_[step] == nullptr) return false;
      if (parts_[step]->Repair(dead) == RepairOutcome::kLater) return false;
    }
    slot.word.fetch_and(~bit, std::memory_order_release);  // repair.2, after the step's stores
    THOLE_CRASH_POINT("repair.2");
  }
  return true;
}

// What P1 demands, and an end to the pause that this participant may have asked for.
void Attachment::EmptySlot(SlotData& slot, uint32_t index, std::span<Lane> lanes) noexcept {
  for (Lane& lane : lanes) ClearLane(lane.data());
  Thaw(index + 1);
  slot.pid.store(0, std::memory_order_release);  // unknown is alive; before the slot is free
}

void Attachment::FreeSlot(SlotData& slot, uint32_t index, std::span<Lane> lanes) noexcept {
  EmptySlot(slot, index, lanes);  // repair.3
  THOLE_CRASH_POINT("repair.3");
  const SlotWord word = SlotWord::Unpack(slot.word.load(std::memory_order_relaxed));  // ours
  slot.word.store(SlotWord{word.generation, 0, SlotState::kFree}.Pack(),
                  std::memory_order_seq_cst);  // P-c, H1; repair.4 COMMIT
  THOLE_CRASH_POINT("repair.4");
  segment_.header().recovery_epoch.fetch_add(1, std::memory_order_release);  // H2
  repairs_done_.fetch_add(1, std::memory_order_relaxed);                     // a statistic
}

RepairVerdict Attachment::Repair(uint32_t index, bool locks_only,
                                 const OwnerLockData* stalled_on) noexcept {
  if (forked()) return RepairVerdict::kNothing;
  SlotData* slot = segment_.Slot(index);
  if (slot == nullptr) return RepairVerdict::kNothing;
  uint64_t word = slot->word.load(std::memory_order_acquire);  // P-a
  const uint32_t generation = SlotWord::Unpack(word).generation;
  if (Probe(index, generation) != LifeState::kDead) return RepairVerdict::kNothing;
  const RepairRight right(*this, index, generation);
  if (!right.held()) return RepairVerdict::kTaken;
  word = slot->word.load(std::memory_order_acquire);  // P-b: nobody else changes it now
  if (SlotWord::Unpack(word).state == SlotState::kLive) {
    const SlotWord repair{generation, segment_.RepairStepsWanted(), SlotState::kRepair};
    if (!slot->word.compare_exchange_strong(word, repair.Pack(),
                                            std::memory_order_acq_rel,     // P-b; repair.1
                                            std::memory_order_relaxed)) {  // hostile bytes
      return RepairVerdict::kTaken;
    }
    THOLE_CRASH_POINT("repair.1");
  }
  LanesOf lanes = LanesInNameOf(index, generation, true);
  DeadParticipant dead{*this, index, generation, std::span(lanes.lanes).first(lanes.count), false};
  if (locks_only) {
    ReleaseLocks(dead.lanes);
    return stalled_on != nullptr && IsOwnedBy(*stalled_on, index, generation)
               ? RepairVerdict::kBroken
               : RepairVerdict::kLater;
  }
  if (!RunSteps(*slot, dead)) return RepairVerdict::kLater;
  FreeSlot(*slot, index, dead.lanes);
  return RepairVerdict::kRepaired;
}

RepairVerdict Attachment::RepairSlot(uint32_t slot) noexcept {
  return Repair(slot, false, nullptr);
}

RepairVerdict Attachment::ReleaseLocksOf(uint32_t slot, const OwnerLockData* stalled_on) noexcept {
  return Repair(slot, true, stalled_on);
}

uint32_t Attachment::RepairAll() noexcept {
  if (forked()) return 0;
  uint32_t repaired = 0;
  for (uint32_t slot = 0; slot < segment_.participants_max(); ++slot) {
    const uint64_t word = segment_.Slot(slot)->word.load(std::memory_order_relaxed);  // a hint
    if (SlotWord::Unpack(word).state == SlotState::kFree) continue;
    if (RepairSlot(slot) == RepairVerdict::kRepaired) ++repaired;
  }
  if (repaired > 0 && !joined()) MarkCleanIfLast();
  return repaired;
}

bool ForEachLoan(SegmentView view, LaneData& lane, const std::function<void(LoanData&)>& visit) {
  for (LoanData& loan : lane.loans) visit(loan);
  // TRUST: each link by the view; the length by how many a lane may have.
  uint32_t left = kChunksPerLane;
  uint64_t offset = lane.first_chunk.load(std::memory_order_acquire);  // P-b
  while (offset != 0) {
    auto* chunk = view.At<LoanChunkData>(offset);
    if (chunk == nullptr || left-- == 0) return false;
    for (LoanData& loan : chunk->loans) visit(loan);
    offset = chunk->next.load(std::memory_order_acquire);  // P-b
  }
  return true;
}

}  // namespace thole::shm
