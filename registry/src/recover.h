// RegistryRepair: the registry's step in the repair of a dead (or leaving) participant.
#pragma once

#include "thole/registry/registry_table.h"
#include "thole/shm/repair.h"

namespace thole::registry {

/// Idempotent: the repairer may die anywhere in it.
class RegistryRepair final : public shm::RepairPart {
 public:
  explicit RegistryRepair(const RegistryTable& table) : table_(table) {}
  shm::RepairStep step() const override { return shm::RepairStep::kRegistry; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override;

 private:
  RegistryTable table_;
};

}  // namespace thole::registry
