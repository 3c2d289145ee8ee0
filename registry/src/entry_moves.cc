#include "entry_moves.h"

#include "thole/registry/registry_reader.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/transaction.h"
#include "thole/shm/untrusted.h"

namespace thole::registry {
namespace {

using shm::LoanData;
using shm::NameResult;
using shm::Word64;

// An empty loan may still carry words of its last use: without them it is plain.
void PutInto(shm::Transaction& move, LoanData& loan, uint64_t block) {
  if (loan.lease.load(std::memory_order_relaxed) != 0) move.Set(loan.lease, 0);    // own loan
  if (loan.ticket.load(std::memory_order_relaxed) != 0) move.Set(loan.ticket, 0);  // own loan
  move.Set(loan.block, block);
}

}  // namespace

LockedRegistry::LockedRegistry(shm::Lane& lane, const RegistryTable& table, shm::Deadline deadline,
                               Patience patience) noexcept
    : lane_(lane), table_(table) {
  RegistryData& data = table_.data();
  switch (patience == Patience::kTryOnce ? TryLock(lane, data.lock)
                                         : Lock(lane, data.lock, deadline)) {
    case shm::LockResult::kOk:
      break;
    case shm::LockResult::kBusy:
      return;
    case shm::LockResult::kCorrupt:
      result_ = NameResult::kCorrupt;
      return;
  }
  locked_ = true;
  result_ = NameResult::kOk;
  // TRUST: the entry's number by the table.
  const uint64_t unsettled = data.unsettled.load(std::memory_order_relaxed);  // L1
  if (unsettled != 0) {
    if (unsettled <= table_.entries_max()) Settle(static_cast<uint32_t>(unsettled - 1));
    data.unsettled.store(0, std::memory_order_release);  // after the entry is settled
  }
}

void LockedRegistry::Unlock() noexcept {
  if (!locked_) return;
  locked_ = false;
  RegistryData& data = table_.data();
  shm::Unlock(lane_, data.lock);
  // Each waits for a name of its own: all of them look.
  if (wake_ && data.waiters.waiters.load(std::memory_order_seq_cst) != 0) {  // W1
    NotifyAll(lane_.attachment().platform(), data.waiters);
  }
}

bool LockedRegistry::IsCurrent(const shm::NamedPlace& place) const noexcept {
  if (place.index >= table_.entries_max()) return false;
  const StateWord now = state(place.index);
  return now.state != EntryState::kFree && now.generation == place.generation;
}

bool LockedRegistry::HeldByMe(uint32_t index) const noexcept {
  return (my_word(index).load(std::memory_order_relaxed) & my_bit()) != 0;  // L1
}

bool LockedRegistry::HasHolderBut(uint32_t index, uint64_t mine) const noexcept {
  const Word64* my = &my_word(index);
  for (const Word64& word : table_.holders(index)) {
    const uint64_t bits = word.load(std::memory_order_relaxed);  // L1
    if ((&word == my ? bits & ~mine : bits) != 0) return true;
  }
  return false;
}

bool LockedRegistry::HeldByOthers(uint32_t index) const noexcept {
  return HasHolderBut(index, my_bit());
}

uint32_t LockedRegistry::FindFree() const noexcept {
  const uint32_t entries = table_.entries_max();
  const uint64_t hint = table_.data().free_hint.load(std::memory_order_relaxed);  // only a hint
  for (uint32_t i = 0; i < entries; ++i) {
    const auto index = static_cast<uint32_t>((hint % entries + i) % entries);
    if (state(index).state == EntryState::kFree) return index;
  }
  return entries;
}

NameResult LockedRegistry::Publish(const NewEntry& fields, LoanData& loan,
                                   shm::NamedPlace& place) noexcept {
  const NameResult found = RegistryReader(table_).FindPacked(fields.name, fields.hash, place);
  if (found != NameResult::kNotFound) {
    return found == NameResult::kOk ? NameResult::kExists : found;
  }
  const uint32_t index = FindFree();
  if (index == table_.entries_max()) return NameResult::kFull;
  EntryData& entry = table_.entry(index);
  const uint32_t generation = state(index).generation;
  BeginMove(index);
  THOLE_CRASH_POINT("registry.publish.1");
  const uint64_t block = loan.block.load(std::memory_order_relaxed);  // own loan
  WriteFields(entry, fields, block);
  for (Word64& word : table_.holders(index)) {
    word.store(0, std::memory_order_release);  // a FREE entry has none; before the log's entries
  }
  THOLE_CRASH_POINT("registry.publish.2");
  shm::Transaction move(lane_);
  move.Set(my_word(index), my_bit());
  move.Set(loan.block, 0);
  move.Set(entry.state, StateWord{generation, EntryState::kLive}.Pack());
  THOLE_CRASH_POINT("registry.publish.3");
  move.Commit();
  THOLE_CRASH_POINT("registry.publish.4");
  EndMove(index);
  table_.data().free_hint.store(index + 1, std::memory_order_relaxed);  // only a hint
  place = ReadPlace(entry, index, generation);
  return NameResult::kOk;
}

void LockedRegistry::Hold(uint32_t index) noexcept {
  Word64& word = my_word(index);
  const uint64_t bits = word.load(std::memory_order_relaxed);  // L1
  word.store(bits | my_bit(), std::memory_order_release);      // hold.1 COMMIT; L1
  THOLE_CRASH_POINT("registry.hold.1");
}

bool LockedRegistry::Drop(uint32_t index, LoanData* loan) noexcept {
  if (!HeldByMe(index)) return false;
  const EntryState now = state(index).state;
  const bool goes =
      now == EntryState::kRemoved || (now == EntryState::kLive && IsEphemeral(table_.entry(index)));
  if (goes && !HeldByOthers(index)) return Retire(index, loan);
  Word64& word = my_word(index);
  const uint64_t bits = word.load(std::memory_order_relaxed);  // L1
  word.store(bits & ~my_bit(), std::memory_order_release);     // drop.3 COMMIT: one word, no log
  THOLE_CRASH_POINT("registry.drop.3");
  return false;
}

bool LockedRegistry::Remove(uint32_t index, LoanData* loan) noexcept {
  if (!HasHolderBut(index, 0)) return Retire(index, loan);
  BeginMove(index);
  THOLE_CRASH_POINT("registry.drop.1");
  EntryData& entry = table_.entry(index);
  const StateWord removed{state(index).generation, EntryState::kRemoved};
  entry.state.store(removed.Pack(), std::memory_order_release);  // drop.3 COMMIT: one word, no log
  THOLE_CRASH_POINT("registry.drop.3");
  EndMove(index);
  return false;
}

// Nobody but me holds the entry and its name is gone or goes: it leaves with my bit.
bool LockedRegistry::Retire(uint32_t index, LoanData* loan) noexcept {
  EntryData& entry = table_.entry(index);
  const uint32_t generation = state(index).generation;
  const bool is_queue = ReadPlace(entry, index, generation).kind == shm::kQueuePlace;
  BeginMove(index);
  THOLE_CRASH_POINT("registry.drop.1");
  shm::Transaction move(lane_);
  if (HeldByMe(index)) move.Set(my_word(index), 0);
  if (is_queue) {
    move.Set(entry.state, StateWord{generation, EntryState::kDying}.Pack());
  } else if (loan != nullptr) {
    PutInto(move, *loan, entry.offset.load(std::memory_order_relaxed));  // L1
    move.Set(entry.state, StateWord{generation + 1, EntryState::kFree}.Pack());
  } else {
    Word64& orphans = table_.data().orphans;
    move.Set(orphans, orphans.load(std::memory_order_relaxed) + 1);  // L1
    move.Set(entry.state, StateWord{generation, EntryState::kRemoved}.Pack());
  }
  THOLE_CRASH_POINT("registry.drop.2");
  move.Commit();
  THOLE_CRASH_POINT("registry.drop.3");
  EndMove(index);
  THOLE_CRASH_POINT("registry.drop.4");
  return !is_queue && loan != nullptr;
}

void LockedRegistry::Free(uint32_t index, LoanData& loan) noexcept {
  EntryData& entry = table_.entry(index);
  const StateWord now = state(index);
  Word64& orphans = table_.data().orphans;
  const uint64_t count = orphans.load(std::memory_order_relaxed);  // L1
  BeginMove(index);
  THOLE_CRASH_POINT("registry.drop.1");
  shm::Transaction move(lane_);
  if (HeldByMe(index)) move.Set(my_word(index), 0);
  if (now.state == EntryState::kRemoved && count != 0) move.Set(orphans, count - 1);
  PutInto(move, loan, entry.offset.load(std::memory_order_relaxed));  // L1
  move.Set(entry.state, StateWord{now.generation + 1, EntryState::kFree}.Pack());
  THOLE_CRASH_POINT("registry.drop.2");
  move.Commit();
  THOLE_CRASH_POINT("registry.drop.3");
  EndMove(index);
  THOLE_CRASH_POINT("registry.drop.4");
}

uint32_t LockedRegistry::FindOrphan() noexcept {
  for (uint32_t index = 0; index < table_.entries_max(); ++index) {
    if (state(index).state != EntryState::kRemoved || HasHolderBut(index, 0)) continue;
    if (ReadPlace(table_.entry(index), index, 0).kind == shm::kBufferPlace) return index;
  }
  // Bytes that somebody else wrote may say otherwise: nobody shall look again for nothing.
  table_.data().orphans.store(0, std::memory_order_release);  // L1
  return table_.entries_max();
}

}  // namespace thole::registry
