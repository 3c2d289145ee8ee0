// Transaction: any number of shared words change together, or none does.
//
//   #include <thole/shm/transaction.h>
//   // Under an owner lock that `lane` holds:
//   void Move(thole::shm::Lane& lane, thole::shm::Word64& from, thole::shm::Word64& to) {
//     thole::shm::Transaction move(lane);
//     move.Set(to, from.load(std::memory_order_relaxed));  // under the lock
//     move.Set(from, 0);
//     move.Commit();
//   }
//
// A physical undo log in the lane: note {where, old}, count it, then overwrite; COMMIT is the store
// that empties the log. All stores are releases: a kill leaves a prefix of them in program order,
// and the compiler may not reorder releases against each other.
//
//   step   dies after              log        recovered by
//   log.1  an entry is written     n          the entry is not counted: nothing to do for it
//   log.2  the entry is counted    n + 1      the old value is stored again, which changes nothing
//   log.3  the word is overwritten n + 1      the old value comes back
//   log.4  COMMIT: count = 0       0          carried on: nothing to undo
#pragma once

#include "thole/shm/crash_point.h"
#include "thole/shm/lane.h"
#include "thole/shm/word.h"

namespace thole::shm {

/// Lives on the stack of one call, under an owner lock. Never two open at once on one lane. Cost:
/// four stores a word. Destroyed without Commit = rolled back.
class Transaction {
 public:
  explicit Transaction(Lane& lane);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Notes the old value and stores the new one. `word` must lie in the segment.
  void Set(Word64& word, uint64_t value) {
    Log(&word, 8, word.load(std::memory_order_relaxed));       // under the lock
    if (!full_) word.store(value, std::memory_order_release);  // log.3, after log.2
    THOLE_CRASH_POINT("log.3");
  }
  void Set(Word32& word, uint32_t value) {
    Log(&word, 4, word.load(std::memory_order_relaxed));       // under the lock
    if (!full_) word.store(value, std::memory_order_release);  // log.3, after log.2
    THOLE_CRASH_POINT("log.3");
  }
  /// Makes all of it final. False if the log was too small: then everything is rolled back.
  bool Commit();
  /// Takes all of it back.
  void Rollback();

 private:
  void Log(const void* word, uint64_t width, uint64_t old);

  Lane& lane_;
  uint64_t count_ = 0;
  bool full_ = false;
};

/// Stores the old values of `log` back, newest first, and empties it; bounded, checks every entry,
/// idempotent. False if an entry was not believable: it is skipped and the log is emptied anyway.
bool RollBack(SegmentView view, UndoLogData& log) noexcept;

}  // namespace thole::shm
