#include "return_list.h"

#include "thole/queue/message_control.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/transaction.h"

namespace thole::queue {
namespace {

// Before a transaction, unlogged: it never goes back, so a reader that sees one number twice saw no
// change in between.
void CountChange(ReturnListData& list) {
  list.changes.fetch_add(1, std::memory_order_release);  // Q-e, before the words of the list
}

// After a transaction: whoever registers as a sleeper and does not see this was seen by the
// notifier.
void ShowChange(ReturnListData& list) {
  list.changes.fetch_add(1, std::memory_order_seq_cst);  // W1
}

}  // namespace

ListSight LookAtList(const QueueRing& ring) noexcept {
  const ReturnListData& list = ring.data().returned;
  ListSight sight{};
  // In this order: who is at it after `locked` was read has yet to count his change.
  sight.changes = list.changes.load(std::memory_order_seq_cst);        // Q-e, W1
  sight.locked = list.lock.word.load(std::memory_order_acquire) != 0;  // L1
  sight.count = list.count.load(std::memory_order_acquire);            // Q-e
  return sight;
}

ListResult PutIntoList(shm::Lane& lane, const QueueRing& ring, shm::LoanData& loan,
                       int64_t time_of_death_ns) noexcept {
  ReturnListData& list = ring.data().returned;
  const uint64_t block = loan.block.load(std::memory_order_relaxed);  // ours, or of the dead: P-b
  const uint64_t lease = loan.lease.load(std::memory_order_relaxed);  // ours, or of the dead: P-b
  const uint64_t count = list.count.load(std::memory_order_relaxed);  // under the lock
  const uint64_t last = list.tail.load(std::memory_order_relaxed);    // under the lock
  // TRUST: both blocks by the view; a list that would bite its own tail is refused.
  auto* control = ring.view().At<MessageControlData>(block);
  auto* last_control = count == 0 ? nullptr : ring.view().At<MessageControlData>(last);
  if (control == nullptr || (count != 0 && (last_control == nullptr || last == block))) {
    return ListResult::kCorrupt;
  }
  // Not logged: the block is the holder's until the COMMIT, and all of it follows from the lease.
  control->link.store(0, std::memory_order_release);           // before COMMIT
  control->not_before_ns.store(0, std::memory_order_release);  // before COMMIT
  control->attempts.store(shm::LeaseAttempts(lease) + 1, std::memory_order_release);  // likewise
  control->last_holder.store(lane.owner(), std::memory_order_release);  // before COMMIT
  control->time_of_death_ns.store(static_cast<uint64_t>(time_of_death_ns),
                                  std::memory_order_release);  // before COMMIT
  CountChange(list);
  THOLE_CRASH_POINT("queue.return.2");
  shm::Transaction put(lane);
  put.Set(count == 0 ? list.head : last_control->link, block);
  THOLE_CRASH_POINT("queue.return.3");
  put.Set(list.tail, block);
  put.Set(list.count, count + 1);
  put.Set(loan.block, 0);
  put.Set(loan.lease, 0);
  if (!put.Commit()) return ListResult::kCorrupt;  // return.4 COMMIT
  THOLE_CRASH_POINT("queue.return.4");
  ring.data().counters.redelivered.fetch_add(1, std::memory_order_relaxed);  // a statistic
  ShowChange(list);
  return ListResult::kOk;
}

ListResult TakeFromList(shm::Lane& lane, const QueueRing& ring, uint64_t* words,
                        shm::LoanData& into, PopInfo& info) noexcept {
  ReturnListData& list = ring.data().returned;
  const uint64_t count = list.count.load(std::memory_order_relaxed);  // under the lock
  const uint64_t block = list.head.load(std::memory_order_relaxed);   // under the lock
  if (count == 0) return ListResult::kNothing;
  // TRUST: the block by the view; its link when it is followed the next time.
  auto* control = ring.view().At<MessageControlData>(block);
  if (control == nullptr) return ListResult::kCorrupt;
  const uint64_t link = control->link.load(std::memory_order_relaxed);          // under the lock
  const uint64_t attempts = control->attempts.load(std::memory_order_relaxed);  // under the lock
  if ((link == 0) != (count == 1)) return ListResult::kCorrupt;
  for (uint32_t i = 0; i < ring.element_words(); ++i) {
    words[i] = i < kDescriptorWords
                   ? control->descriptor[i].load(std::memory_order_relaxed)  // written once, Q-a
                   : 0;
  }
  words[kBlockWord] = block;
  info.ticket = words[kSequenceWord];
  info.attempts = static_cast<uint32_t>(attempts);
  CountChange(list);
  THOLE_CRASH_POINT("queue.serve.2");
  shm::Transaction take(lane);
  take.Set(list.head, link);
  THOLE_CRASH_POINT("queue.serve.3");
  if (count == 1) take.Set(list.tail, 0);
  take.Set(list.count, count - 1);
  take.Set(into.lease, ring.LeaseOf(attempts));
  take.Set(into.block, block);
  if (!take.Commit()) return ListResult::kCorrupt;  // serve.4 COMMIT
  THOLE_CRASH_POINT("queue.serve.4");
  return ListResult::kOk;
}

}  // namespace thole::queue
