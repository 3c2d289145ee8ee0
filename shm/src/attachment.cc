#include "thole/shm/attachment.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "lane_state.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/wait_list.h"

namespace thole::shm {
namespace {

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

Attachment::Attachment(Segment segment, std::unique_ptr<Platform> platform)
    : segment_(std::move(segment)),
      platform_(std::move(platform)),
      loans_(segment_.lanes_per_participant()),
      repairing_(std::make_unique<std::mutex[]>(segment_.participants_max())) {}

absl::StatusOr<std::shared_ptr<Attachment>> Attachment::Make(Segment segment,
                                                             std::unique_ptr<Platform> platform) {
  if (segment.read_only()) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 segment.place().Describe() + " is open for reading only: open it for writing");
  }
  if (platform == nullptr) {
    platform = segment.file() >= 0 ? MakeKernelPlatform(segment.file()) : MakePrivatePlatform();
  }
  if (platform == nullptr) {
    return Error(absl::StatusCode::kPermissionDenied,
                 segment.place().Describe() +
                     " cannot be opened a second time through /proc/self/fd: is /proc mounted?");
  }
  return std::shared_ptr<Attachment>(new Attachment(std::move(segment), std::move(platform)));
}

Attachment::~Attachment() {
  if (forked() || !joined()) return;
  // What cannot be given back now is repaired by others: the life byte falls with the platform.
  (void)Leave(Deadline::Now());
}

void Attachment::Register(std::shared_ptr<RepairPart> part) {
  const auto step = static_cast<size_t>(part->step());
  parts_[step] = std::move(part);
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
  const uint64_t clean = (state & ~uint64_t{3}) | static_cast<uint64_t>(SegmentState::kClean);
  header.state.compare_exchange_strong(state, clean,
                                       std::memory_order_seq_cst,   // H1: fails after an attach
                                       std::memory_order_relaxed);  // then it is dirty
}

bool Attachment::ClaimSlot(uint32_t index, std::string_view name) noexcept {
  SlotData& slot = *segment_.Slot(index);
  if (!platform_->TryHold(LockByte::kLife, index)) return false;
  THOLE_CRASH_POINT("join.1");
  uint64_t word = slot.word.load(std::memory_order_acquire);  // P-c: read again under the byte
  const SlotWord seen = SlotWord::Unpack(word);
  const uint64_t mine = SlotWord{seen.generation + 1, 0, SlotState::kLive}.Pack();
  if (seen.state != SlotState::kFree ||
      !slot.word.compare_exchange_strong(word, mine,
                                         std::memory_order_seq_cst,     // H1, P-c; join.2 COMMIT
                                         std::memory_order_relaxed)) {  // somebody else's
    platform_->Drop(LockByte::kLife, index);
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
  if (forked()) return ForkedHandleError();
  if (joined())
    return Error(absl::StatusCode::kFailedPrecondition, "this attachment has joined already");
  if (auto refused = RefuseAfterReboot(); !refused.ok()) return refused;
  RepairAll();
  for (uint32_t slot = 0; slot < segment_.participants_max(); ++slot) {
    const uint64_t word = segment_.Slot(slot)->word.load(std::memory_order_relaxed);  // a hint
    if (SlotWord::Unpack(word).state != SlotState::kFree || !ClaimSlot(slot, name)) continue;
    MarkDirty();
    TakeSeat(slot);
    joined_.store(true, std::memory_order_release);  // process-local: the seat is set up
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kResourceExhausted,
               segment_.place().Describe() + " has " + std::to_string(segment_.participants_max()) +
                   " seats and all are taken: end a participant, or create the segment with more");
}

absl::Status Attachment::Leave(Deadline deadline) {
  if (forked()) return ForkedHandleError();
  if (!joined())
    return Error(absl::StatusCode::kFailedPrecondition, "this attachment has not joined");
  SlotData& slot = *segment_.Slot(slot_);
  DeadParticipant self{*this, slot_, generation_, lanes_, true};
  for (const auto& part : parts_) {
    if (part == nullptr) continue;
    while (part->Repair(self) == RepairOutcome::kLater) {
      if (!deadline.PassedAt(platform_->NowNs())) continue;
      return Error(absl::StatusCode::kDeadlineExceeded,
                   "a live participant holds what leaving needs: try again with a later deadline");
    }
  }
  THOLE_CRASH_POINT("leave.1");
  joined_.store(false, std::memory_order_release);  // process-local: no further calls
  for (Lane& lane : lanes_) ClearLane(lane.data());
  slot.pid.store(0, std::memory_order_release);  // leave.2: unknown is alive
  THOLE_CRASH_POINT("leave.2");
  slot.word.store(SlotWord{generation_, 0, SlotState::kFree}.Pack(),
                  std::memory_order_seq_cst);  // P-c, H1; leave.3 COMMIT
  THOLE_CRASH_POINT("leave.3");
  MarkCleanIfLast();
  platform_->Drop(LockByte::kLife, slot_);
  return absl::OkStatus();
}

void Attachment::Abandon() noexcept {
  if (forked()) return;
  for (auto& part : parts_) part.reset();
  if (!joined_.exchange(false, std::memory_order_acq_rel)) return;  // process-local: no more calls
  platform_->Drop(LockByte::kLife, slot_);
}

bool Attachment::BeginCall(uint32_t index, CallId call, Deadline deadline) noexcept {
  LaneData& lane = lanes_[index].data();
  SegmentHeaderData& header = segment_.header();
  for (;;) {
    lane.in_call.store(call,
                       std::memory_order_release);  // own line; who checkpoints uses membarrier
    const uint32_t frozen = header.frozen.load(std::memory_order_acquire);  // likewise
    if (frozen == 0) [[likely]]
      return true;
    lane.in_call.store(0, std::memory_order_release);  // outside again: the checkpoint may go on
    const int64_t now = platform_->NowNs();
    if (deadline.PassedAt(now)) return false;
    platform_->WaitWord(header.frozen, frozen, ~uint32_t{0},
                        deadline.Before(now + kWaitSliceNs).monotonic_ns());
    const uint32_t by = header.frozen_by.load(std::memory_order_relaxed);  // checked by RepairSlot
    if (by != 0 && RepairSlot(by - 1) == RepairVerdict::kRepaired) {
      header.frozen.store(0, std::memory_order_release);  // nobody is left to thaw it
    }
  }
}

Call Attachment::Enter(CallId call, Deadline deadline) noexcept {
  if (forked() || !joined()) return {};
  uint64_t free_lanes = free_lanes_.load(std::memory_order_relaxed);  // the exchange decides
  while (free_lanes != 0) {
    if (!free_lanes_.compare_exchange_weak(free_lanes, free_lanes & (free_lanes - 1),
                                           std::memory_order_acquire,     // after EndCall
                                           std::memory_order_relaxed)) {  // looked at again
      continue;
    }
    const auto index = static_cast<uint32_t>(std::countr_zero(free_lanes));
    if (BeginCall(index, call, deadline)) return Call(this, index);
    free_lanes_.fetch_or(uint64_t{1} << index, std::memory_order_release);  // given back unused
    return {};
  }
  if (deadline.never()) {
    lane_zero_.lock();
  } else if (const auto until = std::chrono::steady_clock::time_point(
                 std::chrono::nanoseconds(deadline.monotonic_ns()));
             !lane_zero_.try_lock() && !lane_zero_.try_lock_until(until)) {
    return {};
  }
  if (BeginCall(0, call, deadline)) return Call(this, 0);
  lane_zero_.unlock();
  return {};
}

Call Attachment::TryEnter(CallId call) noexcept {
  if (forked() || !joined()) return {};
  return Enter(call, Deadline::Now());
}

void Attachment::EndCall(uint32_t index) noexcept {
  lanes_[index].data().in_call.store(0, std::memory_order_release);  // after the call's last store
  if (index == 0) {
    lane_zero_.unlock();
  } else {
    free_lanes_.fetch_or(uint64_t{1} << index, std::memory_order_release);  // after in_call
  }
}

LoanRef Attachment::TakeLoan(Lane& lane, BlockSource* heap, Deadline deadline) noexcept {
  if (LoanRef loan = loans_.Take(lane.index())) return loan;
  if (heap == nullptr) return {};
  //   step     dies after                      reserved   recovered by alloc's first step
  //   chunk.1  a block is on the reserved loan block      not in the chain: plain, freed
  //   chunk.2  zeroed, its next set            block      the same
  //   chunk.3  COMMIT: first_chunk = block     block      in the chain: reserved is cleared
  //   chunk.4  reserved cleared                0          nothing
  LaneData& data = lane.data();
  const LoanRef reserved(&data.reserved, static_cast<uint16_t>(lane.index()), 0);
  if (heap->AllocateTo(lane, reserved, sizeof(LoanChunkData), kCacheLine, deadline) !=
      BlockResult::kOk) {
    return {};
  }
  THOLE_CRASH_POINT("chunk.1");
  const uint64_t offset = data.reserved.block.load(std::memory_order_relaxed);  // own loan
  auto* chunk = view().At<LoanChunkData>(offset);
  if (chunk == nullptr) return {};
  for (LoanData& loan : chunk->loans) ClearLoan(loan);
  const uint64_t first = data.first_chunk.load(std::memory_order_relaxed);  // own lane
  chunk->next.store(first, std::memory_order_release);                      // before the link
  THOLE_CRASH_POINT("chunk.2");
  data.first_chunk.store(offset, std::memory_order_release);  // chunk.3 COMMIT
  THOLE_CRASH_POINT("chunk.3");
  data.reserved.block.store(0, std::memory_order_release);  // after the link
  THOLE_CRASH_POINT("chunk.4");
  if (!loans_.AddChunk(lane.index(), chunk)) return {};
  return loans_.Take(lane.index());
}

}  // namespace thole::shm
