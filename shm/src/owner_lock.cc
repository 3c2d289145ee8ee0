#include "thole/shm/owner_lock.h"

#include "thole/shm/attachment.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/wait_list.h"

namespace thole::shm {
namespace {

// About 2 us of looking before the first system call.
constexpr int kSpins = 100;

void NameLock(Lane& lane, const OwnerLockData& lock) {
  const uint64_t offset = lane.attachment().view().OffsetOf(&lock);
  lane.data().lock.store(offset, std::memory_order_release);  // lock.1, before the CAS
  THOLE_CRASH_POINT("lock.1");
}

void ForgetLock(Lane& lane) {
  lane.data().lock.store(0, std::memory_order_release);  // after the lock's word
}

// Whether a lock word can stand for somebody who is not `lane` itself.
bool Believable(const Lane& lane, uint64_t word) {
  const Segment& segment = lane.attachment().segment();
  const OwnerId owner = OwnerId::Unpack(word);
  return (word & 0xfff) != 0 && owner.slot < segment.participants_max() &&
         owner.lane < segment.lanes_per_participant() && (word & ~kWaitersBit) != lane.owner();
}

// The owner `word` did not go away by itself: repair it if it is dead, else sleep a slice.
LockResult WaitForOwner(Lane& lane, OwnerLockData& lock, uint64_t word, Deadline deadline) {
  Attachment& attachment = lane.attachment();
  Platform& platform = attachment.platform();
  const OwnerId owner = OwnerId::Unpack(word);
  const LifeState life = attachment.Probe(owner.slot, owner.generation);
  if (life == LifeState::kDead) {
    const RepairVerdict verdict = attachment.ReleaseLocksOf(owner.slot, &lock);
    if (verdict == RepairVerdict::kBroken) return LockResult::kCorrupt;
    if (verdict != RepairVerdict::kTaken) return LockResult::kOk;
  }
  uint64_t now_word = lock.word.load(std::memory_order_relaxed);  // the next CAS decides
  if (life == LifeState::kNobody && (now_word & ~kWaitersBit) == (word & ~kWaitersBit)) {
    return LockResult::kCorrupt;  // no slot becomes FREE while it owns a lock
  }
  const int64_t now = platform.NowNs();
  if (deadline.PassedAt(now)) return LockResult::kBusy;
  if (now_word != word) return LockResult::kOk;
  if (!lock.word.compare_exchange_strong(word, word | kWaitersBit,
                                         std::memory_order_relaxed,     // only a wish to be woken
                                         std::memory_order_relaxed)) {  // somebody was quicker
    return LockResult::kOk;
  }
  platform.WaitWord(LowHalf(lock.word), static_cast<uint32_t>(word | kWaitersBit), ~uint32_t{0},
                    deadline.Before(now + kShortWaitSliceNs).monotonic_ns());
  return LockResult::kOk;
}

}  // namespace

LockResult TryLock(Lane& lane, OwnerLockData& lock) noexcept {
  NameLock(lane, lock);
  uint64_t word = 0;
  if (lock.word.compare_exchange_strong(word, lane.owner(),
                                        std::memory_order_acq_rel,     // L1; lock.2, after lock.1
                                        std::memory_order_relaxed)) {  // only reported
    THOLE_CRASH_POINT("lock.2");
    return LockResult::kOk;
  }
  ForgetLock(lane);
  return Believable(lane, word) ? LockResult::kBusy : LockResult::kCorrupt;
}

LockResult Lock(Lane& lane, OwnerLockData& lock, Deadline deadline) noexcept {
  NameLock(lane, lock);
  uint64_t take = lane.owner();
  for (int turn = 0;; ++turn) {
    uint64_t word = 0;
    if (lock.word.compare_exchange_weak(word, take,
                                        std::memory_order_acq_rel,  // L1, L2; lock.2, after lock.1
                                        std::memory_order_acquire)) {  // L2: its slot is asked next
      THOLE_CRASH_POINT("lock.2");
      return LockResult::kOk;
    }
    if (word == 0) continue;  // a weak exchange may fail for nothing
    LockResult result = Believable(lane, word) ? LockResult::kOk : LockResult::kCorrupt;
    if (result == LockResult::kOk) {
      if (turn < kSpins && !deadline.now()) {
        lane.attachment().platform().Relax();
        continue;
      }
      result = WaitForOwner(lane, lock, word, deadline);
      take = lane.owner() | kWaitersBit;  // others may sleep behind us
    }
    if (result != LockResult::kOk) {
      ForgetLock(lane);
      return result;
    }
  }
}

void Unlock(Lane& lane, OwnerLockData& lock) noexcept {
  THOLE_DCHECK(IsLockedBy(lane, lock));
  THOLE_DCHECK(lane.data().log.count.load(std::memory_order_relaxed) == 0);  // own lane
  const uint64_t word = lock.word.exchange(0, std::memory_order_release);    // L1; lock.3
  THOLE_CRASH_POINT("lock.3");
  ForgetLock(lane);
  if ((word & kWaitersBit) != 0) {
    lane.attachment().platform().WakeWord(LowHalf(lock.word), 1, ~uint32_t{0});
  }
}

bool IsLockedBy(const Lane& lane, const OwnerLockData& lock) noexcept {
  const uint64_t word = lock.word.load(std::memory_order_relaxed);  // only our own value matters
  return (word & ~kWaitersBit) == lane.owner();
}

}  // namespace thole::shm
