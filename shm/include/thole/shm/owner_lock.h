// OwnerLock: a lock whose word names its owner, so that the death of the owner is not its end.
//
//   #include <thole/shm/owner_lock.h>
//   bool Bump(thole::shm::Lane& lane, thole::shm::OwnerLockData& lock, int& shared) {
//     if (TryLock(lane, lock) != thole::shm::LockResult::kOk) return false;
//     ++shared;
//     Unlock(lane, lock);
//     return true;
//   }
//
// The word is 0 or an owner id (participant_data.h). A lane names the lock before it takes it and
// holds at most one. Whoever stalls on a dead owner's lock takes that one's repair right, rolls its
// log back and releases the lock in its name; a live owner, also a stopped one, is waited for.
//
//   step    dies after                    word        recovered by
//   lock.1  lane.lock names the lock      not mine    clear lane.lock
//   lock.2  COMMIT: word 0 -> owner id    mine        roll back the log, word = 0, clear lane.lock
//   lock.3  unlock: word = 0              not mine    clear lane.lock
//
// Edges (release -> acquire)
//   L1  Unlock: word 0  ->  Lock: word    everything done under the lock is visible
//   L2  Lock: word = me ->  Lock: word    who finds me there finds my slot LIVE, as I found it
#pragma once

#include "thole/shm/deadline.h"
#include "thole/shm/lane.h"
#include "thole/shm/word.h"

namespace thole::shm {

struct OwnerLockData {
  Word64 word;
};
static_assert(sizeof(OwnerLockData) == 8 &&
              std::has_unique_object_representations_v<OwnerLockData>);

enum class LockResult : uint8_t {
  kOk,
  kBusy,     ///< a live participant holds it (TryLock), or did until the deadline (Lock)
  kCorrupt,  ///< the word names a participant that cannot be
};

/// Takes the lock for `lane`, which must hold none. Waits for live owners until the deadline and
/// repairs dead ones. Spins about 2 us, then sleeps in slices. No system call when uncontended.
[[nodiscard]] LockResult Lock(Lane& lane, OwnerLockData& lock, Deadline deadline) noexcept;
/// One attempt, no system call. A dead owner's lock is kBusy too: `Lock` and the repair of the dead
/// release it.
[[nodiscard]] LockResult TryLock(Lane& lane, OwnerLockData& lock) noexcept;
/// Gives the lock back. The lane's log must be empty (committed or rolled back).
void Unlock(Lane& lane, OwnerLockData& lock) noexcept;
/// Whether `lane` is the owner.
bool IsLockedBy(const Lane& lane, const OwnerLockData& lock) noexcept;

}  // namespace thole::shm
