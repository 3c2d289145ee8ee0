#include "thole/registry/shared_buffer_registry.h"

#include <bit>
#include <cstring>
#include <string>

#include "answers.h"
#include "calls.h"
#include "entry_moves.h"
#include "handle_counts.h"
#include "recover.h"
#include "thole/shm/crash_point.h"

namespace thole::registry {

using shm::BlockResult;
using shm::Call;
using shm::Deadline;
using shm::Lane;
using shm::LoanRef;
using shm::NamedPlace;
using shm::NameResult;

namespace {
// How often a name may change hands between two loads of a Lookup.
constexpr uint32_t kLookupTurns = 64;
}  // namespace

SharedBufferRegistry::SharedBufferRegistry(std::shared_ptr<shm::Attachment> attachment,
                                           shm::BlockSource& heap, const RegistryTable& table)
    : attachment_(std::move(attachment)),
      heap_(heap),
      reader_(table),
      counts_(std::make_unique<HandleCounts>(table.entries_max())) {}

SharedBufferRegistry::~SharedBufferRegistry() = default;

absl::StatusOr<std::shared_ptr<SharedBufferRegistry>> SharedBufferRegistry::Open(
    std::shared_ptr<shm::Attachment> attachment, shm::BlockSource& heap) {
  if (attachment->forked()) return shm::ForkedHandleError();
  auto table = RegistryTable::Make(attachment->segment());
  if (!table.ok()) return table.status();
  attachment->Register(std::make_shared<RegistryRepair>(*table));
  return std::shared_ptr<SharedBufferRegistry>(
      new SharedBufferRegistry(std::move(attachment), heap, *table));
}

absl::StatusOr<Call> SharedBufferRegistry::Begin(shm::CallId call_id, Deadline deadline) {
  if (forked()) return shm::ForkedHandleError();
  if (!attachment_->joined()) {
    return shm::Error(absl::StatusCode::kFailedPrecondition,
                      "this attachment has no seat: join before using the registry");
  }
  Call call = attachment_->Enter(call_id, deadline);
  if (!call) {
    return shm::Error(absl::StatusCode::kDeadlineExceeded,
                      "no lane was free until the deadline: try again with a later one");
  }
  (void)SweepIn(call.lane(), Deadline::Now());  // what cannot be done now is done by a later call
  return call;
}

// A block on the loan, all zero.
absl::Status SharedBufferRegistry::Fill(Lane& lane, LoanRef loan, std::string_view name,
                                        uint64_t size_bytes, uint64_t align, Deadline deadline) {
  const BlockResult result = heap_.AllocateTo(lane, loan, size_bytes, align, deadline);
  if (result != BlockResult::kOk) return Explain(result, name, size_bytes);
  const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
  std::byte* payload = table().view().Bytes(block, size_bytes);
  if (payload == nullptr) return Explain(BlockResult::kCorrupt, name, size_bytes);
  std::memset(payload, 0, size_bytes);  // payload: nobody else sees it before the COMMIT
  return absl::OkStatus();
}

absl::StatusOr<BufferHandle> SharedBufferRegistry::Create(std::string_view name,
                                                          uint64_t size_bytes,
                                                          const BufferOptions& options,
                                                          Deadline deadline) {
  auto call = Begin(kCreateCall, deadline);
  if (!call.ok()) return call.status();
  NamedPlace place;
  // The publication decides; this spares the memory where the answer is known already.
  const NameResult found = reader_.Find(name, place);
  if (found == NameResult::kOk) return Explain(NameResult::kExists, name);
  if (found != NameResult::kNotFound) return Explain(found, name);
  if (size_bytes == 0 || size_bytes > table().view().size_bytes() ||
      !std::has_single_bit(options.align) || options.align > 4096) {
    return Explain(BlockResult::kInvalid, name, size_bytes);
  }
  Lane& lane = call->lane();
  const LoanRef loan = attachment_->TakeLoan(lane, &heap_, deadline);
  if (!loan) return Explain(BlockResult::kFull, name, size_bytes);
  if (auto filled = Fill(lane, loan, name, size_bytes, options.align, deadline); !filled.ok()) {
    GiveBack(lane, loan, deadline);
    return filled;
  }
  place = {};
  place.size_bytes = size_bytes;
  place.type_id = options.type_id;
  place.kind = shm::kBufferPlace;
  const uint32_t flags = options.lifetime == Lifetime::kEphemeral ? kEphemeralFlag : 0;
  const NameResult published = PublishEntry(lane, loan, name, flags, true, place, deadline);
  GiveBack(lane, loan, deadline);  // empty now, unless somebody was quicker
  if (published != NameResult::kOk) return Explain(published, name);
  return MakeHandle(name, place);
}

NameResult SharedBufferRegistry::AcquireEntry(Lane& lane, std::string_view name, uint64_t type_id,
                                              uint64_t size_bytes_min, NamedPlace& place,
                                              Deadline deadline) noexcept {
  const auto fits = [&] {
    return place.kind == shm::kBufferPlace && (type_id == 0 || type_id == place.type_id) &&
           size_bytes_min <= place.size_bytes;
  };
  NameResult found = reader_.Find(name, place);
  if (found == NameResult::kOk && fits() && counts_->TryShare(place)) return found;
  if (found != NameResult::kOk && found != NameResult::kBusy) return found;
  LockedRegistry locked(lane, table(), deadline);
  if (locked.result() != NameResult::kOk) return locked.result();
  found = reader_.Find(name, place);
  if (found != NameResult::kOk) return found;
  if (!fits()) return NameResult::kWrongType;
  if (!locked.IsCurrent(place)) return NameResult::kCorrupt;  // settled, so it must be
  if (!locked.HeldByMe(place.index)) locked.Hold(place.index);
  counts_->Add(place);
  return NameResult::kOk;
}

absl::StatusOr<BufferHandle> SharedBufferRegistry::Acquire(std::string_view name, uint64_t type_id,
                                                           uint64_t size_bytes_min,
                                                           Deadline deadline) {
  auto call = Begin(kAcquireCall, deadline);
  if (!call.ok()) return call.status();
  NamedPlace place;
  const NameResult result =
      AcquireEntry(call->lane(), name, type_id, size_bytes_min, place, deadline);
  if (result != NameResult::kOk) return Explain(result, name);
  return MakeHandle(name, place);
}

absl::StatusOr<BufferHandle> SharedBufferRegistry::OpenOrCreate(std::string_view name,
                                                                uint64_t size_bytes,
                                                                const BufferOptions& options,
                                                                Deadline deadline) {
  // Somebody else may create it, and remove it again, in between; by the deadline one more look.
  for (bool last = false;; last = deadline.PassedAt(attachment_->platform().NowNs())) {
    auto acquired = Acquire(name, options.type_id, size_bytes, deadline);
    if (!absl::IsNotFound(acquired.status())) return acquired;
    auto created = Create(name, size_bytes, options, deadline);
    if (!absl::IsAlreadyExists(created.status())) return created;
    if (last) {
      return shm::Error(absl::StatusCode::kDeadlineExceeded,
                        "name '" + std::string(name) +
                            "' was made and removed by others until the deadline: try again with "
                            "a later one");
    }
  }
}

absl::Status SharedBufferRegistry::Remove(std::string_view name, Deadline deadline) {
  auto call = Begin(kRemoveCall, deadline);
  if (!call.ok()) return call.status();
  Lane& lane = call->lane();
  NamedPlace place;
  if (const NameResult found = reader_.Find(name, place); found != NameResult::kOk) {
    return Explain(found, name);
  }
  const LoanRef loan = attachment_->TakeLoan(lane, nullptr, Deadline::Now());
  NameResult result;
  {
    LockedRegistry locked(lane, table(), deadline);
    result = locked.result();
    if (result == NameResult::kOk) result = reader_.Find(name, place);
    if (result == NameResult::kOk && place.kind != shm::kBufferPlace) {
      result = NameResult::kWrongType;
    }
    if (result == NameResult::kOk) locked.Remove(place.index, loan ? &loan.data() : nullptr);
  }
  if (loan) GiveBack(lane, loan, Deadline::Now());
  if (result == NameResult::kOk) return absl::OkStatus();
  if (result != NameResult::kWrongType) return Explain(result, name);
  return shm::Error(absl::StatusCode::kFailedPrecondition,
                    "name '" + std::string(name) + "' is a channel's: remove the channel");
}

absl::StatusOr<BufferHandle> SharedBufferRegistry::MakeHandle(std::string_view name,
                                                              const NamedPlace& place) {
  std::byte* data = table().view().Bytes(place.offset, place.size_bytes);
  if (data == nullptr) {
    DropHandle(place);
    return Explain(NameResult::kCorrupt, name);
  }
  return BufferHandle(shared_from_this(), name, place, data);
}

absl::StatusOr<BufferInfo> SharedBufferRegistry::Lookup(std::string_view name) const {
  if (forked()) return shm::ForkedHandleError();
  NamedPlace place;
  for (uint32_t turn = 0; turn < kLookupTurns; ++turn) {
    const NameResult found = reader_.Find(name, place);
    if (found != NameResult::kOk) return Explain(found, name);
    auto info = reader_.Describe(place.index);
    if (info && info->place.generation == place.generation && info->state == EntryState::kLive) {
      return *info;
    }
    // It went between the two: somebody else made a step, and the name may stand for another now.
  }
  return Explain(NameResult::kBusy, name);
}

absl::StatusOr<uint32_t> SharedBufferRegistry::holders(std::string_view name) const {
  auto info = Lookup(name);
  if (!info.ok()) return info.status();
  return info->holders;
}

absl::StatusOr<BufferInfo> SharedBufferRegistry::WaitFor(std::string_view name, Deadline deadline) {
  if (forked()) return shm::ForkedHandleError();
  if (!attachment_->joined()) return Explain(NameResult::kUnsupported, name);
  shm::WaitListData& waiters = table().data().waiters;
  for (;;) {
    const shm::WaitTicket ticket = Enlist(waiters, attachment_->slot());
    auto info = Lookup(name);
    if (!absl::IsNotFound(info.status())) return info;
    shm::Platform& platform = attachment_->platform();
    const int64_t now = platform.NowNs();
    if (deadline.PassedAt(now)) {
      return shm::Error(absl::StatusCode::kDeadlineExceeded,
                        "buffer '" + std::string(name) + "' was not created before the deadline");
    }
    const int64_t slice_end = now + shm::kWaitSliceNs;
    Sleep(platform, waiters, ticket, deadline.Before(slice_end).monotonic_ns());
    // Its creator may have died between the COMMIT and the moment at which readers find it.
    if (platform.NowNs() >= slice_end) attachment_->RepairAll();
  }
}

std::vector<BufferInfo> SharedBufferRegistry::List() const {
  if (forked()) return {};
  bool whole = false;
  std::vector<BufferInfo> list = reader_.List(&whole);
  if (whole || !usable()) return list;
  // Others change names faster than we read them: keep them out for one pass.
  const auto soon = Deadline::At(attachment_->platform().NowNs() + shm::kWaitSliceNs);
  if (Call call = attachment_->Enter(kListCall, soon)) {
    LockedRegistry locked(call.lane(), table(), soon);
    if (locked.result() == NameResult::kOk) return reader_.List();
  }
  return list;
}

}  // namespace thole::registry
