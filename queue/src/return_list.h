// The return list of a leased queue: messages that came back. Private to `queue`.
//
// Every change is a transaction of `lane` under the list's owner lock, which `lane` holds. The
// steps return.* and serve.* stand in queue_handle.h.
#pragma once

#include <cstdint>

#include "thole/queue/queue_ring.h"
#include "thole/shm/lane.h"

namespace thole::queue {

enum class ListResult : uint8_t { kOk, kNothing, kCorrupt };

/// What a reader sees without the lock. Two equal sights with count 0: the list was empty all the
/// time, or somebody is about to put or take its only message. If the first one was not locked
/// either, nobody was at it at all.
struct ListSight {
  uint64_t changes;
  uint64_t count;
  bool locked;
  bool SameListAs(const ListSight& other) const {
    return changes == other.changes && count == other.count;
  }
};
ListSight LookAtList(const QueueRing& ring) noexcept;

/// Moves the block of a lease of this queue from `loan` to the end of the list, attempts + 1.
/// `time_of_death_ns` 0 = the holder is alive.
ListResult PutIntoList(shm::Lane& lane, const QueueRing& ring, shm::LoanData& loan,
                       int64_t time_of_death_ns) noexcept;
/// Moves the first message of the list into the empty loan `into`; `words` is its descriptor.
ListResult TakeFromList(shm::Lane& lane, const QueueRing& ring, uint64_t* words,
                        shm::LoanData& into, PopInfo& info) noexcept;

}  // namespace thole::queue
