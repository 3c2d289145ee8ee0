#include "thole/queue/queue_handle.h"

#include "return_list.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/wait_list.h"

namespace thole::queue {
namespace {

constexpr uint32_t kTurnsMax = 64;

uint64_t OwnerOf(const shm::Lane& lane) {
  return CellOwner(lane.slot(), lane.owner_id().generation);
}

// Who holds the lock of the list, for a waiter that may find it dead.
uint32_t LockHolder(const QueueRing& ring) {
  const uint64_t word = ring.data().returned.lock.word.load(std::memory_order_relaxed);  // a hint
  return (word & 0xfff) == 0 ? kNobody : shm::OwnerId::Unpack(word).slot;
}

}  // namespace

QueueHandle::QueueHandle(std::shared_ptr<shm::Attachment> attachment, const QueueRing& ring)
    : attachment_(std::move(attachment)), ring_(ring) {}

void QueueHandle::Announce() const noexcept {
  const uint64_t bit = uint64_t{1} << attachment_->slot() % 64;
  ring_.HolderWord(attachment_->slot())
      .fetch_or(bit, std::memory_order_seq_cst);  // Q-f; connect.1 COMMIT
  THOLE_CRASH_POINT("queue.connect.1");
}

PushResult QueueHandle::TryPush(const uint64_t* words, PushInfo& info) const noexcept {
  if (!Usable()) return PushResult::kClosed;
  if (ring_.descriptors()) return PushResult::kCorrupt;
  const PushResult result = ring_.TryPush(owner(), words, nullptr, info);
  if (result == PushResult::kOk) NotifyOne(attachment_->platform(), ring_.data().consumers);
  return result;
}

PopResult QueueHandle::TryPop(uint64_t* words, PopInfo& info) const noexcept {
  if (!Usable()) return PopResult::kClosed;
  const PopResult result = ring_.TryPop(owner(), words, nullptr, info);
  if (result == PopResult::kOk) NotifyOne(attachment_->platform(), ring_.data().producers);
  return result;
}

PushResult QueueHandle::TryPush(shm::Lane& lane, const uint64_t* words, shm::LoanRef given,
                                PushInfo& info) const noexcept {
  if (!Usable()) return PushResult::kClosed;
  shm::LoanData* loan = given ? &given.data() : nullptr;
  const PushResult result = ring_.TryPush(OwnerOf(lane), words, loan, info);
  if (result == PushResult::kOk) NotifyOne(attachment_->platform(), ring_.data().consumers);
  return result;
}

PopResult QueueHandle::TryPop(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                              PopInfo& info) const noexcept {
  if (!Usable()) return PopResult::kClosed;
  if (!into) return PopResult::kCorrupt;
  if (ring_.leased()) return TryPopLeased(lane, words, into, info);
  const PopResult result = ring_.TryPop(OwnerOf(lane), words, &into.data(), info);
  if (result == PopResult::kOk) NotifyOne(attachment_->platform(), ring_.data().producers);
  return result;
}

PopResult QueueHandle::Serve(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                             PopInfo& info) const noexcept {
  ReturnListData& list = ring_.data().returned;
  const shm::LockResult locked = shm::TryLock(lane, list.lock);
  if (locked == shm::LockResult::kCorrupt) return PopResult::kCorrupt;
  if (locked == shm::LockResult::kBusy) {
    info.stalled_on = LockHolder(ring_);
    return PopResult::kPending;
  }
  THOLE_CRASH_POINT("queue.serve.1");
  const ListResult taken = TakeFromList(lane, ring_, words, into.data(), info);
  shm::Unlock(lane, list.lock);
  THOLE_CRASH_POINT("queue.serve.5");
  // Who found the lock held sleeps although there is more: pass the wake-up on.
  if (LookAtList(ring_).count != 0) NotifyOne(attachment_->platform(), ring_.data().consumers);
  if (taken == ListResult::kCorrupt) return PopResult::kCorrupt;
  return taken == ListResult::kOk ? PopResult::kOk : PopResult::kEmpty;
}

// Order: sight of the list, the list, the ring, other leases, sight of the list. A message goes
// ring -> loan -> list -> loan; whoever finds each place empty in this order, and the list
// unchanged and unlocked, saw a moment at which there was none.
PopResult QueueHandle::TryPopLeased(shm::Lane& lane, uint64_t* words, shm::LoanRef into,
                                    PopInfo& info) const noexcept {
  for (uint32_t turn = 0; turn < kTurnsMax; ++turn) {
    const ListSight before = LookAtList(ring_);
    bool list_busy = false;
    if (before.count != 0) {
      const PopResult served = Serve(lane, words, into, info);
      if (served == PopResult::kOk || served == PopResult::kCorrupt) return served;
      list_busy = served == PopResult::kPending;
    }
    PopInfo of_ring;
    const PopResult result = ring_.TryPop(OwnerOf(lane), words, &into.data(), of_ring);
    if (result == PopResult::kOk) {
      NotifyOne(attachment_->platform(), ring_.data().producers);
      info = of_ring;
      return result;
    }
    if (!list_busy) info = of_ring;
    if (result != PopResult::kEmpty && result != PopResult::kClosed) return result;
    if (list_busy) return PopResult::kPending;
    if (result == PopResult::kClosed) {
      info.stalled_on = before.locked ? LockHolder(ring_) : FindOtherLeaseHolder();
      if (before.locked || info.stalled_on != kNobody) return PopResult::kPending;
    }
    if (before.count != 0 || !LookAtList(ring_).SameListAs(before)) continue;
    if (!before.locked) return result;
    // Somebody takes the only message, or puts one there: if he dies before his COMMIT, it was in
    // the list all the time.
    info.stalled_on = LockHolder(ring_);
    return PopResult::kPending;
  }
  return PopResult::kPending;
}

ReturnResult QueueHandle::PutBack(shm::Lane& lane, shm::LoanRef loan,
                                  shm::LockResult locked) const noexcept {
  if (locked == shm::LockResult::kBusy) return ReturnResult::kBusy;
  if (locked == shm::LockResult::kCorrupt) return ReturnResult::kCorrupt;
  THOLE_CRASH_POINT("queue.return.1");
  const ListResult put = PutIntoList(lane, ring_, loan.data(), 0);
  shm::Unlock(lane, ring_.data().returned.lock);
  THOLE_CRASH_POINT("queue.return.5");
  if (put != ListResult::kOk) return ReturnResult::kCorrupt;
  NotifyOne(attachment_->platform(), ring_.data().consumers);
  return ReturnResult::kOk;
}

bool QueueHandle::IsLeaseHere(shm::LoanRef loan) const noexcept {
  if (!Usable() || !loan) return false;
  const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
  const uint64_t lease = loan->lease.load(std::memory_order_relaxed);  // own loan
  return block != 0 && ring_.IsLeaseHere(lease);
}

ReturnResult QueueHandle::ReturnLeased(shm::Lane& lane, shm::LoanRef loan,
                                       shm::Deadline deadline) const noexcept {
  if (!IsLeaseHere(loan)) return ReturnResult::kNotLeased;
  return PutBack(lane, loan, shm::Lock(lane, ring_.data().returned.lock, deadline));
}

ReturnResult QueueHandle::TryReturnLeased(shm::Lane& lane, shm::LoanRef loan) const noexcept {
  if (!IsLeaseHere(loan)) return ReturnResult::kNotLeased;
  return PutBack(lane, loan, shm::TryLock(lane, ring_.data().returned.lock));
}

void QueueHandle::Close() const noexcept {
  if (!Usable()) return;
  ring_.Close();
  NotifyAll(attachment_->platform(), ring_.data().consumers);
  NotifyAll(attachment_->platform(), ring_.data().producers);
}

// Also true while it cannot be known. A lease that vanished in a transaction, as an ack makes it,
// may come back if its holder dies: so the log is read after the loans, and after the log whether
// somebody rolled it back in between.
bool QueueHandle::MayHoldLeaseHere(uint32_t slot) const noexcept {
  const shm::Segment& segment = attachment_->segment();
  bool found = false;
  for (uint32_t i = 0; !found && i < segment.lanes_per_participant(); ++i) {
    shm::LaneData* lane = segment.LaneAt(slot, i);
    if (lane == nullptr) return false;
    // A chain that is not believable ends: what lies beyond is found by the audit.
    (void)shm::ForEachLoan(attachment_->view(), *lane, [&](shm::LoanData& loan) {
      const uint64_t lease = loan.lease.load(std::memory_order_acquire);  // Q-e: or it is returned
      if (!ring_.IsLeaseHere(lease)) return;
      found = found || loan.block.load(std::memory_order_acquire) != 0;  // likewise
    });
    found = found || lane->log.count.load(std::memory_order_acquire) != 0;  // after the loans
  }
  const uint64_t word = segment.Slot(slot)->word.load(std::memory_order_acquire);  // after the logs
  return found || shm::SlotWord::Unpack(word).state == shm::SlotState::kRepair;
}

uint32_t QueueHandle::FindOtherLeaseHolder() const noexcept {
  if (!ring_.leased()) return kNobody;
  for (uint32_t slot = 0; slot < attachment_->segment().participants_max(); ++slot) {
    const uint64_t map = ring_.HolderWord(slot).load(std::memory_order_seq_cst);  // Q-f
    if ((map >> slot % 64 & 1) == 0 || slot == attachment_->slot()) continue;
    if (MayHoldLeaseHere(slot)) return slot;
  }
  return kNobody;
}

void QueueHandle::RepairHolders(uint32_t suspect) const noexcept {
  const uint32_t slots = attachment_->segment().participants_max();
  for (uint32_t slot = 0; slot < slots; ++slot) {
    const uint64_t map = ring_.HolderWord(slot).load(std::memory_order_relaxed);  // a superset
    if ((map >> slot % 64 & 1) == 0 && slot != suspect) continue;
    if (slot != attachment_->slot()) attachment_->RepairSlot(slot);
  }
}

QueueStatistics QueueHandle::Statistics() const noexcept {
  if (!Usable()) return {};
  const SharedQueueData& data = ring_.data();
  const uint64_t tail = data.tail.load(std::memory_order_relaxed);  // a guess
  const uint64_t head = data.head.load(std::memory_order_relaxed);  // a guess
  QueueStatistics result;
  result.pushed = (tail - ring_.first_ticket()) & kTicketMask;
  result.popped = (head - ring_.first_ticket()) & kTicketMask;
  result.returned = data.returned.count.load(std::memory_order_relaxed);  // a guess
  result.waiting = ring_.SizeApprox() - result.returned;
  result.rejected_full = data.counters.rejected_full.load(std::memory_order_relaxed);  // statistic
  result.timed_out = data.counters.timed_out.load(std::memory_order_relaxed);          // statistic
  result.redelivered = data.counters.redelivered.load(std::memory_order_relaxed);      // statistic
  return result;
}

void QueueHandle::CountRejected() const noexcept {
  ring_.data().counters.rejected_full.fetch_add(1, std::memory_order_relaxed);  // a statistic
}

void QueueHandle::CountTimedOut() const noexcept {
  ring_.data().counters.timed_out.fetch_add(1, std::memory_order_relaxed);  // a statistic
}

}  // namespace thole::queue
