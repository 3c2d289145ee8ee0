// A tiny component for the harnesses' own tests, correct or with one fault of each kind.
//
// Two words stand under an owner lock and must be equal whenever nobody is inside. A credit is a
// third word that is carried over to a fourth through the lane's intent, which a repair finishes.
#pragma once

#include <memory>
#include <string>

#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/transaction.h"

namespace thole::shm::testing {

enum class Fault {
  kNone,
  kNoUndo,           // both words are stored without a log
  kLogTooLate,       // a word is overwritten, then noted
  kLockForgotten,    // the lock is never given back
  kLockWithoutName,  // taken by a bare store, so that no repair releases it
  kRepairCounts,     // members are counted down by a repair: twice when it is done twice
  kRepairForgets,    // the repair clears the intent before it has done what it says
  kRepairNothing,    // the repair leaves a half-carried credit
  kRepairNeverDone,  // the repair answers "later" for ever
  kRepairRestless,   // the same, and each attempt changes something
  kAuditCrashes,     // a survivor follows what it reads
  kAuditHangs,       // a survivor never comes back
  kPointerStored,    // a raw pointer in the segment
  kPointerFollowed,  // the same in small pieces: another process's mapping is touched
  kBeyondTheEnd,     // an access behind the last byte
  kWaitsForTheDead,  // a spin loop that only another process ends
  kSleepsForEver,    // a sleep that nobody ends
  kRace,             // read and store without the lock
  kRelaxedFlag,      // the store that says a message is there has no order
  kNoTotalOrder,     // two processes store, then look at what the other one stored, with acquires
  kPlainTooEarly,    // plain bytes are read before the flag that gives them away is seen
  kRelaxedLock,      // a lock of one word is given back without an order
};

struct ToyData {
  OwnerLockData lock;
  Word64 left;
  Word64 right;
  Word64 from;
  Word64 to;
  Word64 misused;
  Word32 sleepers;
  Word32 unused;
  Word64 message;
  Word64 flag;
  uint64_t plain;
};
static_assert(sizeof(ToyData) == 80);

class ToyProcess final : public Process {
 public:
  ToyProcess(std::shared_ptr<Attachment> attachment, Fault fault);
  /// left and right grow by one.
  void Add();
  /// Carries one from `from` to `to`.
  void Carry();
  ToyData& data() { return *data_; }

 private:
  void AddUnderLock(Lane& lane);
  void Misbehave();

  const Fault fault_;
  ToyData* data_;
};

class ToyWorld final : public World {
 public:
  explicit ToyWorld(Fault fault) : fault_(fault) {}
  uint64_t segment_bytes() const override { return 64 << 10; }
  std::vector<RootRequest> Roots() const override;
  std::unique_ptr<Process> MakeProcess(std::shared_ptr<Attachment> attachment) override;
  void Joined(Process& process) override;
  void Audit(Process& survivor, Findings& findings) override;

  uint64_t added = 0;     // calls of Add that returned
  uint64_t wake_ups = 0;  // of ToySleepsAndWorks
  uint64_t unseen = 0;    // of ToyMeets
  uint64_t wrong = 0;     // of ToySays, ToyGuards

 private:
  const Fault fault_;
};

inline constexpr uint64_t kCredit = 100;

Operation ToyAdd(Fault fault);
Operation ToyCarry(Fault fault);
/// Each process adds a few times; the ledger counts.
Program ToyAdds(Fault fault);
Program ToyCarries(Fault fault);
/// Two processes, one call each.
Program ToyAddsOnce(Fault fault);
/// Process 0 says something to process 1; what is heard must be what was said.
Program ToySays(Fault fault);
/// Each stores its own word, then reads the other's: one of them must see the other.
Program ToyMeets(Fault fault);
/// A lock of one word around two words that must be equal.
Program ToyGuards(Fault fault);
/// Process 0 sleeps in slices until a deadline, process 1 is busy meanwhile. More than
/// `wake_ups_max` wake-ups are a finding.
Program ToySleepsAndWorks(uint64_t wake_ups_max);

}  // namespace thole::shm::testing
