// What alloc does about a participant that died. Two steps of the repair, each idempotent.
//
//   step              dies after                             recovered by
//   alloc.recover.1   a plain loan of the intent's block     the step again: the intent still names
//   it
//                     was emptied
//   alloc.recover.2   COMMIT: the intent's block freed and   the step again: no intent
//                     the intent emptied (free.5)
//   alloc.recover.3   a linked chunk's reserved loan emptied the step again: it is empty
//   alloc.recover.4   COMMIT: an unlinked chunk freed and    the step again: it is empty
//                     its loan emptied (free.5)
//   alloc.recover.5   COMMIT: a plain loan's block freed     the step again: the loan is empty
//                     and the loan emptied (free.5)
//   alloc.recover.6   COMMIT: the first chunk freed and      the step again: the chain is shorter
//                     first_chunk = its next (free.5)
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

/// Plain loans, then the chunks that loans lie in.
class RepairLoans final : public shm::RepairPart {
 public:
  explicit RepairLoans(const Heap& heap) : heap_(heap) {}
  shm::RepairStep step() const override { return shm::RepairStep::kAllocLoans; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override;

 private:
  Heap heap_;
};

}  // namespace thole::alloc
