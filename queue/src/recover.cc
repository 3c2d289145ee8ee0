#include "recover.h"

#include <utility>

#include "return_list.h"
#include "thole/queue/message_control.h"
#include "thole/shm/attachment.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/wait_list.h"

namespace thole::queue {
namespace {

// How long a repairer waits for a live participant that holds a return list.
constexpr int64_t kLockPatienceNs = 2'000'000;

bool IsHolder(const QueueRing& ring, uint32_t slot) {
  const uint64_t map = ring.HolderWord(slot).load(std::memory_order_acquire);  // Q-f
  return (map >> slot % 64 & 1) != 0;
}

const QueueRing* FindRing(const std::vector<QueueRing>& rings, uint64_t where) {
  for (const QueueRing& ring : rings) {
    if (ring.where() == where) return &ring;
  }
  return nullptr;
}

const QueueRing* FindLeaseRing(const std::vector<QueueRing>& rings, uint64_t lease) {
  for (const QueueRing& ring : rings) {
    if (ring.leased() && ring.IsLeaseHere(lease)) return &ring;
  }
  return nullptr;
}

void EmptyLoan(shm::LoanData& loan) {
  loan.block.store(0, std::memory_order_release);  // before the ticket
  loan.lease.store(0, std::memory_order_release);  // after block, before the ticket
}

// Step 1: does the loan keep its block? The cell says how far the dead one came.
void DecideLoan(const std::vector<QueueRing>& rings, uint64_t owner, shm::LoanData& loan) {
  const uint64_t ticket = loan.ticket.load(std::memory_order_acquire);  // of the dead: P-b
  const shm::LoanKind kind = shm::TicketKind(ticket);
  if (kind != shm::LoanKind::kSend && kind != shm::LoanKind::kReceive) return;
  const uint64_t where = loan.where.load(std::memory_order_acquire);  // of the dead: P-b
  const QueueRing* ring = FindRing(rings, where);
  // A queue does not go while somebody in its holder map lives or is not repaired. Bytes that say
  // so all the same: a leak can be found, a block with two holders cannot be mended.
  bool keeps_block = false;
  if (ring != nullptr) {
    const uint64_t number = shm::TicketNumber(ticket) & kCellTicketMask;
    const uint64_t index = number & (ring->capacity() - 1);
    const uint64_t word = ring->State(index).load(std::memory_order_acquire);  // of the dead: P-b
    const CellState cell = CellState::Unpack(word);
    const CellPhase claim = kind == shm::LoanKind::kSend ? CellPhase::kWriting : CellPhase::kTaken;
    const bool in_the_middle = cell.ticket == number && cell.owner == owner && cell.phase == claim;
    keeps_block = in_the_middle == (kind == shm::LoanKind::kSend);
  }
  if (!keeps_block) EmptyLoan(loan);
  loan.ticket.store(0, std::memory_order_release);  // recover.1, after the block
  THOLE_CRASH_POINT("queue.recover.1");
}

// Step 2: claims of the dead. A message that was not given makes room for the next lap; one that
// was not taken is offered again.
void RepairCells(const QueueRing& ring, uint64_t owner) {
  for (uint64_t i = 0; i < ring.capacity(); ++i) {
    uint64_t word = ring.State(i).load(std::memory_order_acquire);  // of the dead: P-b
    const CellState seen = CellState::Unpack(word);
    if (seen.owner != owner || !IsClaim(seen.phase)) continue;
    CellState repaired{seen.ticket + ring.capacity(), 0, CellPhase::kEmpty, 0};
    if (seen.phase != CellPhase::kWriting) {
      const uint64_t attempts =
          seen.attempts < kAttemptsSaturated ? seen.attempts + 1 : seen.attempts;
      repaired = {seen.ticket, attempts, CellPhase::kFull, 0};
      ring.data().counters.redelivered.fetch_add(1, std::memory_order_relaxed);  // a statistic
    }
    ring.State(i).compare_exchange_strong(word, repaired.Pack(),
                                          std::memory_order_acq_rel,   // Q-g; recover.2
                                          std::memory_order_relaxed);  // hostile bytes: leave them
    THOLE_CRASH_POINT("queue.recover.2");
  }
}

// Step 3a: counts the epoch up, even if head stays. A helper that loaded head before this, and who
// perhaps saw a cell of the dead still TAKEN, cannot move head over it any more; one that loads it
// from now on sees the repaired cell. Returns the head as it was.
uint64_t CountEpochUp(const QueueRing& ring) {
  shm::Word64& word = ring.data().head;
  uint64_t head = word.load(std::memory_order_acquire);  // Q-c
  while (!word.compare_exchange_weak(head, PackHead(HeadEpoch(head) + 1, head),
                                     std::memory_order_acq_rel,     // Q-g; recover.3
                                     std::memory_order_acquire)) {  // Q-c, tried again
  }
  THOLE_CRASH_POINT("queue.recover.3");
  return head;
}

struct Stranded {
  uint64_t index;
  uint64_t word;
  uint64_t ticket;  // 48 bits
};

// The FULL cells behind `head`: their messages were offered again when head had passed them. Nobody
// can take them, nor put further ones there, before head goes back.
std::vector<Stranded> FindStranded(const QueueRing& ring, uint64_t head) {
  std::vector<Stranded> stranded;
  for (uint64_t i = 0; i < ring.capacity(); ++i) {
    const uint64_t word = ring.State(i).load(std::memory_order_acquire);  // Q-a
    const CellState cell = CellState::Unpack(word);
    const int64_t distance = CellTicketDistance(cell.ticket, head);
    // TRUST: a ticket that is no more than a lap off and in its own cell, else it moves nothing.
    const bool believable = distance >= -1 - int64_t{ring.capacity()} &&
                            ((cell.ticket ^ i) & (ring.capacity() - 1)) == 0;
    if (cell.phase != CellPhase::kFull || distance >= 0 || !believable) continue;
    stranded.push_back({i, word, (head + static_cast<uint64_t>(distance)) & kTicketMask});
  }
  return stranded;
}

// Step 3b: head goes back to the first stranded message. Another repairer may move it too; what was
// taken since must not count, so the cells are read between the load of head and the exchange: if
// that succeeds, head stood still meanwhile, and nobody took a message behind it.
void Rewind(const QueueRing& ring) {
  const std::vector<Stranded> stranded = FindStranded(ring, CountEpochUp(ring));
  shm::Word64& word = ring.data().head;
  uint64_t head = word.load(std::memory_order_acquire);  // Q-c
  for (;;) {
    uint64_t target = head;
    for (const Stranded& cell : stranded) {
      if (TicketDistance(cell.ticket, target) >= 0) continue;
      const uint64_t now = ring.State(cell.index).load(std::memory_order_acquire);  // Q-a
      if (now == cell.word) target = cell.ticket;
    }
    if (target == head) return;
    if (word.compare_exchange_weak(head, PackHead(HeadEpoch(head) + 1, target),
                                   std::memory_order_acq_rel,     // Q-g; recover.4
                                   std::memory_order_acquire)) {  // Q-c, tried again
      THOLE_CRASH_POINT("queue.recover.4");
      return;
    }
  }
}

void WakeAll(shm::Platform& platform, const QueueRing& ring) {
  NotifyAll(platform, ring.data().consumers);
  NotifyAll(platform, ring.data().producers);
  THOLE_CRASH_POINT("queue.recover.6");
}

}  // namespace

QueueRepair::Rings QueueRepair::AllRings(const shm::DeadParticipant& dead) {
  Rings rings;
  names_.ForEach(shm::kQueuePlace, [&](const shm::NamedPlace& place) {
    // A queue whose facts are damaged is left alone: the audit reports it.
    auto ring = QueueRing::Open(dead.survivor.view(), place.offset, place.size_bytes);
    if (ring.ok()) rings.push_back(*ring);
  });
  return rings;
}

shm::RepairOutcome QueueRepair::ReturnLease(shm::Lane& lane, const QueueRing& ring,
                                            shm::LoanData& loan, const shm::DeadParticipant& dead) {
  shm::Platform& platform = dead.survivor.platform();
  shm::OwnerLockData& lock = ring.data().returned.lock;
  // Who detaches may be a destructor; `Leave` comes again until its deadline.
  const auto patience =
      dead.detaching ? shm::Deadline::Now() : shm::Deadline::At(platform.NowNs() + kLockPatienceNs);
  const shm::LockResult locked = shm::Lock(lane, lock, patience);
  if (locked == shm::LockResult::kBusy) return shm::RepairOutcome::kLater;
  ListResult put = ListResult::kCorrupt;
  if (locked == shm::LockResult::kOk) {
    const uint64_t block = loan.block.load(std::memory_order_relaxed);  // of the dead: P-b
    // TRUST: what the heap says; without one the list's own checks decide.
    const bool is_block = heap_ == nullptr || heap_->BlockSize(block) >= sizeof(MessageControlData);
    if (is_block) put = PutIntoList(lane, ring, loan, dead.detaching ? 0 : platform.NowNs());
    shm::Unlock(lane, lock);
  }
  // A lease that cannot go back becomes plain: its block is freed, the damage is the audit's.
  if (put != ListResult::kOk) loan.lease.store(0, std::memory_order_release);  // alone: one word
  THOLE_CRASH_POINT("queue.recover.5");
  return shm::RepairOutcome::kDone;
}

shm::RepairOutcome QueueRepair::ReturnLeases(shm::DeadParticipant& dead, const Rings& rings) {
  shm::RepairOutcome outcome = shm::RepairOutcome::kDone;
  for (shm::Lane& lane : dead.lanes) {
    (void)shm::ForEachLoan(dead.survivor.view(), lane.data(), [&](shm::LoanData& loan) {
      const uint64_t lease = loan.lease.load(std::memory_order_acquire);    // of the dead: P-b
      const uint64_t block = loan.block.load(std::memory_order_acquire);    // of the dead: P-b
      const uint64_t ticket = loan.ticket.load(std::memory_order_acquire);  // of the dead: P-b
      if (lease == 0 || block == 0 || ticket != 0) return;
      const QueueRing* ring = FindLeaseRing(rings, lease);
      if (ring == nullptr) {
        loan.lease.store(0, std::memory_order_release);  // the channel is gone: plain
      } else if (ReturnLease(lane, *ring, loan, dead) == shm::RepairOutcome::kLater) {
        outcome = shm::RepairOutcome::kLater;
      }
    });
  }
  return outcome;
}

shm::RepairOutcome QueueRepair::Repair(shm::DeadParticipant& dead) {
  const Rings rings = AllRings(dead);
  const uint64_t owner = CellOwner(dead.slot, dead.generation);
  for (shm::Lane& lane : dead.lanes) {
    (void)shm::ForEachLoan(dead.survivor.view(), lane.data(),
                           [&](shm::LoanData& loan) { DecideLoan(rings, owner, loan); });
  }
  for (const QueueRing& ring : rings) {
    if (!IsHolder(ring, dead.slot)) continue;
    RepairCells(ring, owner);
    Rewind(ring);
  }
  const shm::RepairOutcome outcome = ReturnLeases(dead, rings);
  for (const QueueRing& ring : rings) {
    if (!IsHolder(ring, dead.slot)) continue;
    WakeAll(dead.survivor.platform(), ring);
    if (outcome == shm::RepairOutcome::kLater) continue;
    const uint64_t bit = uint64_t{1} << dead.slot % 64;
    ring.HolderWord(dead.slot).fetch_and(~bit, std::memory_order_acq_rel);  // Q-g; recover.7, last
    THOLE_CRASH_POINT("queue.recover.7");
  }
  return outcome;
}

}  // namespace thole::queue
