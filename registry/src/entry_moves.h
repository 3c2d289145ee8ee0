// LockedRegistry: the registry under its lock, and every move an entry can make.
//
// The constructor takes the lock and settles what a dead holder left; the destructor gives the lock
// back and wakes those who wait for a name that came. A lane holds one lock at a time, so nothing
// of the heap may be called in between.
#pragma once

#include "entry_fields.h"
#include "thole/registry/registry_table.h"
#include "thole/shm/attachment.h"
#include "thole/shm/name_source.h"
#include "thole/shm/owner_lock.h"

namespace thole::registry {

/// Lives on the stack of one call. In the name of `lane`, which may be a dead one's.
class LockedRegistry {
 public:
  enum class Patience : uint8_t { kWait, kTryOnce };

  LockedRegistry(shm::Lane& lane, const RegistryTable& table, shm::Deadline deadline,
                 Patience patience = Patience::kWait) noexcept;
  ~LockedRegistry() { Unlock(); }
  LockedRegistry(const LockedRegistry&) = delete;
  LockedRegistry& operator=(const LockedRegistry&) = delete;
  /// kOk, or why the lock could not be had: then no other call is allowed.
  shm::NameResult result() const { return result_; }
  void Unlock() noexcept;

  /// Whether `place` names the present bearer of its entry.
  bool IsCurrent(const shm::NamedPlace& place) const noexcept;
  StateWord state(uint32_t index) const noexcept {
    return StateWord::Unpack(table_.entry(index).state.load(std::memory_order_relaxed));  // L1
  }
  bool HeldByMe(uint32_t index) const noexcept;
  bool HeldByOthers(uint32_t index) const noexcept;

  /// FREE -> LIVE with the block of `loan`; my bit is set. kExists, kFull, kCorrupt.
  shm::NameResult Publish(const NewEntry& fields, shm::LoanData& loan,
                          shm::NamedPlace& place) noexcept;
  /// Sets my bit.
  void Hold(uint32_t index) noexcept;
  /// Clears my bit, and makes the move that follows from it: a buffer that goes leaves its block in
  /// `loan` (then true). Without a loan it stays as an orphan.
  bool Drop(uint32_t index, shm::LoanData* loan) noexcept;
  /// Takes the name of a LIVE entry away; as above.
  bool Remove(uint32_t index, shm::LoanData* loan) noexcept;
  /// DYING -> FREE, or an orphan -> FREE: the block goes into `loan`.
  void Free(uint32_t index, shm::LoanData& loan) noexcept;
  /// Some REMOVED buffer without a holder; entries_max when there is none.
  uint32_t FindOrphan() noexcept;

 private:
  uint32_t FindFree() const noexcept;
  bool HasHolderBut(uint32_t index, uint64_t mine) const noexcept;
  bool Retire(uint32_t index, shm::LoanData* loan) noexcept;
  void BeginMove(uint32_t index) noexcept;
  void EndMove(uint32_t index) noexcept;
  void Settle(uint32_t index) noexcept;
  void Link(uint32_t index, uint32_t generation) noexcept;
  void Unlink(uint32_t index) noexcept;
  shm::Word64* FindLink(uint32_t index) noexcept;
  void StoreSeen(EntryData& entry, StateWord state) noexcept;
  shm::Word64& my_word(uint32_t index) const noexcept {
    return table_.holders(index)[lane_.slot() / 64];
  }
  uint64_t my_bit() const noexcept { return uint64_t{1} << (lane_.slot() % 64); }

  shm::Lane& lane_;
  const RegistryTable& table_;
  shm::NameResult result_ = shm::NameResult::kBusy;
  bool locked_ = false;
  bool wake_ = false;
};

}  // namespace thole::registry
