// Edit: one move on the heap - its lock and its transaction, and the proof that the log suffices.
#pragma once

#include <optional>

#include "heap.h"
#include "thole/shm/attachment.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/transaction.h"

namespace thole::alloc {

// Logged words of each part of a move; the whole table is the proof that 31 entries are enough.
//   unlink    next's link; then previous' link, or head, or head + row bit + level bit
//   insert    own link; then the old head's link, or row bit + level bit; then head
//   count     used; peak and free
inline constexpr uint32_t kUnlinkWords = 3;
inline constexpr uint32_t kInsertWords = 4;
inline constexpr uint32_t kCountWords = 2;
//   allocate  unlink; gap's header + insert; block's header; successor's prev; tail's insert;
//             count; holder, or a magazine's link, head and count                  = 19
//   free      unlink twice; own header; joined header; successor's prev; insert; count;
//             the loan's four words, or a magazine's head and count                = 19
//   shrink    header; unlink; tail's header and prev; successor's prev; insert; count = 13
//   grow      the same, with the rest of the successor as the tail                   = 13
inline constexpr uint32_t kAllocateWords =
    kUnlinkWords + 1 + kInsertWords + 1 + 1 + kInsertWords + kCountWords + 3;
inline constexpr uint32_t kFreeWords = 2 * kUnlinkWords + 3 + kInsertWords + kCountWords + 4;
inline constexpr uint32_t kShrinkWords = 1 + kUnlinkWords + 3 + kInsertWords + kCountWords;
inline constexpr uint32_t kGrowWords = kShrinkWords;
static_assert(kAllocateWords == 19 && kFreeWords == 19 && kShrinkWords == 13);
static_assert(kFreeWords <= shm::kLogEntriesMax, "no move needs more than the log holds");

/// The heap's lock for the length of one move.
class HeapLock {
 public:
  HeapLock(shm::Lane& lane, shm::OwnerLockData& lock, LockMode mode) noexcept
      : lane_(lane), lock_(lock), result_(Take(lane, lock, mode)) {}
  ~HeapLock() {
    if (result_ == shm::LockResult::kOk) shm::Unlock(lane_, lock_);
  }
  HeapLock(const HeapLock&) = delete;
  HeapLock& operator=(const HeapLock&) = delete;

  explicit operator bool() const { return result_ == shm::LockResult::kOk; }
  shm::BlockResult failure() const {
    return result_ == shm::LockResult::kBusy ? shm::BlockResult::kBusy : shm::BlockResult::kCorrupt;
  }

 private:
  // About a microsecond: as long as a move takes, so that a destructor mostly succeeds.
  static constexpr int kTrySpins = 50;

  static shm::LockResult Take(shm::Lane& lane, shm::OwnerLockData& lock, LockMode mode) noexcept {
    if (!mode.try_only) return shm::Lock(lane, lock, mode.deadline);
    shm::LockResult result = shm::TryLock(lane, lock);
    for (int spin = 0; result == shm::LockResult::kBusy && spin < kTrySpins; ++spin) {
      lane.attachment().platform().Relax();
      if (lock.word.load(std::memory_order_relaxed) != 0) continue;  // a hint: TryLock decides
      result = shm::TryLock(lane, lock);
    }
    return result;
  }

  shm::Lane& lane_;
  shm::OwnerLockData& lock_;
  shm::LockResult result_;
};

/// The logged stores of one move. Destroyed without Commit = rolled back.
class Edit {
 public:
  Edit(shm::Lane& lane, uint32_t words_max) : transaction_(lane), words_left_(words_max) {}

  template <class Word, class Value>
  void Set(Word& word, Value value) {
    THOLE_DCHECK(words_left_ > 0);
    --words_left_;
    transaction_.Set(word, value);
  }
  void Commit() {
    const bool committed = transaction_.Commit();
    THOLE_DCHECK(committed);
    static_cast<void>(committed);
  }

 private:
  shm::Transaction transaction_;
  uint32_t words_left_;
};

}  // namespace thole::alloc
