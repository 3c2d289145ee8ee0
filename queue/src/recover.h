// What the queues do about a participant that died or detaches. Private to `queue`.
//
//   step       dies after                           recovered by the next repairer
//   recover.1  a loan with a ticket was decided     again: its ticket is 0, nothing to decide
//   recover.2  a cell of the dead was repaired      again: it is not the dead one's any more
//   recover.3  epoch + 1                            again: only the epoch moves
//   recover.4  head went back                       again: nothing lies behind head
//   recover.5  a lease went into its return list    again: the loan is empty
//   recover.6  everybody was woken                  again
//   recover.7  the holder bit of a queue cleared    again: nothing of the dead is there
//
// Loans of all queues come before any cell: once a cell is repaired, "given" and "not given" look
// alike. Holds the repair right of the dead; the seat is not reused before it ends.
#pragma once

#include <vector>

#include "thole/queue/queue_ring.h"
#include "thole/shm/block_source.h"
#include "thole/shm/name_source.h"
#include "thole/shm/repair.h"

namespace thole::queue {

/// Does not own the attachment that it is registered with.
class QueueRepair final : public shm::RepairPart {
 public:
  QueueRepair(shm::NameSource& names, shm::BlockSource* heap) : names_(names), heap_(heap) {}
  shm::RepairStep step() const override { return shm::RepairStep::kQueue; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override;

 private:
  using Rings = std::vector<QueueRing>;
  Rings AllRings(const shm::DeadParticipant& dead);
  shm::RepairOutcome ReturnLeases(shm::DeadParticipant& dead, const Rings& rings);
  shm::RepairOutcome ReturnLease(shm::Lane& lane, const QueueRing& ring, shm::LoanData& loan,
                                 const shm::DeadParticipant& dead);

  shm::NameSource& names_;
  shm::BlockSource* heap_;
};

}  // namespace thole::queue
