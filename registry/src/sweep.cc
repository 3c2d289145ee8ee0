// Giving back: handles that are dropped, and what destructors and repairs had to leave.
#include "calls.h"
#include "entry_moves.h"
#include "handle_counts.h"
#include "thole/registry/shared_buffer_registry.h"

namespace thole::registry {

using shm::BlockResult;
using shm::Call;
using shm::Deadline;
using shm::Lane;
using shm::LoanRef;
using shm::NamedPlace;
using shm::NameResult;

void SharedBufferRegistry::GiveBack(Lane& lane, LoanRef loan, Deadline deadline) noexcept {
  if (loan->block.load(std::memory_order_relaxed) == 0) {  // own loan
    attachment_->loans().Return(loan);
    return;
  }
  switch (heap_.FreeLoan(lane, loan, deadline)) {
    case BlockResult::kOk:
      attachment_->loans().Return(loan);
      return;
    case BlockResult::kBusy:
      attachment_->loans().Doom(loan);  // a later call frees it
      return;
    default:
      return;  // no block of the heap: the loan keeps it as evidence for the audit
  }
}

void SharedBufferRegistry::DropHandle(const NamedPlace& place) noexcept {
  if (!usable() || counts_->TryDropShared(place)) return;
  Call call = attachment_->TryEnter(kReleaseCall);
  if (!call || !TryDropHandle(call.lane(), place)) counts_->DropLater(place);
}

bool SharedBufferRegistry::TryDropHandle(Lane& lane, const NamedPlace& place) noexcept {
  const LoanRef loan = attachment_->TakeLoan(lane, nullptr, Deadline::Now());
  bool had_lock = false;
  {
    LockedRegistry locked(lane, table(), Deadline::Now(), LockedRegistry::Patience::kTryOnce);
    had_lock = locked.result() == NameResult::kOk;
    if (had_lock && counts_->Drop(place) && locked.IsCurrent(place)) {
      locked.Drop(place.index, loan ? &loan.data() : nullptr);
    }
  }
  if (loan) GiveBack(lane, loan, Deadline::Now());
  return had_lock;
}

bool SharedBufferRegistry::SweepPostponed(Lane& lane, Deadline deadline) noexcept {
  for (;;) {
    if (!counts_->any_postponed()) return true;
    const LoanRef loan = attachment_->TakeLoan(lane, nullptr, Deadline::Now());
    bool had_lock = false;
    {
      LockedRegistry locked(lane, table(), deadline);
      had_lock = locked.result() == NameResult::kOk;
      if (had_lock) {
        if (const auto index = counts_->TakePostponed()) {
          locked.Drop(*index, loan ? &loan.data() : nullptr);
        }
      }
    }
    if (loan) GiveBack(lane, loan, deadline);
    if (!had_lock) return false;
  }
}

bool SharedBufferRegistry::SweepOrphans(Lane& lane, Deadline deadline) noexcept {
  // TRUST: the count of orphans is only a hint; each turn frees one or finds that there is none.
  const shm::Word64& orphans = table().data().orphans;
  while (orphans.load(std::memory_order_relaxed) != 0) {  // looked at again under the lock
    const LoanRef loan = attachment_->TakeLoan(lane, nullptr, Deadline::Now());
    if (!loan) return false;
    bool had_lock = false;
    {
      LockedRegistry locked(lane, table(), deadline);
      had_lock = locked.result() == NameResult::kOk;
      if (had_lock) {
        const uint32_t index = locked.FindOrphan();
        if (index < table().entries_max()) locked.Free(index, loan.data());
      }
    }
    GiveBack(lane, loan, deadline);
    if (!had_lock) return false;
  }
  return true;
}

bool SharedBufferRegistry::SweepDoomed(Lane& lane, Deadline deadline) noexcept {
  while (attachment_->loans().AnyDoomed()) {
    const LoanRef loan = attachment_->loans().TakeDoomed();
    if (!loan) return true;
    const bool plain = loan->lease.load(std::memory_order_relaxed) == 0 &&  // own loan
                       loan->ticket.load(std::memory_order_relaxed) == 0;   // own loan
    if (!plain) {
      attachment_->loans().Doom(loan);  // a lease is the channel's affair
      return true;
    }
    switch (heap_.FreeLoan(lane, loan, deadline)) {
      case BlockResult::kOk:
        attachment_->loans().Return(loan);
        break;
      case BlockResult::kBusy:
        attachment_->loans().Doom(loan);
        return false;
      default:
        break;  // no block of the heap: evidence for the audit
    }
  }
  return true;
}

bool SharedBufferRegistry::SweepIn(Lane& lane, Deadline deadline) noexcept {
  const bool postponed = SweepPostponed(lane, deadline);
  const bool orphans = SweepOrphans(lane, deadline);
  const bool doomed = SweepDoomed(lane, deadline);
  return postponed && orphans && doomed;
}

bool SharedBufferRegistry::Sweep(Deadline deadline) noexcept {
  if (!usable()) return false;
  Call call = attachment_->Enter(kSweepCall, deadline);
  return call && SweepIn(call.lane(), deadline);
}

}  // namespace thole::registry
