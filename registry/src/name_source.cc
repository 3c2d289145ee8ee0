// The registry as a shm::NameSource, and what `comm` needs to take queues away.
#include "entry_moves.h"
#include "handle_counts.h"
#include "thole/registry/shared_buffer_registry.h"

namespace thole::registry {

using shm::Deadline;
using shm::Lane;
using shm::LoanRef;
using shm::NamedPlace;
using shm::NameResult;

namespace {

// Whether somebody's repair may still be walking through queues.
bool AnyQueueStepPending(const shm::Segment& segment) {
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    const auto slot = shm::SlotWord::Unpack(segment.Slot(i)->word.load(
        std::memory_order_acquire));  // L1: REPAIR came before the bit fell
    const uint32_t bit = uint32_t{1} << static_cast<uint32_t>(shm::RepairStep::kQueue);
    if (slot.state == shm::SlotState::kRepair && (slot.pending & bit) != 0) return true;
  }
  return false;
}

}  // namespace

NameResult SharedBufferRegistry::Find(std::string_view name, NamedPlace& place) noexcept {
  return forked() ? NameResult::kUnsupported : reader_.Find(name, place);
}

NameResult SharedBufferRegistry::PublishEntry(Lane& lane, LoanRef loan, std::string_view name,
                                              uint32_t flags, bool with_handle, NamedPlace& place,
                                              Deadline deadline) noexcept {
  NewEntry fields;
  fields.name = PackName(name);
  fields.hash = HashName(fields.name);
  fields.size_bytes = place.size_bytes;
  fields.type_id = place.type_id;
  fields.kind = place.kind;
  fields.flags = flags;
  fields.creator = uint64_t{lane.owner_id().generation} << 32 | lane.slot();
  fields.created_ns = RealtimeNs();
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  const NameResult result = locked.Publish(fields, loan.data(), place);
  if (result == NameResult::kOk && with_handle) counts_->Add(place);
  return result;
}

NameResult SharedBufferRegistry::Publish(Lane& lane, LoanRef loan, std::string_view name,
                                         NamedPlace& place, Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  if (!shm::IsValidName(name)) return NameResult::kInvalidName;
  const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
  const bool known = place.kind == shm::kBufferPlace || place.kind == shm::kQueuePlace;
  if (!known || place.size_bytes == 0 || table().view().Bytes(block, place.size_bytes) == nullptr) {
    return NameResult::kWrongType;
  }
  return PublishEntry(lane, loan, name, 0, false, place, deadline);
}

NameResult SharedBufferRegistry::Hold(Lane& lane, const NamedPlace& place,
                                      Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  if (!locked.IsCurrent(place) || locked.state(place.index).state != EntryState::kLive) {
    return NameResult::kNotFound;
  }
  if (!locked.HeldByMe(place.index)) locked.Hold(place.index);
  return NameResult::kOk;
}

void SharedBufferRegistry::ForEach(uint32_t kind,
                                   const std::function<void(const NamedPlace&)>& visit) {
  if (forked()) return;
  for (uint32_t index = 0; index < table().entries_max(); ++index) {
    const auto info = reader_.Describe(index);
    if (info && info->kind == kind) visit(info->place);
  }
}

NameResult SharedBufferRegistry::ReleaseHold(Lane& lane, const NamedPlace& place,
                                             Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  if (place.kind != shm::kQueuePlace) return NameResult::kWrongType;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  if (!locked.IsCurrent(place)) return NameResult::kNotFound;
  locked.Drop(place.index, nullptr);
  return NameResult::kOk;
}

NameResult SharedBufferRegistry::MarkRemoved(Lane& lane, const NamedPlace& place,
                                             Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  if (place.kind != shm::kQueuePlace) return NameResult::kWrongType;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  if (!locked.IsCurrent(place) || locked.state(place.index).state != EntryState::kLive) {
    return NameResult::kNotFound;
  }
  locked.Remove(place.index, nullptr);
  return NameResult::kOk;
}

NameResult SharedBufferRegistry::ClaimDying(Lane& lane, const NamedPlace& place,
                                            Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  if (!locked.IsCurrent(place)) return NameResult::kNotFound;
  if (locked.state(place.index).state != EntryState::kDying) return NameResult::kWrongType;
  if (locked.HeldByOthers(place.index) || AnyQueueStepPending(attachment_->segment())) {
    return NameResult::kBusy;
  }
  if (!locked.HeldByMe(place.index)) locked.Hold(place.index);
  return NameResult::kOk;
}

NameResult SharedBufferRegistry::FreeEntry(Lane& lane, const NamedPlace& place, LoanRef loan,
                                           Deadline deadline) noexcept {
  if (forked()) return NameResult::kUnsupported;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  if (!locked.IsCurrent(place)) return NameResult::kNotFound;
  if (locked.state(place.index).state != EntryState::kDying) return NameResult::kWrongType;
  if (locked.HeldByOthers(place.index) || AnyQueueStepPending(attachment_->segment())) {
    return NameResult::kBusy;
  }
  locked.Free(place.index, loan.data());
  return NameResult::kOk;
}

}  // namespace thole::registry
