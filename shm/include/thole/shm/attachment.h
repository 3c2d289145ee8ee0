// Attachment: one participant of a segment, its lanes and loans, and the repair of dead ones.
//
//   #include <thole/shm/attachment.h>
//   absl::Status Example(thole::shm::Segment segment) {
//     auto attachment = thole::shm::Attachment::Make(std::move(segment));
//     if (!attachment.ok()) return attachment.status();
//     // Components register their repair parts here, before the seat is taken.
//     if (auto joined = (*attachment)->Join("example"); !joined.ok()) return joined;
//     (*attachment)->RepairAll();
//     return (*attachment)->Leave(thole::shm::Deadline::Never());
//   }
//
// Guarantees. Thread-safe. A participant counts as dead only when the kernel says so: its life byte
// is unlocked, or it is locked but the process is gone (a forked child inherited the lock). No
// time-out is evidence of death. After fork every call in the child answers kForkedHandle, an empty
// Call or "nothing", and every destructor does nothing.
//
//   step       dies after                          slot          recovered by
//   join.1     life byte taken                     FREE          the kernel drops the byte
//   join.2     COMMIT: slot FREE -> LIVE           LIVE, pid 0   byte unlocked = dead: repaired
//   join.3     start time, namespaces, name        LIVE, pid 0   the same
//   join.4     pid (last)                          LIVE          the same
//   leave.1    everything given back               LIVE          repair finds nothing
//   leave.2    pid = 0                             LIVE          the same
//   leave.3    COMMIT: slot LIVE -> FREE           FREE          nothing: the byte falls last
//   clean.1    every slot seen FREE                FREE          nothing: DIRTY until one leaves
//   clean.2    COMMIT: the segment is CLEAN        FREE          nothing
//   repair.1   slot LIVE -> REPAIR, all pending    REPAIR        the next repairer goes on
//   repair.2   a step done, its bit cleared        REPAIR        the same; steps are idempotent
//   repair.3   lane words cleared, pid = 0         REPAIR        the same
//   repair.4   COMMIT: slot REPAIR -> FREE         FREE          the repair byte falls
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "thole/shm/block_source.h"
#include "thole/shm/deadline.h"
#include "thole/shm/lane.h"
#include "thole/shm/loan_table.h"
#include "thole/shm/platform.h"
#include "thole/shm/repair.h"
#include "thole/shm/segment.h"

namespace thole::shm {

enum class LifeState : uint8_t {
  kAlive,  ///< or cannot be known
  kDead,
  kNobody,  ///< the slot is FREE or belongs to another generation now
};

enum class RepairVerdict : uint8_t {
  kNothing,   ///< not dead
  kRepaired,  ///< the slot is FREE
  kLater,     ///< steps are pending: a component is not linked here, or a live one holds a lock
  kTaken,     ///< another survivor is at it
  kBroken,  ///< the lock names the dead one, but no lane of it names the lock: bytes that cannot be
};

/// Number of a public call, stored in the lane while it runs; 0 = outside.
using CallId = uint64_t;

class Attachment;
struct OwnerLockData;

/// A lane for the length of one call. Move-only; gives the lane back when destroyed, on the thread
/// that entered.
class [[nodiscard]] Call {
 public:
  Call() = default;
  Call(Attachment* attachment, uint32_t lane) : attachment_(attachment), index_(lane) {}
  Call(Call&& other) noexcept : attachment_(other.attachment_), index_(other.index_) {
    other.attachment_ = nullptr;
  }
  Call& operator=(Call&& other) noexcept {
    std::swap(attachment_, other.attachment_);
    std::swap(index_, other.index_);
    return *this;
  }
  ~Call() { End(); }
  /// False when no lane was free until the deadline.
  explicit operator bool() const { return attachment_ != nullptr; }
  Lane& lane() const;
  void End() noexcept;

 private:
  Attachment* attachment_ = nullptr;
  uint32_t index_ = 0;
};

class Attachment {
 public:
  /// Prepares to take part; takes no seat yet. The platform defaults to the real kernel.
  static absl::StatusOr<std::shared_ptr<Attachment>> Make(
      Segment segment, std::unique_ptr<Platform> platform = nullptr);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  /// Adds a component's repair step. Before `Join`. The part must live as long as this.
  void Register(std::shared_ptr<RepairPart> part);
  /// Repairs whoever is dead, then claims a seat. A seat whose owner is dead and whose repair needs
  /// somebody else is waited for, until the deadline or, without one, for a second.
  /// ResourceExhausted when every seat is taken by the living, or no repair came to an end;
  /// FailedPrecondition with kUncleanShutdown when the segment was in use as the machine went down.
  /// `name` is for people: empty, or a name as of IsValidName of up to 39 bytes.
  absl::Status Join(std::string_view name);
  absl::Status Join(std::string_view name, Deadline deadline);
  /// Gives everything back and frees the seat, for good: to take part again, make another
  /// attachment. DeadlineExceeded while a thread is inside a call, or a live participant holds a
  /// lock that this needs; the seat stays then.
  absl::Status Leave(Deadline deadline);

  /// Gives the seat up as if the process had died: whoever looks next repairs it. For owners whose
  /// repair parts go away while `Leave` cannot finish. Nothing may be inside a call.
  void Abandon() noexcept;

  const Segment& segment() const { return segment_; }
  SegmentView view() const { return segment_.view(); }
  Platform& platform() const { return *platform_; }
  /// True in a child of fork: nothing may be used. One load.
  bool forked() const { return !platform_->InOwnProcess(); }
  bool joined() const { return joined_.load(std::memory_order_acquire); }  // after Join
  uint32_t slot() const { return slot_; }
  uint32_t generation() const { return generation_; }

  /// A lane for one call; lane 0 is shared under a process-local mutex when no other is free.
  Call Enter(CallId call, Deadline deadline = Deadline::Never()) noexcept;
  /// The same without waiting, for destructors.
  Call TryEnter(CallId call) noexcept;

  /// Calls `visit(lane)` for each lane of this process that no call is in, and keeps calls out of
  /// it meanwhile. From inside of a call, which has `current`. Never waits.
  template <class Visit>
  void VisitIdleLanes(const Lane& current, Visit visit) noexcept;

  LoanTable& loans() { return loans_; }
  /// A free loan; takes a further chunk from `heap` when there is none. Null when that fails.
  LoanRef TakeLoan(Lane& lane, BlockSource* heap, Deadline deadline) noexcept;

  /// Whether the participant {slot, generation} is dead. 1 us, 25 us when the process must be
  /// looked up. Never on a hot path.
  LifeState Probe(uint32_t slot, uint32_t generation) noexcept;
  /// Repairs one slot if its participant is dead. Never waits for another repairer.
  RepairVerdict RepairSlot(uint32_t slot) noexcept;
  /// Repairs every dead participant; returns how many slots became free.
  uint32_t RepairAll() noexcept;
  /// Only the locks of a dead participant: what a caller does that stalls on one of them.
  RepairVerdict ReleaseLocksOf(uint32_t slot, const OwnerLockData* stalled_on = nullptr) noexcept;
  /// Repairs finished by this attachment since it was made.
  uint64_t repairs_done() const {
    return repairs_done_.load(std::memory_order_relaxed);
  }  // statistic

  // For `Call`.
  Lane& lane(uint32_t index) { return lanes_[index]; }
  void EndCall(uint32_t index) noexcept;

 private:
  Attachment(Segment segment, std::unique_ptr<Platform> platform);
  // seat.cc
  absl::Status RefuseAfterReboot();
  absl::Status RefuseName(std::string_view name) const;
  void MarkDirty() noexcept;
  void MarkCleanIfLast() noexcept;
  bool ClaimSlot(uint32_t slot, std::string_view name) noexcept;
  bool TakeAnySeat(std::string_view name) noexcept;
  uint32_t CountSeatsOfTheDead() noexcept;
  absl::Status NoSeat(uint32_t of_the_dead) const;
  void TakeSeat(uint32_t slot);
  // attachment.cc
  bool BeginCall(uint32_t index, CallId call, Deadline deadline) noexcept;
  bool WaitForThaw(uint32_t frozen, Deadline deadline) noexcept;
  void Thaw(uint32_t frozen) noexcept;
  bool KeepCallsOut(Deadline deadline) noexcept;
  void LetCallsIn() noexcept;
  void Pause(Deadline deadline) noexcept;
  // recover.cc
  /// The right to repair one slot: a process-local mutex, then the kernel's byte, then a re-check.
  class RepairRight;
  /// The lanes of a slot, usable in its owner's name.
  struct LanesOf {
    std::array<Lane, kLanesMax> lanes;
    uint32_t count;
  };
  LanesOf LanesInNameOf(uint32_t slot, uint32_t generation, bool for_dead) noexcept;
  RepairVerdict Repair(uint32_t slot, bool locks_only, const OwnerLockData* stalled_on) noexcept;
  /// Runs the pending steps; the caller has the repair right. False when one must wait.
  bool RunSteps(SlotData& slot, DeadParticipant& dead) noexcept;
  void ReleaseLocks(std::span<Lane> lanes) noexcept;
  void EmptySlot(SlotData& slot, uint32_t index, std::span<Lane> lanes) noexcept;
  void FreeSlot(SlotData& slot, uint32_t index, std::span<Lane> lanes) noexcept;

  Segment segment_;
  std::unique_ptr<Platform> platform_;
  std::array<std::shared_ptr<RepairPart>, kRepairSteps> parts_;
  std::vector<Lane> lanes_;
  LoanTable loans_;
  std::atomic<uint64_t> free_lanes_{0};  // bit i: lane i (never lane 0)
  std::timed_mutex lane_zero_;
  std::unique_ptr<std::mutex[]> repairing_;  // one per slot: the kernel lock is per attachment
  std::mutex seat_;                          // one Join or Leave at a time
  std::atomic<bool> joined_{false};
  bool left_ = false;  // under seat_
  // The slot whose life byte is ours: the kernel does not tell us about our own locks.
  static constexpr uint32_t kNoSlot = ~uint32_t{0};
  std::atomic<uint32_t> life_byte_{kNoSlot};
  uint32_t slot_ = 0;
  uint32_t generation_ = 0;
  std::atomic<uint64_t> repairs_done_{0};
};

template <class Visit>
void Attachment::VisitIdleLanes(const Lane& current, Visit visit) noexcept {
  if (forked() || !joined()) return;
  const uint64_t idle = free_lanes_.exchange(0, std::memory_order_acquire);  // after EndCall
  for (uint64_t left = idle; left != 0; left &= left - 1) {
    visit(lanes_[static_cast<size_t>(std::countr_zero(left))]);
  }
  free_lanes_.fetch_or(idle, std::memory_order_release);  // after the visits
  if (current.index() == 0 || !lane_zero_.try_lock()) return;
  visit(lanes_[0]);
  lane_zero_.unlock();
}

inline Lane& Call::lane() const { return attachment_->lane(index_); }
inline void Call::End() noexcept {
  if (attachment_ != nullptr) attachment_->EndCall(index_);
  attachment_ = nullptr;
}

}  // namespace thole::shm
