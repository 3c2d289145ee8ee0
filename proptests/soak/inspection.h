// An inspection: everybody stands still, the dead are repaired, then the whole segment is audited.
// Every second time the channels are run empty first; then the ledger must be settled and the heap
// as it was in the beginning.
#pragma once

#include <functional>
#include <string>

#include "crew.h"
#include "report.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::soak {

class Inspection {
 public:
  /// All of it must outlive this. `used_bytes` is what the heap has in use when all is empty.
  Inspection(const SharedBoard& board, StreamMap streams, Crew& crew,
             UnifiedCommunicationSystem& system, uint64_t used_bytes, uint64_t hang_seconds,
             SoakReport& report)
      : board_(board),
        streams_(streams),
        crew_(crew),
        system_(system),
        used_bytes_(used_bytes),
        hang_seconds_(hang_seconds),
        report_(report) {}

  /// With messages, leases, writers and buffers where they are, and a few killed holding them.
  void WithAllInFlight(shm::testing::Random& random);
  /// With everything empty.
  void WithAllEmpty();
  void GoOn() { SetPhase(kRun); }
  void SetPhase(Phase phase);

  void AddFinding(const std::string& text);

 private:
  bool AwaitStanding(bool producers_only);
  bool AwaitDrained();
  uint64_t CountWaiting();
  bool StandsStill(const Member& member) const;
  void Audit();
  void CheckSeats();
  void CheckLedger();
  void RemoveTables();
  bool AwaitOr(const std::function<bool()>& done, const std::string& what,
               const std::function<std::string()>& who);

  const SharedBoard& board_;
  const StreamMap streams_;
  Crew& crew_;
  UnifiedCommunicationSystem& system_;
  const uint64_t used_bytes_;
  const uint64_t hang_seconds_;
  SoakReport& report_;
  uint64_t taken_along_allowed_ = 0;

 public:
  /// A consumer died between a receive without acknowledgement and its note.
  void AllowTakenAlong(uint64_t count) { taken_along_allowed_ += count; }
};

}  // namespace thole::soak
