// What the registry does about a dead participant: clear its bits, in its name and its log.
//
// A buffer that goes with it moves to an empty loan of the dead one, in the transaction that frees
// the entry; alloc's last step frees that loan with the others. Where every loan of the dead one is
// taken the buffer stays as an orphan, and the next call of anybody frees it.
//
//   step        dies after                         recovered by
//   (settle.*)  the dead one's move is settled     the next lock holder goes on
//   (drop.*)    one bit cleared                    the bit is clear: the next repairer goes on
#include "recover.h"

#include <array>

#include "entry_moves.h"
#include "thole/shm/attachment.h"

namespace thole::registry {
namespace {

// How long a repairer waits for a live holder of the lock before it lets others try again.
constexpr int64_t kPatienceNs = 2'000'000;

// Loans of the dead one that hold nothing and are in no step. A handful at a time: the table of
// loans is looked through again when they are used up.
class EmptyLoans {
 public:
  EmptyLoans(shm::SegmentView view, shm::DeadParticipant& dead) : view_(view), dead_(dead) {}

  shm::LoanData* Next() {
    if (next_ == count_) Collect();
    return next_ < count_ ? loans_[next_] : nullptr;
  }
  void Used() { ++next_; }

 private:
  void Collect() {
    next_ = count_ = 0;
    for (shm::Lane& lane : dead_.lanes) {
      // What is left of a broken chain of chunks is the heap's finding, not ours.
      (void)ForEachLoan(view_, lane.data(), [this](shm::LoanData& loan) {
        if (count_ < loans_.size() && loan.block.load(std::memory_order_acquire) == 0 &&  // P-b
            loan.ticket.load(std::memory_order_acquire) == 0) {                           // P-b
          loans_[count_++] = &loan;
        }
      });
    }
  }

  shm::SegmentView view_;
  shm::DeadParticipant& dead_;
  std::array<shm::LoanData*, 64> loans_{};
  size_t count_ = 0;
  size_t next_ = 0;
};

}  // namespace

shm::RepairOutcome RegistryRepair::Repair(shm::DeadParticipant& dead) {
  // Always through the lock, also when no bit is set: a queue is freed under it only while nobody's
  // queue step is pending, and whoever passes here sees what was freed before.
  const int64_t now = dead.survivor.platform().NowNs();
  LockedRegistry locked(dead.lanes[0], table_, shm::Deadline::At(now + kPatienceNs));
  if (locked.result() == shm::NameResult::kBusy) return shm::RepairOutcome::kLater;
  // A lock word that cannot be stays: the audit tells, and the other steps must go on.
  if (locked.result() != shm::NameResult::kOk) return shm::RepairOutcome::kDone;
  EmptyLoans loans(table_.view(), dead);
  for (uint32_t index = 0; index < table_.entries_max(); ++index) {
    if (!locked.HeldByMe(index)) continue;
    if (locked.Drop(index, loans.Next())) loans.Used();
  }
  return shm::RepairOutcome::kDone;
}

}  // namespace thole::registry
