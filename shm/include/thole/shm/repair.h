// Repair: what each component does about a participant that died.
//
// A component hands the attachment one RepairPart for each of its steps. Parts run in the order of
// RepairStep, each under the dead one's repair right, and must be idempotent: the repairer may die
// between any two stores and the next one begins the step again.
//
//   #include <thole/shm/repair.h>
//   struct Nothing final : thole::shm::RepairPart {
//     thole::shm::RepairStep step() const override { return thole::shm::RepairStep::kComm; }
//     thole::shm::RepairOutcome Repair(thole::shm::DeadParticipant&) override {
//       return thole::shm::RepairOutcome::kDone;
//     }
//   };
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "thole/shm/component_id.h"
#include "thole/shm/lane.h"
#include "thole/shm/loan_table.h"

namespace thole::shm {

/// The participant under repair (or detaching: then it is the caller itself).
struct DeadParticipant {
  Attachment& survivor;
  uint32_t slot;
  uint32_t generation;
  std::span<Lane> lanes;  ///< usable in its name, logs rolled back, no lock held
  bool detaching = false;
};

enum class RepairOutcome : uint8_t {
  kDone,
  kLater,  ///< a live participant holds what is needed; the step stays pending
};

class RepairPart {
 public:
  virtual ~RepairPart() = default;
  virtual RepairStep step() const = 0;
  virtual RepairOutcome Repair(DeadParticipant& dead) = 0;
};

/// Calls `visit` for every loan of a lane, inline ones first, then those of its chunks. At most
/// kChunksPerLane chunks; a chain that leaves the segment ends. False when the chain was not
/// believable.
bool ForEachLoan(SegmentView view, LaneData& lane, const std::function<void(LoanData&)>& visit);

}  // namespace thole::shm
