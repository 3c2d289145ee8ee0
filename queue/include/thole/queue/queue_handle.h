// QueueHandle: one queue as one participant uses it: the ring, the return list, who is to be woken.
// Untyped; PersistentQueue puts a type on it.
//
//   #include <thole/queue/queue_handle.h>
//   void Finish(const thole::queue::QueueHandle& queue) { queue.Close(); }
//
// Leases. A receive from a leased queue commits the pop at once; the message lives in the
// receiver's loan. Ack is `BlockSource::FreeLoan`. A message that is given back, or whose receiver
// died, goes into the queue's return list with one attempt more, and is served before the ring.
//
//   step      dies after                              log      recovered by
//   return.1  list locked                             empty    the lease stays in the loan
//   return.2  changes + 1 (unlogged)                  empty    the same
//   return.3  any logged word                         n words  rolled back: the same
//   return.4  COMMIT: in the list, the loan is empty  empty    nothing: lock released
//   return.5  unlocked                                empty    nothing; sleepers by their slice
//   serve.1   list locked                             empty    the message stays in the list
//   serve.2   changes + 1 (unlogged)                  empty    the same
//   serve.3   any logged word                         n words  rolled back: the same
//   serve.4   COMMIT: in the loan, off the list       empty    it is a lease of the dead
//   serve.5   unlocked                                empty    the same
//   close.1   COMMIT: closed = 1                      -        sleepers find out by their slice
#pragma once

#include <cstdint>
#include <memory>

#include "thole/queue/queue_ring.h"
#include "thole/shm/attachment.h"
#include "thole/shm/deadline.h"
#include "thole/shm/loan_table.h"
#include "thole/shm/owner_lock.h"

namespace thole::queue {

struct QueueStatistics {
  uint64_t pushed = 0;  ///< tickets given out; those of producers that died in a push included
  uint64_t popped = 0;
  uint64_t waiting = 0;   ///< in the ring
  uint64_t returned = 0;  ///< in the return list
  uint64_t rejected_full = 0;
  uint64_t timed_out = 0;
  uint64_t redelivered = 0;  ///< offered again after a death or a return
};

/// Copyable; shares the attachment. Thread-safe: each thread with its own lane. Calls must have
/// returned before the attachment leaves; in a forked child and after that every call answers
/// kClosed. A default-constructed handle may only be assigned to.
class QueueHandle {
 public:
  QueueHandle() = default;
  QueueHandle(std::shared_ptr<shm::Attachment> attachment, const QueueRing& ring);

  /// Sets this participant's bit in the holder map; before its first move (QueueFactory does it).
  void Announce() const noexcept;

  /// Elements without a block. `words` as in QueueRing.
  PushResult TryPush(const uint64_t* words, PushInfo& info) const noexcept;
  PopResult TryPop(uint64_t* words, PopInfo& info) const noexcept;
  /// Elements with a block, which goes from `given` into the queue, or from there into `into`.
  PushResult TryPush(shm::Lane& lane, const uint64_t* words, shm::LoanRef given,
                     PushInfo& info) const noexcept;
  PopResult TryPop(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                   PopInfo& info) const noexcept;

  /// Gives a leased message back with one attempt more (Nack, a dropped handle).
  ReturnResult ReturnLeased(shm::Lane& lane, shm::LoanRef loan,
                            shm::Deadline deadline) const noexcept;
  /// The same in one attempt, for destructors.
  ReturnResult TryReturnLeased(shm::Lane& lane, shm::LoanRef loan) const noexcept;

  /// No more pushes; everybody is woken. What is in the queue can still be taken.
  void Close() const noexcept;
  bool IsClosed() const noexcept { return !Usable() || ring_.IsClosed(); }
  uint64_t SizeApprox() const noexcept { return Usable() ? ring_.SizeApprox() : 0; }

  /// Counters of the header and what tickets tell; a moment's guess.
  QueueStatistics Statistics() const noexcept;
  void CountRejected() const noexcept;
  void CountTimedOut() const noexcept;

  /// Slot of some other participant that may hold a lease of this queue, or kNobody. Reads the
  /// loans of those in the holder map: for waiting and closing, not for every call.
  uint32_t FindOtherLeaseHolder() const noexcept;
  /// Repairs whoever is dead among those that may hold something here.
  void RepairHolders(uint32_t suspect) const noexcept;

  const QueueRing& ring() const { return ring_; }
  shm::Attachment& attachment() const { return *attachment_; }
  bool Usable() const noexcept {
    return attachment_ != nullptr && !attachment_->forked() && attachment_->joined();
  }

 private:
  uint64_t owner() const noexcept {
    return CellOwner(attachment_->slot(), attachment_->generation());
  }
  PopResult Serve(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                  PopInfo& info) const noexcept;
  ReturnResult PutBack(shm::Lane& lane, shm::LoanRef loan, shm::LockResult locked) const noexcept;
  bool IsLeaseHere(shm::LoanRef loan) const noexcept;
  PopResult TryPopLeased(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                         PopInfo& info) const noexcept;
  bool MayHoldLeaseHere(uint32_t slot) const noexcept;

  std::shared_ptr<shm::Attachment> attachment_;
  QueueRing ring_;
};

}  // namespace thole::queue
