// Lane: in whose name an operation runs. Every move on shared structures takes one.
//
// A live thread acts in the name of its own participant; a repairer acts in the name of the dead:
// it takes locks with the dead one's owner id and logs in the dead one's lane, so that whoever
// comes after it finds one log and one owner.
//
//   #include <thole/shm/lane.h>
//   uint64_t Me(const thole::shm::Lane& lane) { return lane.owner(); }
#pragma once

#include <cstdint>

#include "thole/shm/participant_data.h"
#include "thole/shm/segment_view.h"

namespace thole::shm {

class Attachment;

/// A value that refers to its attachment, which must outlive it. Used by one thread at a time.
class Lane {
 public:
  Lane() = default;
  Lane(Attachment* attachment, LaneData* data, OwnerId owner, bool for_dead)
      : attachment_(attachment), data_(data), owner_(owner), for_dead_(for_dead) {}

  Attachment& attachment() const { return *attachment_; }
  LaneData& data() const { return *data_; }
  /// The word that stands in locks which this lane holds.
  uint64_t owner() const { return owner_.Pack(); }
  OwnerId owner_id() const { return owner_; }
  uint32_t slot() const { return owner_.slot; }
  uint32_t index() const { return owner_.lane; }
  /// Whether a repairer uses it in the name of a dead participant.
  bool for_dead() const { return for_dead_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Attachment* attachment_ = nullptr;
  LaneData* data_ = nullptr;
  OwnerId owner_{};
  bool for_dead_ = false;
};

}  // namespace thole::shm
