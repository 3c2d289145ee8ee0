// The operations and programs of `shm` for the stepper and the simulator.
#include <memory>
#include <new>

#include "harness_world.h"
#include "thole/shm/transaction.h"

namespace thole::shm::testing {
namespace {

std::unique_ptr<World> MakeWorld() { return std::make_unique<ShmWorld>(); }
ShmProcess& Of(Process& process) { return static_cast<ShmProcess&>(process); }
ShmWorld& Of(World& world) { return static_cast<ShmWorld&>(world); }

/// Moves under a lock and gives it back; false when the lock was busy until the deadline.
bool MoveOnce(World& world, Process& process, uint32_t lock, Random& random, Deadline deadline) {
  Call call = process.attachment().Enter(1, deadline);
  if (!call) return false;
  GuardedData& guarded = Of(process).data().guarded[lock];
  const LockResult locked = Lock(call.lane(), guarded.lock, deadline);
  if (locked == LockResult::kCorrupt) Of(world).told_corrupt = true;
  if (locked != LockResult::kOk) return false;
  const bool commit = !random.Chance(4);
  Move(call.lane(), guarded, random, commit);
  if (commit) ++Of(world).moved[lock];
  Unlock(call.lane(), guarded.lock);
  return true;
}

/// A process that dies under `lock`, with three words overwritten and none committed.
Process& DieInTransaction(World& world, Process& like, uint32_t lock) {
  std::unique_ptr<Process> dead = MakeSuccessor(world, like);
  if (!dead->attachment().Join("dead").ok()) std::abort();
  Call call = dead->attachment().Enter(1);
  GuardedData& guarded = Of(*dead).data().guarded[lock];
  if (Lock(call.lane(), guarded.lock, Deadline::Never()) != LockResult::kOk) std::abort();
  // Never destroyed: the dead roll nothing back.
  alignas(Transaction) std::byte bytes[sizeof(Transaction)];
  auto* transaction = new (bytes) Transaction(call.lane());
  transaction->Set(guarded.words[1], 12345);
  transaction->Set(guarded.narrow[1], 99);
  transaction->Set(guarded.words[0], 1);
  Kill(*dead);
  call.End();
  Of(world).dead.push_back(std::move(dead));
  return *Of(world).dead.back();
}

void TakeABlock(World&, Process& victim, Process&, Random&) {
  Call call = victim.attachment().Enter(1);
  const LoanRef loan = victim.attachment().TakeLoan(call.lane(), nullptr, Deadline::Never());
  if (loan) Of(victim).heap().AllocateTo(call.lane(), loan, 100, 8, Deadline::Never());
}

/// Where nobody died, everybody who slept was woken: a slice is only ever slept out for the dead.
void CheckNobodyWaitedForTime(World& world, Process& survivor, uint32_t died, Findings& findings) {
  const int64_t took_ns = survivor.attachment().platform().NowNs() - Of(world).began_ns;
  if (died == 0 && took_ns >= kShortWaitSliceNs) {
    findings.Add("wake", 0, "a run without deaths took " + std::to_string(took_ns) + " ns");
  }
}

void CheckMoves(World& world, Process& survivor, uint32_t died, Findings& findings) {
  CheckNobodyWaitedForTime(world, survivor, died, findings);
  const auto dead = static_cast<uint64_t>(__builtin_popcount(died));
  if (Of(world).told_corrupt) findings.Add("lock", 0, "a sound lock was called corrupt");
  for (uint32_t i = 0; i < kLocks; ++i) {
    const uint64_t moves =
        Of(survivor).data().guarded[i].moves.load(std::memory_order_relaxed);  // nobody is inside
    if (moves >= Of(world).moved[i] && moves <= Of(world).moved[i] + dead) continue;
    findings.Add("ledger", i,
                 std::to_string(Of(world).moved[i]) + " commits returned, the lock's words say " +
                     std::to_string(moves));
  }
}

// ---- the stepper -------------------------------------------------------------------------------

THOLE_OPERATION({.component = "shm",
                 .name = "Lock",
                 .shape = "free",
                 .make_world = MakeWorld,
                 .act =
                     [](World&, Process& victim, Random&) {
                       Call call = victim.attachment().Enter(1);
                       OwnerLockData& lock = Of(victim).data().guarded[0].lock;
                       (void)Lock(call.lane(), lock, Deadline::Never());
                     },
                 .alone = true});  // it keeps the lock

THOLE_OPERATION({.component = "shm",
                 .name = "Lock",
                 .shape = "of one who died in a transaction",
                 .make_world = MakeWorld,
                 .prepare = [](World& world, Process&, Process& other,
                               Random&) { DieInTransaction(world, other, 0); },
                 .act =
                     [](World&, Process& victim, Random&) {
                       Call call = victim.attachment().Enter(1);
                       OwnerLockData& lock = Of(victim).data().guarded[0].lock;
                       if (Lock(call.lane(), lock, Deadline::Never()) == LockResult::kOk) {
                         Unlock(call.lane(), lock);
                       }
                     }});

THOLE_OPERATION({.component = "shm",
                 .name = "TryLock",
                 .shape = "free, and given back",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim, Random&) {
                   Call call = victim.attachment().Enter(1);
                   OwnerLockData& lock = Of(victim).data().guarded[0].lock;
                   if (TryLock(call.lane(), lock) == LockResult::kOk) Unlock(call.lane(), lock);
                 }});

THOLE_OPERATION({.component = "shm",
                 .name = "Unlock",
                 .shape = "with a sleeper's mark in the word",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim, Random&) {
                   Call call = victim.attachment().Enter(1);
                   OwnerLockData& lock = Of(victim).data().guarded[0].lock;
                   (void)Lock(call.lane(), lock, Deadline::Never());
                   lock.word.fetch_or(kWaitersBit, std::memory_order_relaxed);  // as a sleeper does
                   Unlock(call.lane(), lock);
                 }});

THOLE_OPERATION({.component = "shm",
                 .name = "Commit",
                 .shape = "seven words of two widths",
                 .make_world = MakeWorld,
                 .act =
                     [](World& world, Process& victim, Random& random) {
                       MoveOnce(world, victim, 0, random, Deadline::Never());
                     },
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       GuardedData& guarded = Of(survivor).data().guarded[0];
                       const bool moved = guarded.moves.load(std::memory_order_relaxed) != 0;
                       const bool narrow = guarded.narrow[1].load(std::memory_order_relaxed) != 0;
                       if (moved != narrow)
                         findings.Add("atomic", 0, "half a transaction is visible");
                     }});

THOLE_OPERATION({.component = "shm",
                 .name = "Rollback",
                 .shape = "of as many words as the log holds",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim, Random& random) {
                   Call call = victim.attachment().Enter(1);
                   GuardedData& guarded = Of(victim).data().guarded[1];
                   (void)Lock(call.lane(), guarded.lock, Deadline::Never());
                   Transaction full(call.lane());
                   for (uint32_t i = 0; i <= kLogEntriesMax; ++i) {  // one too many
                     full.Set(guarded.words[i % kWordsPerLock], random.Next());
                   }
                   if (full.Commit())
                     guarded.words[0].store(7, std::memory_order_relaxed);  // a find
                   Unlock(call.lane(), guarded.lock);
                 }});

THOLE_OPERATION({.component = "shm",
                 .name = "Join",
                 .shape = "a segment in use",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim,
                           Random&) { (void)victim.attachment().Join("victim"); },
                 .joins_itself = true});

THOLE_OPERATION({.component = "shm",
                 .name = "Join",
                 .shape = "after a death",
                 .make_world = MakeWorld,
                 .prepare = [](World& world, Process&, Process& other,
                               Random&) { DieInTransaction(world, other, 1); },
                 .act = [](World&, Process& victim,
                           Random&) { (void)victim.attachment().Join("victim"); },
                 .joins_itself = true});

THOLE_OPERATION({.component = "shm",
                 .name = "Leave",
                 .shape = "with a loan and others there",
                 .make_world = MakeWorld,
                 .prepare = TakeABlock,
                 .act = [](World&, Process& victim, Random&) {
                   (void)victim.attachment().Leave(Deadline::Never());
                 }});

THOLE_OPERATION({.component = "shm",
                 .name = "Abandon",
                 .shape = "with a loan",
                 .make_world = MakeWorld,
                 .prepare = TakeABlock,
                 .act = [](World&, Process& victim, Random&) { victim.attachment().Abandon(); }});

THOLE_OPERATION({.component = "shm",
                 .name = "Enter",
                 .shape = "and out again",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim, Random&) {
                   Call one = victim.attachment().Enter(1);
                   Call two = victim.attachment().TryEnter(2);
                   one.End();
                 }});

THOLE_OPERATION({.component = "shm",
                 .name = "TakeLoan",
                 .shape = "with a further chunk",
                 .make_world = MakeWorld,
                 .prepare =
                     [](World&, Process& victim, Process&, Random&) {
                       while (victim.attachment().loans().Take(0)) {
                       }
                     },
                 .act =
                     [](World&, Process& victim, Random&) {
                       Call call = victim.attachment().Enter(1);
                       BlockHeap& heap = Of(victim).heap();
                       const LoanRef loan =
                           victim.attachment().TakeLoan(call.lane(), &heap, Deadline::Never());
                       if (loan) heap.AllocateTo(call.lane(), loan, 100, 8, Deadline::Never());
                     }});

THOLE_OPERATION({.component = "shm",
                 .name = "RepairSlot",
                 .shape = "of one who died in a transaction",
                 .make_world = MakeWorld,
                 .prepare = [](World& world, Process&, Process& other,
                               Random&) { DieInTransaction(world, other, 0); },
                 .act =
                     [](World& world, Process& victim, Random&) {
                       victim.attachment().RepairSlot(Of(world).dead[0]->attachment().slot());
                     }});

THOLE_OPERATION({.component = "shm",
                 .name = "ReleaseLocksOf",
                 .shape = "one who died in a transaction",
                 .make_world = MakeWorld,
                 .prepare = [](World& world, Process&, Process& other,
                               Random&) { DieInTransaction(world, other, 0); },
                 .act =
                     [](World& world, Process& victim, Random&) {
                       victim.attachment().ReleaseLocksOf(Of(world).dead[0]->attachment().slot());
                     }});

THOLE_OPERATION({.component = "shm",
                 .name = "RepairAll",
                 .shape = "of two",
                 .make_world = MakeWorld,
                 .prepare =
                     [](World& world, Process&, Process& other, Random&) {
                       DieInTransaction(world, other, 0);
                       DieInTransaction(world, other, 1);
                     },
                 .act = [](World&, Process& victim, Random&) { victim.attachment().RepairAll(); }});

THOLE_OPERATION({.component = "shm",
                 .name = "Enlist",
                 .shape = "then notified",
                 .make_world = MakeWorld,
                 .act = [](World&, Process& victim, Random&) {
                   WaitListData& list = Of(victim).data().waiters;
                   Platform& platform = victim.attachment().platform();
                   const WaitTicket ticket = Enlist(list, victim.attachment().slot());
                   Sleep(platform, list, ticket, platform.NowNs() + 1000);
                   NotifyOne(platform, list);
                   NotifyAll(platform, list);
                 }});

// ---- the simulator -----------------------------------------------------------------------------

THOLE_PROGRAM({.component = "shm",
               .name = "Moves",
               .processes = 3,
               .make_world = MakeWorld,
               .body =
                   [](World& world, Process& process, uint32_t, Random& random) {
                     for (uint64_t i = 1 + random.Below(3); i > 0; --i) {
                       MoveOnce(world, process, static_cast<uint32_t>(random.Below(kLocks)), random,
                                Deadline::Never());
                     }
                   },
               .check = CheckMoves});

THOLE_PROGRAM({.component = "shm",
               .name = "SeatsChangeHands",
               .processes = 3,
               .make_world = MakeWorld,
               .body =
                   [](World& world, Process& process, uint32_t, Random& random) {
                     if (!process.attachment().Join("first").ok()) return;
                     MoveOnce(world, process, 0, random, Deadline::Never());
                     if (random.Chance(2)) return;
                     (void)process.attachment().Leave(Deadline::Never());
                     const std::unique_ptr<Process> next = MakeSuccessor(world, process);
                     if (next == nullptr || !next->attachment().Join("second").ok()) return;
                     MoveOnce(world, *next, 0, random, Deadline::Never());
                   },
               .check = CheckMoves,
               .joins_itself = true});

/// Two locks at once, on two lanes, in an order that crosses that of others.
void MoveUnderBoth(World& world, Process& process, uint32_t first, Random& random) {
  Call outer = process.attachment().Enter(1);
  GuardedData& one = Of(process).data().guarded[first];
  GuardedData& two = Of(process).data().guarded[1 - first];
  if (Lock(outer.lane(), one.lock, Deadline::Never()) != LockResult::kOk) return;
  Call inner = process.attachment().TryEnter(2);
  const Deadline soon = In(process, std::chrono::microseconds(5));
  if (inner && Lock(inner.lane(), two.lock, soon) == LockResult::kOk) {
    Move(inner.lane(), two, random, true);
    ++Of(world).moved[1 - first];
    Unlock(inner.lane(), two.lock);
  }
  Move(outer.lane(), one, random, true);
  ++Of(world).moved[first];
  Unlock(outer.lane(), one.lock);
}

THOLE_PROGRAM({.component = "shm",
               .name = "LocksCross",
               .processes = 3,
               .make_world = MakeWorld,
               .body =
                   [](World& world, Process& process, uint32_t index, Random& random) {
                     MoveUnderBoth(world, process, index % kLocks, random);
                     MoveOnce(world, process, 0, random, Deadline::Never());
                   },
               .check = CheckMoves});

THOLE_PROGRAM({.component = "shm",
               .name = "TheDeadAreThereAlready",
               .processes = 2,
               .make_world = MakeWorld,
               .prepare =
                   [](World& world, Process& setup, Random&) {
                     DieInTransaction(world, setup, 0);
                     DieInTransaction(world, setup, 1);
                   },
               .body =
                   [](World& world, Process& process, uint32_t index, Random& random) {
                     if (random.Chance(2)) process.attachment().RepairAll();
                     MoveOnce(world, process, index % kLocks, random, Deadline::Never());
                   },
               .check = CheckMoves});

THOLE_PROGRAM({.component = "shm",
               .name = "Loans",
               .processes = 2,
               .make_world = MakeWorld,
               .body = [](World&, Process& process, uint32_t index, Random& random) {
                 Attachment& attachment = process.attachment();
                 BlockHeap& heap = Of(process).heap();
                 while (index == 0 && attachment.loans().Take(0)) {  // a chunk will be needed
                 }
                 for (uint64_t i = 1 + random.Below(2); i > 0; --i) {
                   Call call = attachment.Enter(1);
                   const LoanRef loan = attachment.TakeLoan(call.lane(), &heap, Deadline::Never());
                   if (!loan) return;
                   if (heap.AllocateTo(call.lane(), loan, 8, 8, Deadline::Never()) !=
                       BlockResult::kOk) {
                     attachment.loans().Return(loan);
                   } else if (random.Chance(2)) {
                     heap.FreeLoan(call.lane(), loan, Deadline::Never());
                     attachment.loans().Return(loan);
                   }
                 }
               }});

bool TakeToken(Process& process) {
  Word64& tokens = Of(process).data().tokens;
  uint64_t seen = tokens.load(std::memory_order_seq_cst);  // W1
  while (seen != 0) {
    if (tokens.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst)) return true;
  }
  return false;
}

constexpr uint64_t kTokensEach = 2;

void WaitForToken(World& world, Process& process) {
  WaitListData& list = Of(process).data().waiters;
  Platform& platform = process.attachment().platform();
  constexpr int kSlices = 5;  // the poster may be dead
  for (int slice = 0; slice < kSlices; ++slice) {
    if (TakeToken(process)) return;
    const WaitTicket ticket = Enlist(list, process.attachment().slot());
    if (TakeToken(process)) return;
    const int64_t until = platform.NowNs() + kWaitSliceNs;
    Sleep(platform, list, ticket, until);
    if (platform.NowNs() < until) --slice;  // woken, or for nothing: that counts for no slice
    if (platform.NowNs() >= until) ++Of(world).slept_in_vain;
  }
}

THOLE_PROGRAM({.component = "shm",
               .name = "EverySleeperIsWoken",
               .processes = 3,
               .make_world = MakeWorld,
               .body =
                   [](World& world, Process& process, uint32_t index, Random&) {
                     if (index > 0) {
                       for (uint64_t i = 0; i < kTokensEach; ++i) WaitForToken(world, process);
                       return;
                     }
                     HarnessData& data = Of(process).data();
                     for (uint64_t i = 0; i < 2 * kTokensEach; ++i) {
                       data.tokens.fetch_add(1, std::memory_order_seq_cst);  // W1
                       NotifyOne(process.attachment().platform(), data.waiters);
                     }
                   },
               .check =
                   [](World& world, Process& survivor, uint32_t died, Findings& findings) {
                     if (died != 0) return;  // a wake-up may die with the woken
                     if (Of(world).slept_in_vain != 0) findings.Add("W1", 0, "a wake-up was lost");
                     if (Of(survivor).data().tokens.load(std::memory_order_relaxed) != 0) {
                       findings.Add("W1", 0, "a token is left");
                     }
                   }});

}  // namespace
}  // namespace thole::shm::testing
