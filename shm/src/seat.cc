// Taking a seat and giving it back, and the segment's mark: clean or dirty.
#include <time.h>

#include <cstring>

#include "lane_state.h"
#include "thole/shm/attachment.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/name_source.h"

namespace thole::shm {
namespace {

// A repair takes microseconds; whoever holds it up is inside a call.
constexpr int64_t kJoinPatienceNs = 1'000'000'000;
constexpr uint64_t kStateBits = 2;
constexpr uint64_t kCountStep = uint64_t{1} << kStateBits;

constexpr SegmentState StateOf(uint64_t word) { return static_cast<SegmentState>(word & 3); }

void StoreName(SlotData& slot, std::string_view name) {
  char padded[kSlotNameBytes] = {};
  name.copy(padded, kSlotNameBytes - 1);
  for (uint32_t i = 0; i < kSlotNameBytes / 8; ++i) {
    uint64_t word;
    std::memcpy(&word, padded + i * 8, 8);                // payload: from a local
    slot.name[i].store(word, std::memory_order_release);  // before pid
  }
}

uint64_t RealtimeNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

absl::Status Attachment::RefuseName(std::string_view name) const {
  if (name.size() >= kSlotNameBytes) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "participant name of " + std::to_string(name.size()) + " bytes: use at most " +
                     std::to_string(kSlotNameBytes - 1));
  }
  if (name.empty() || IsValidName(name)) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, DescribeNameProblem("participant", name));
}

absl::Status Attachment::RefuseAfterReboot() {
  SegmentHeaderData& header = segment_.header();
  const uint64_t state = header.state.load(std::memory_order_acquire);  // H1
  if (StateOf(state) == SegmentState::kClean || segment_.file() < 0) return absl::OkStatus();
  const BootId boot = ReadBootId();
  if (header.boot_id[0].load(std::memory_order_relaxed) == boot.words[0] &&  // same for the boot
      header.boot_id[1].load(std::memory_order_relaxed) == boot.words[1]) {  // same for the boot
    return absl::OkStatus();
  }
  for (uint32_t slot = 0; slot < segment_.participants_max(); ++slot) {
    if (platform_->IsHeld(LockByte::kLife, slot)) return absl::OkStatus();  // proves the same boot
  }
  return Error(absl::StatusCode::kFailedPrecondition,
               segment_.place().Describe() +
                   " was in use when the machine went down: what it holds cannot be trusted; "
                   "restore a checkpoint, or remove it and create it again",
               ErrorKind::kUncleanShutdown);
}

void Attachment::MarkDirty() noexcept {
  SegmentHeaderData& header = segment_.header();
  const BootId boot = ReadBootId();
  for (int i = 0; i < 2; ++i) {
    header.boot_id[i].store(boot.words[i], std::memory_order_release);  // before DIRTY
  }
  uint64_t state = header.state.load(std::memory_order_relaxed);  // the exchange decides
  uint64_t dirty;
  do {
    dirty = ((state & ~uint64_t{3}) + kCountStep) | static_cast<uint64_t>(SegmentState::kDirty);
  } while (!header.state.compare_exchange_weak(state, dirty,
                                               std::memory_order_seq_cst,  // H1, after slot LIVE
                                               std::memory_order_relaxed));  // tried again
}

void Attachment::MarkCleanIfLast() noexcept {
  SegmentHeaderData& header = segment_.header();
  uint64_t state = header.state.load(std::memory_order_seq_cst);  // H1, before the slots are read
  for (uint32_t i = 0; i < segment_.participants_max(); ++i) {
    const uint64_t word = segment_.Slot(i)->word.load(std::memory_order_seq_cst);  // H1
    if (SlotWord::Unpack(word).state != SlotState::kFree) return;
  }
  THOLE_CRASH_POINT("clean.1");
  const uint64_t clean = (state & ~uint64_t{3}) | static_cast<uint64_t>(SegmentState::kClean);
  if (header.state.compare_exchange_strong(
          state, clean,
          std::memory_order_seq_cst,     // H1: fails after an attach; clean.2 COMMIT
          std::memory_order_relaxed)) {  // then it is dirty
    THOLE_CRASH_POINT("clean.2");
  }
}

bool Attachment::ClaimSlot(uint32_t index, std::string_view name) noexcept {
  SlotData& slot = *segment_.Slot(index);
  life_byte_.store(index, std::memory_order_seq_cst);  // process-local: before Probe can miss it
  if (!platform_->TryHold(LockByte::kLife, index)) {
    life_byte_.store(kNoSlot, std::memory_order_seq_cst);  // process-local: another one's
    return false;
  }
  THOLE_CRASH_POINT("join.1");
  uint64_t word = slot.word.load(std::memory_order_acquire);  // P-c: read again under the byte
  const SlotWord seen = SlotWord::Unpack(word);
  const uint64_t mine = SlotWord{seen.generation + 1, 0, SlotState::kLive}.Pack();
  if (seen.state != SlotState::kFree ||
      !slot.word.compare_exchange_strong(word, mine,
                                         std::memory_order_seq_cst,     // H1, P-c; join.2 COMMIT
                                         std::memory_order_relaxed)) {  // somebody else's
    platform_->Drop(LockByte::kLife, index);
    life_byte_.store(kNoSlot, std::memory_order_seq_cst);  // process-local: given back
    return false;
  }
  THOLE_CRASH_POINT("join.2");
  const ProcessIdentity self = platform_->Self();
  slot.uid.store(self.uid, std::memory_order_release);                        // before pid
  slot.start_time.store(self.start_time, std::memory_order_release);          // before pid
  slot.pid_namespace.store(self.pid_namespace, std::memory_order_release);    // before pid
  slot.time_namespace.store(self.time_namespace, std::memory_order_release);  // before pid
  slot.attached_ns.store(RealtimeNs(), std::memory_order_release);            // before pid
  StoreName(slot, name);
  THOLE_CRASH_POINT("join.3");
  slot.pid.store(self.pid, std::memory_order_release);  // P-a; join.4, last
  THOLE_CRASH_POINT("join.4");
  slot_ = index;
  generation_ = seen.generation + 1;
  return true;
}

void Attachment::TakeSeat(uint32_t slot) {
  const LanesOf mine = LanesInNameOf(slot, generation_, false);
  lanes_.assign(mine.lanes.begin(), mine.lanes.begin() + mine.count);
  for (Lane& lane : lanes_) {
    ClearLane(lane.data());  // a freed slot is clean; bytes from elsewhere may say otherwise
    loans_.SetLane(lane.index(), &lane.data());
  }
  uint64_t free_lanes = 0;
  for (uint32_t i = 1; i < lanes_.size(); ++i) free_lanes |= uint64_t{1} << i;
  free_lanes_.store(free_lanes, std::memory_order_release);  // process-local: lanes are set up
}

absl::Status Attachment::Join(std::string_view name) {
  return Join(name, Deadline::At(platform_->NowNs() + kJoinPatienceNs));
}

absl::Status Attachment::Join(std::string_view name, Deadline deadline) {
  if (forked()) return ForkedHandleError();
  const std::lock_guard<std::mutex> guard(seat_);
  if (joined() || left_) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "this attachment has joined already: make another one");
  }
  if (auto refused = RefuseName(name); !refused.ok()) return refused;
  if (auto refused = RefuseAfterReboot(); !refused.ok()) return refused;
  while (!TakeAnySeat(name)) {
    const uint32_t of_the_dead = CountSeatsOfTheDead();
    if (of_the_dead == 0 || deadline.PassedAt(platform_->NowNs())) return NoSeat(of_the_dead);
    Pause(deadline);
  }
  return absl::OkStatus();
}

bool Attachment::TakeAnySeat(std::string_view name) noexcept {
  RepairAll();
  for (uint32_t slot = 0; slot < segment_.participants_max(); ++slot) {
    const uint64_t word = segment_.Slot(slot)->word.load(std::memory_order_relaxed);  // a hint
    if (SlotWord::Unpack(word).state != SlotState::kFree || !ClaimSlot(slot, name)) continue;
    MarkDirty();
    TakeSeat(slot);
    joined_.store(true, std::memory_order_release);  // process-local: the seat is set up
    return true;
  }
  return false;
}

// Seats that will be free: their repair waits for a lock of the living, or another one repairs them
// now, or their owner left them and is about to drop its byte.
uint32_t Attachment::CountSeatsOfTheDead() noexcept {
  uint32_t count = 0;
  for (uint32_t slot = 0; slot < segment_.participants_max(); ++slot) {
    const SlotWord word =
        SlotWord::Unpack(segment_.Slot(slot)->word.load(std::memory_order_acquire));  // P-a
    const bool dead =
        word.state == SlotState::kFree || Probe(slot, word.generation) == LifeState::kDead;
    count += dead ? 1 : 0;
  }
  return count;
}

absl::Status Attachment::NoSeat(uint32_t of_the_dead) const {
  std::string text = segment_.place().Describe() + " has " +
                     std::to_string(segment_.participants_max()) + " seats and all are taken";
  if (of_the_dead != 0) {
    text.append(" (").append(std::to_string(of_the_dead)).append(" of them of the dead: somebody ");
    text.append("living holds their repair up, or it needs a component that this process lacks)");
  }
  text.append(": end a participant, or create the segment with more");
  return Error(absl::StatusCode::kResourceExhausted, text);
}

absl::Status Attachment::Leave(Deadline deadline) {
  if (forked()) return ForkedHandleError();
  const std::lock_guard<std::mutex> guard(seat_);
  if (!joined())
    return Error(absl::StatusCode::kFailedPrecondition, "this attachment has not joined");
  if (!KeepCallsOut(deadline)) {
    return Error(absl::StatusCode::kDeadlineExceeded,
                 "a thread is inside a call: end it, or try again with a later deadline");
  }
  SlotData& slot = *segment_.Slot(slot_);
  DeadParticipant self{*this, slot_, generation_, lanes_, true};
  for (const auto& part : parts_) {
    if (part == nullptr) continue;
    while (part->Repair(self) == RepairOutcome::kLater) {
      if (!deadline.PassedAt(platform_->NowNs())) {
        Pause(deadline);
        continue;
      }
      LetCallsIn();
      return Error(absl::StatusCode::kDeadlineExceeded,
                   "a live participant holds what leaving needs: try again with a later deadline");
    }
  }
  THOLE_CRASH_POINT("leave.1");
  left_ = true;
  EmptySlot(slot, slot_, lanes_);  // leave.2
  THOLE_CRASH_POINT("leave.2");
  slot.word.store(SlotWord{generation_, 0, SlotState::kFree}.Pack(),
                  std::memory_order_seq_cst);  // P-c, H1; leave.3 COMMIT
  THOLE_CRASH_POINT("leave.3");
  MarkCleanIfLast();
  platform_->Drop(LockByte::kLife, slot_);
  life_byte_.store(kNoSlot, std::memory_order_seq_cst);  // process-local: after the byte
  return absl::OkStatus();
}

void Attachment::Abandon() noexcept {
  if (forked()) return;
  const std::lock_guard<std::mutex> guard(seat_);
  for (auto& part : parts_) part.reset();
  if (!joined_.exchange(false, std::memory_order_acq_rel)) return;  // process-local: no more calls
  left_ = true;
  platform_->Drop(LockByte::kLife, slot_);
  life_byte_.store(kNoSlot, std::memory_order_seq_cst);  // process-local: after the byte
}

}  // namespace thole::shm
