// HandleCounts: how many handles of this process stand for each entry. Process-local.
//
// The first handle of an entry sets the participant's bit, the last one clears it; both happen
// under the registry's lock, so that count and bit agree. Where a destructor cannot have the lock,
// the count falls to 0 while the bit stays: the entry is postponed, and whoever has the lock next
// clears the bit, unless a new handle needs it by then.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "thole/shm/name_source.h"

namespace thole::registry {

/// Thread-safe. Its mutex is held for a few instructions and never while waiting.
class HandleCounts {
 public:
  explicit HandleCounts(uint32_t entries_max);

  /// One more handle, if there is one already: needs no lock.
  bool TryShare(const shm::NamedPlace& place) noexcept;
  /// One more handle. Under the registry's lock, after the bit was set.
  void Add(const shm::NamedPlace& place) noexcept;
  /// One handle less, if it is not the last: needs no lock.
  bool TryDropShared(const shm::NamedPlace& place) noexcept;
  /// One handle less. Under the registry's lock; true: it was the last, clear the bit.
  bool Drop(const shm::NamedPlace& place) noexcept;
  /// One handle less; if it was the last the entry is postponed.
  void DropLater(const shm::NamedPlace& place) noexcept;

  bool any_postponed() const noexcept;
  /// A postponed entry that still has no handle. Under the registry's lock.
  std::optional<uint32_t> TakePostponed() noexcept;

 private:
  struct Count {
    uint32_t generation = 0;
    uint32_t handles = 0;
    bool postponed = false;
  };
  Count* Of(const shm::NamedPlace& place) noexcept;  // null: not held; mutex held

  mutable std::mutex mutex_;
  std::vector<Count> counts_;
  std::vector<uint32_t> postponed_;  // never longer than counts_, so that nothing allocates later
};

}  // namespace thole::registry
