#include "thole/shm/transaction.h"

#include "thole/shm/attachment.h"
#include "thole/shm/untrusted.h"

namespace thole::shm {

Transaction::Transaction(Lane& lane) : lane_(lane) {
  THOLE_DCHECK(lane.data().log.count.load(std::memory_order_relaxed) == 0);  // own lane
}

Transaction::~Transaction() {
  if (count_ != 0) Rollback();
}

void Transaction::Log(const void* word, uint64_t width, uint64_t old) {
  const SegmentView view = lane_.attachment().view();
  THOLE_DCHECK(view.Contains(word));
  if (count_ == kLogEntriesMax) full_ = true;
  if (full_) return;
  UndoLogData& log = lane_.data().log;
  LogEntryData& entry = log.entries[count_];
  // All releases: none may be moved before the COMMIT of the transaction before this one.
  entry.where.store(view.OffsetOf(word) << 4 | width, std::memory_order_release);  // log.1
  entry.old.store(old, std::memory_order_release);                                 // log.1
  THOLE_CRASH_POINT("log.1");
  log.count.store(++count_, std::memory_order_release);  // log.2, before the word is overwritten
  THOLE_CRASH_POINT("log.2");
}

bool Transaction::Commit() {
  if (full_) {
    Rollback();
    return false;
  }
  lane_.data().log.count.store(0, std::memory_order_release);  // log.4 COMMIT, after every word
  count_ = 0;
  THOLE_CRASH_POINT("log.4");
  return true;
}

void Transaction::Rollback() {
  RollBack(lane_.attachment().view(), lane_.data().log);
  count_ = 0;
  full_ = false;
}

bool RollBack(SegmentView view, UndoLogData& log) noexcept {
  // TRUST: count by its range; each entry's width by the switch, its offset by the view.
  const Untrusted<uint64_t> count(log.count.load(std::memory_order_acquire));  // P-b
  const auto entries = count.Within(0, kLogEntriesMax);
  bool believable = entries.has_value();
  for (uint64_t i = entries.value_or(0); i-- > 0;) {
    const uint64_t where = log.entries[i].where.load(std::memory_order_relaxed);  // counted: P-b
    const uint64_t old = log.entries[i].old.load(std::memory_order_relaxed);      // counted: P-b
    switch (where & 15) {
      case 8:
        if (auto* word = view.At<Word64>(where >> 4)) {
          word->store(old, std::memory_order_release);  // before count = 0
          continue;
        }
        break;
      case 4:
        if (auto* word = view.At<Word32>(where >> 4)) {
          word->store(static_cast<uint32_t>(old), std::memory_order_release);  // before count = 0
          continue;
        }
        break;
      default:
        break;
    }
    believable = false;
  }
  if (count.raw() != 0) log.count.store(0, std::memory_order_release);  // after every word
  return believable;
}

}  // namespace thole::shm
