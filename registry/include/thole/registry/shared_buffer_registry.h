// SharedBufferRegistry: names for blocks of a segment, found by every process, freed when nobody
// needs them any more.
//
//   #include <thole/registry/shared_buffer_registry.h>
//   // A segment with the root SharedBufferRegistry::Root(...) and a heap:
//   absl::Status Example(std::shared_ptr<thole::shm::Attachment> attachment,
//                        thole::shm::BlockSource& heap) {
//     auto registry = thole::registry::SharedBufferRegistry::Open(attachment, heap);
//     if (!registry.ok()) return registry.status();
//     if (auto joined = attachment->Join("example"); !joined.ok()) return joined;
//     auto made = (*registry)->Create("prices", 4096);    // zeroed; AlreadyExists for all but one
//     auto mine = (*registry)->Acquire("prices");         // any process: a reference
//     auto info = (*registry)->Lookup("prices");          // no reference
//     return (*registry)->Remove("prices");               // memory goes with the last reference
//   }
//
// Guarantees. Thread-safe. A name has one creator, however many try. Every change is atomic:
// whoever dies in it did it or did not. Lookup, List and WaitFor take no lock and see no half-made
// entry; all changes run under one owner lock, held for a few hundred nanoseconds (a repair: for
// one pass over the table). After a failed call the heap's used bytes are what they were before.
// After fork every call in the child answers kForkedHandle (NameSource calls: kUnsupported).
//
//   step        dies after                          entry           recovered by
//   publish.1   unsettled names the entry           FREE            nothing to settle
//   publish.2   fields written (no log: it is FREE) FREE            the same
//   publish.3   state, bit, loan.block = 0 (logged) rolled back     log: the block is on loan again
//   publish.4   COMMIT                              LIVE, not seen  settled by the next lock holder
//   settle.1    next of the entry                   LIVE, not seen  settled again
//   settle.2    linked                              LIVE, not seen  the same: found linked
//   settle.3    seen LIVE                           LIVE            settled again: changes nothing
//   settle.4    seen other than LIVE                gone            settled again: unlinked
//   settle.5    unlinked                            gone            settled again: changes nothing
//   hold.1      COMMIT: my bit set                  held            bits of the dead are cleared
//   drop.1      unsettled names the entry           as before       nothing to settle
//   drop.2      bit, state, block -> loan (logged)  rolled back     log: the entry holds the block
//   drop.3      COMMIT                              FREE / REMOVED  settled; the loan is plain
//   drop.4      settled, lock given back            FREE / REMOVED  the loan is plain: freed
// No change logs more than kLogWordsMax of the log's 31 words.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "thole/registry/buffer_handle.h"
#include "thole/registry/registry_reader.h"
#include "thole/shm/attachment.h"
#include "thole/shm/block_source.h"
#include "thole/shm/name_source.h"

namespace thole::registry {

struct RegistryOptions {
  uint32_t entries_max = 1024;  ///< 1 .. 65,536
  /// 64 entries in segments up to 4 MiB, else 1024.
  static RegistryOptions For(uint64_t segment_bytes) {
    return {.entries_max = segment_bytes <= (uint64_t{4} << 20) ? 64u : 1024u};
  }
};

enum class Lifetime : uint8_t {
  kPersistent,  ///< stays until it is removed, also when nobody holds it
  kEphemeral,   ///< goes with its last handle
};

struct BufferOptions {
  uint64_t align = 64;   ///< a power of two up to 4096
  uint64_t type_id = 0;  ///< checked by Acquire; 0 = untyped
  Lifetime lifetime = Lifetime::kPersistent;
};

class HandleCounts;

class SharedBufferRegistry final : public shm::NameSource,
                                   public std::enable_shared_from_this<SharedBufferRegistry> {
 public:
  /// Most words that one change notes in the undo log.
  static constexpr uint32_t kLogWordsMax = 6;

  /// What a new segment with this many participants needs. InvalidArgument at creation when
  /// entries_max is out of range.
  static shm::RootRequest Root(const RegistryOptions& options, uint32_t participants_max);
  /// Registers the repair step, so before `attachment->Join`. `heap` must outlive the result and
  /// all its handles. NotFound, Unimplemented (kOtherVersion), DataLoss.
  static absl::StatusOr<std::shared_ptr<SharedBufferRegistry>> Open(
      std::shared_ptr<shm::Attachment> attachment, shm::BlockSource& heap);
  ~SharedBufferRegistry() override;

  /// A zeroed buffer with a name. AlreadyExists, InvalidArgument (name, size, alignment),
  /// ResourceExhausted (no entry, no memory), DeadlineExceeded, DataLoss.
  absl::StatusOr<BufferHandle> Create(std::string_view name, uint64_t size_bytes,
                                      const BufferOptions& options = {},
                                      shm::Deadline deadline = shm::Deadline::Never());
  /// What the name stands for; takes no reference, so it may be gone a moment later. NotFound.
  absl::StatusOr<BufferInfo> Lookup(std::string_view name) const;
  /// A reference. `type_id` 0 takes any type. NotFound; InvalidArgument when type or size do not
  /// fit or the name is no buffer's.
  absl::StatusOr<BufferHandle> Acquire(std::string_view name, uint64_t type_id = 0,
                                       uint64_t size_bytes_min = 0,
                                       shm::Deadline deadline = shm::Deadline::Never());
  /// Whatever comes first: Acquire, or Create when there is none.
  absl::StatusOr<BufferHandle> OpenOrCreate(std::string_view name, uint64_t size_bytes,
                                            const BufferOptions& options = {},
                                            shm::Deadline deadline = shm::Deadline::Never());
  /// Takes the name away now; the memory goes with the last reference. NotFound;
  /// FailedPrecondition for the name of a channel.
  absl::Status Remove(std::string_view name, shm::Deadline deadline = shm::Deadline::Never());
  /// Waits until somebody gives the name. Repairs the dead meanwhile. DeadlineExceeded.
  absl::StatusOr<BufferInfo> WaitFor(std::string_view name, shm::Deadline deadline);

  /// Every entry in use, all from one moment unless the registry's lock could not be had.
  std::vector<BufferInfo> List() const;
  uint32_t entry_count() const noexcept { return forked() ? 0 : reader_.entry_count(); }
  uint32_t entries_max() const noexcept { return table().entries_max(); }
  /// How many participants hold the name now. NotFound.
  absl::StatusOr<uint32_t> holders(std::string_view name) const;
  /// Not in a forked child.
  const RegistryReader& reader() const { return reader_; }

  /// Makes up for what destructors and repairs had to leave: releases of this process, REMOVED
  /// buffers without a holder. Every changing call does it; returns false when the lock was busy.
  bool Sweep(shm::Deadline deadline = shm::Deadline::Never()) noexcept;

  // NameSource. A hold is a set bit of the lane's participant, not a count: whoever uses these
  // calls counts its own users.
  shm::NameResult Find(std::string_view name, shm::NamedPlace& place) noexcept override;
  /// Also buffers; a handle of them is made by `Acquire`.
  shm::NameResult Publish(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                          shm::NamedPlace& place, shm::Deadline deadline) noexcept override;
  /// kNotFound when that bearer of the name is gone, or its name is.
  shm::NameResult Hold(shm::Lane& lane, const shm::NamedPlace& place,
                       shm::Deadline deadline) noexcept override;
  void ForEach(uint32_t kind, const std::function<void(const shm::NamedPlace&)>& visit) override;

  // Queues (and whatever else must be emptied before its block is freed), for `comm`.
  /// Gives back what Publish, Hold or ClaimDying took. The last holder of a removed queue leaves it
  /// DYING.
  shm::NameResult ReleaseHold(shm::Lane& lane, const shm::NamedPlace& place,
                              shm::Deadline deadline = shm::Deadline::Never()) noexcept;
  /// Takes the name of a queue away: REMOVED while somebody holds it, else DYING.
  shm::NameResult MarkRemoved(shm::Lane& lane, const shm::NamedPlace& place,
                              shm::Deadline deadline = shm::Deadline::Never()) noexcept;
  /// The right to drain a DYING queue: a hold, if nobody else has it. From then on nothing comes
  /// into the queue any more. kBusy: another participant drains, or a participant is under repair
  /// whose queue step, which may put something back, is still to be done; kWrongType: not DYING.
  shm::NameResult ClaimDying(shm::Lane& lane, const shm::NamedPlace& place,
                             shm::Deadline deadline = shm::Deadline::Never()) noexcept;
  /// DYING -> FREE, and the block into the empty `loan`, in one atomic step; the claim ends with
  /// it. kBusy while somebody's queue step is still to be done: it reads all queues, this one too.
  shm::NameResult FreeEntry(shm::Lane& lane, const shm::NamedPlace& place, shm::LoanRef loan,
                            shm::Deadline deadline = shm::Deadline::Never()) noexcept;

 private:
  friend class BufferHandle;
  SharedBufferRegistry(std::shared_ptr<shm::Attachment> attachment, shm::BlockSource& heap,
                       const RegistryTable& table);
  /// A lane for a changing call, after what others left was made up for.
  absl::StatusOr<shm::Call> Begin(shm::CallId call, shm::Deadline deadline);
  shm::NameResult PublishEntry(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                               uint32_t flags, bool with_handle, shm::NamedPlace& place,
                               shm::Deadline deadline) noexcept;
  absl::Status Fill(shm::Lane& lane, shm::LoanRef loan, std::string_view name, uint64_t size_bytes,
                    uint64_t align, shm::Deadline deadline);
  shm::NameResult AcquireEntry(shm::Lane& lane, std::string_view name, uint64_t type_id,
                               uint64_t size_bytes_min, shm::NamedPlace& place,
                               shm::Deadline deadline) noexcept;
  absl::StatusOr<BufferHandle> MakeHandle(std::string_view name, const shm::NamedPlace& place);
  void DropHandle(const shm::NamedPlace& place) noexcept;
  bool TryDropHandle(shm::Lane& lane, const shm::NamedPlace& place) noexcept;
  /// Frees what a loan holds and offers the loan again; what cannot be freed now is doomed.
  void GiveBack(shm::Lane& lane, shm::LoanRef loan, shm::Deadline deadline) noexcept;
  bool SweepIn(shm::Lane& lane, shm::Deadline deadline) noexcept;
  bool SweepPostponed(shm::Lane& lane, shm::Deadline deadline) noexcept;
  bool SweepOrphans(shm::Lane& lane, shm::Deadline deadline) noexcept;
  bool SweepDoomed(shm::Lane& lane, shm::Deadline deadline) noexcept;
  const RegistryTable& table() const noexcept { return reader_.table(); }
  bool forked() const noexcept { return attachment_->forked(); }
  bool usable() const noexcept { return !forked() && attachment_->joined(); }

  std::shared_ptr<shm::Attachment> attachment_;
  shm::BlockSource& heap_;
  RegistryReader reader_;
  std::unique_ptr<HandleCounts> counts_;
};

}  // namespace thole::registry
