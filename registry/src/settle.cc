// Settling: the words that lock-free readers believe follow what was committed.
//
// One move at a time is under way, by the holder of the lock, and `unsettled` names its entry. Each
// store leaves an index that readers can walk, and doing all of it again changes nothing.
#include "entry_moves.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/untrusted.h"

namespace thole::registry {

using shm::Word64;

void LockedRegistry::BeginMove(uint32_t index) noexcept {
  table_.data().unsettled.store(index + 1, std::memory_order_release);  // before the COMMIT
}

void LockedRegistry::EndMove(uint32_t index) noexcept {
  Settle(index);
  table_.data().unsettled.store(0, std::memory_order_release);  // after the entry is settled
}

void LockedRegistry::StoreSeen(EntryData& entry, StateWord state) noexcept {
  Word64& changes = table_.data().changes;
  const uint64_t count = changes.load(std::memory_order_relaxed);  // L1: only we write it
  changes.store(count + 1, std::memory_order_release);             // N4, before seen
  entry.seen.store(state.Pack(), std::memory_order_seq_cst);       // N1, W1
}

void LockedRegistry::Settle(uint32_t index) noexcept {
  EntryData& entry = table_.entry(index);
  const StateWord now = state(index);
  const auto seen = StateWord::Unpack(entry.seen.load(std::memory_order_relaxed));  // L1
  if (now.state == EntryState::kLive) {
    Link(index, now.generation);
    THOLE_CRASH_POINT("registry.settle.2");
    StoreSeen(entry, now);  // the moment at which readers find the name
    THOLE_CRASH_POINT("registry.settle.3");
    wake_ = true;
    return;
  }
  if (seen.state == EntryState::kLive) {
    StoreSeen(entry, {seen.generation, EntryState::kRemoved});  // the moment at which it is gone
    THOLE_CRASH_POINT("registry.settle.4");
  }
  Unlink(index);
  THOLE_CRASH_POINT("registry.settle.5");
  // The generation may go up only now: a link never names a later bearer than its own.
  if (entry.seen.load(std::memory_order_relaxed) != now.Pack()) StoreSeen(entry, now);  // L1
}

// The word that links the entry: its bucket or the `next` of another one. Null when it is not
// linked, or the chain is not believable: then the audit will say so.
Word64* LockedRegistry::FindLink(uint32_t index) noexcept {
  // TRUST: each index by the table; the length of the walk by the number of entries.
  const uint64_t hash = table_.entry(index).hash.load(std::memory_order_relaxed);  // L1
  Word64* link = &table_.bucket_of(hash);
  for (uint32_t step = 0; step <= table_.entries_max(); ++step) {
    const auto to = LinkWord::Unpack(link->load(std::memory_order_relaxed));  // L1
    if (to.index_plus_one == index + 1) return link;
    const auto number = shm::Untrusted(to.index_plus_one).Within(1, table_.entries_max());
    if (!number) return nullptr;
    link = &table_.entry(*number - 1).next;
  }
  return nullptr;
}

void LockedRegistry::Link(uint32_t index, uint32_t generation) noexcept {
  if (FindLink(index) != nullptr) return;
  EntryData& entry = table_.entry(index);
  Word64& head = table_.bucket_of(entry.hash.load(std::memory_order_relaxed));  // L1
  entry.next.store(head.load(std::memory_order_relaxed),                        // L1
                   std::memory_order_release);                                  // N2, before head
  THOLE_CRASH_POINT("registry.settle.1");
  head.store(LinkWord{generation, index + 1}.Pack(), std::memory_order_release);  // N2
}

void LockedRegistry::Unlink(uint32_t index) noexcept {
  Word64* link = FindLink(index);
  if (link == nullptr) return;
  const uint64_t next = table_.entry(index).next.load(std::memory_order_relaxed);  // L1
  link->store(next, std::memory_order_release);                                    // N2
}

}  // namespace thole::registry
