// What alloc does about a participant that died. Two steps of the repair, each idempotent.
//
//   step        dies after                                  recovered by
//   intent.1    the intent emptied, since its block is in   nothing: there is no intent
//               its holder or in a magazine
//   intent.2    COMMIT: its block freed, the intent emptied nothing: there is no intent
//   reserved.1  a linked chunk's reserved loan emptied      nothing: the chain holds the chunk
//   reserved.2  COMMIT: an unlinked chunk freed, its loan   nothing: the loan is empty
//               emptied
//   loan.1      COMMIT: a plain loan's block freed, the     nothing: the loan is empty
//               loan emptied
//   chain.1     COMMIT: the first chunk freed, its next     the rest of the chain is freed
//               is the first now
//   empty.1     the magazines of a lane are empty           done again: they stay empty
//
// Each freeing is one transaction of the heap (free.1 to free.5), logged in the dead one's lane.
#pragma once

#include "heap.h"
#include "thole/shm/attachment.h"
#include "thole/shm/repair.h"

namespace thole::alloc {

/// The block that each lane's intent names, then the reserved chunk loans.
class RepairIntents final : public shm::RepairPart {
 public:
  explicit RepairIntents(const Heap& heap) : heap_(heap) {}
  shm::RepairStep step() const override { return shm::RepairStep::kAllocIntents; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override;

 private:
  // A copy: the attachment owns the parts, so a part must not own the attachment.
  Heap heap_;
};

/// Plain loans, then the chunks that loans lie in, then the magazines.
class RepairLoans final : public shm::RepairPart {
 public:
  explicit RepairLoans(const Heap& heap) : heap_(heap) {}
  shm::RepairStep step() const override { return shm::RepairStep::kAllocLoans; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override;

 private:
  Heap heap_;
};

}  // namespace thole::alloc
