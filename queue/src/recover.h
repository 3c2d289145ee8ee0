// What the queues do about a participant that died or detaches. Private to `queue`.
//
//   step       dies after                                  recovered by the next repairer
//   recover.1  a loan with a ticket was decided            its ticket is 0: skipped
//   recover.2  a cell of the dead: next lap, or FULL       it is not the dead one's any more:
//   skipped recover.3  head rewound, epoch + 1                     rewound again: only the epoch
//   moves recover.4  a lease went into its return list           the loan is empty: skipped
//   recover.5  everybody was woken                         woken again
//   recover.6  the holder bit of one queue cleared         that queue has nothing of the dead
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
