// Emptying the words of a lane and of a loan. Private to `shm`.
#pragma once

#include "thole/shm/participant_data.h"

namespace thole::shm {

/// Block first, ticket last: an empty loan is empty whatever else it says.
inline void ClearLoan(LoanData& loan) {
  loan.block.store(0, std::memory_order_release);   // before the rest
  loan.lease.store(0, std::memory_order_release);   // after block
  loan.where.store(0, std::memory_order_release);   // after block
  loan.ticket.store(0, std::memory_order_release);  // last
}

/// What invariant P1 demands of the lanes of a FREE slot.
inline void ClearLane(LaneData& lane) {
  lane.log.count.store(0, std::memory_order_release);     // step 0 left it empty
  lane.intent.word.store(0, std::memory_order_release);   // its component is done
  lane.block_intent.store(0, std::memory_order_release);  // its component is done
  lane.lock.store(0, std::memory_order_release);          // step 0 released it
  lane.first_chunk.store(0, std::memory_order_release);   // freed by alloc's last step
  ClearLoan(lane.reserved);
  for (LoanData& loan : lane.loans) ClearLoan(loan);
  lane.in_call.store(0, std::memory_order_release);  // outside of the library
}

}  // namespace thole::shm
