#include "thole/shm/attachment.h"

#include <bit>
#include <climits>

#include "lane_state.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/wait_list.h"

namespace thole::shm {

Attachment::Attachment(Segment segment, std::unique_ptr<Platform> platform)
    : segment_(std::move(segment)),
      platform_(std::move(platform)),
      loans_(segment_.lanes_per_participant()),
      repairing_(std::make_unique<std::mutex[]>(segment_.participants_max())) {}

absl::StatusOr<std::shared_ptr<Attachment>> Attachment::Make(Segment segment,
                                                             std::unique_ptr<Platform> platform) {
  if (segment.forked()) return ForkedHandleError();
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
                     " cannot be opened a second time through /proc/self/fd: is /proc mounted, and "
                     "is there a descriptor left?");
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
    if (!WaitForThaw(frozen, deadline)) return false;
  }
}

bool Attachment::WaitForThaw(uint32_t frozen, Deadline deadline) noexcept {
  // TRUST: who asks by the range of slots; one that is not taken asks for nothing.
  const SlotData* slot = segment_.Slot(frozen - 1);
  if (slot == nullptr || SlotWord::Unpack(slot->word.load(std::memory_order_acquire))  // P-c
                                 .state == SlotState::kFree) {
    Thaw(frozen);
    return true;
  }
  if (RepairSlot(frozen - 1) == RepairVerdict::kRepaired) return true;
  const int64_t now = platform_->NowNs();
  if (deadline.PassedAt(now)) return false;
  platform_->WaitWord(segment_.header().frozen, frozen, ~uint32_t{0},
                      deadline.Before(now + kWaitSliceNs).monotonic_ns());
  return true;
}

// Ends the pause that the participant `frozen - 1` asked for, unless it has ended.
void Attachment::Thaw(uint32_t frozen) noexcept {
  Word32& word = segment_.header().frozen;
  if (word.compare_exchange_strong(frozen, 0, std::memory_order_release,  // after the checkpoint
                                   std::memory_order_relaxed)) {          // nothing to end
    platform_->WakeWord(word, INT_MAX, ~uint32_t{0});
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
  // Leave may have closed the door while this thread waited.
  if (joined() && BeginCall(0, call, deadline)) return Call(this, 0);
  lane_zero_.unlock();
  return {};
}

Call Attachment::TryEnter(CallId call) noexcept {
  if (forked() || !joined()) return {};
  return Enter(call, Deadline::Now());
}

void Attachment::EndCall(uint32_t index) noexcept {
  if (forked()) return;  // the call goes on in the parent
  lanes_[index].data().in_call.store(0, std::memory_order_release);  // after the call's last store
  if (index == 0) {
    lane_zero_.unlock();
  } else {
    free_lanes_.fetch_or(uint64_t{1} << index, std::memory_order_release);  // after in_call
  }
}

// Closes the door and takes every lane; false, and open again, when a call lasts until the
// deadline.
bool Attachment::KeepCallsOut(Deadline deadline) noexcept {
  joined_.store(false, std::memory_order_release);  // process-local: Enter gives no lane now
  const uint64_t all = (~uint64_t{0} >> (64 - lanes_.size())) & ~uint64_t{1};
  uint64_t taken = 0;
  bool zero = false;
  for (;;) {
    taken |= free_lanes_.exchange(0, std::memory_order_acquire);  // after EndCall
    zero = zero || lane_zero_.try_lock();
    if (taken == all && zero) break;
    if (deadline.PassedAt(platform_->NowNs())) {
      free_lanes_.fetch_or(taken, std::memory_order_release);  // given back unused
      if (zero) lane_zero_.unlock();
      joined_.store(true, std::memory_order_release);  // process-local: open again
      return false;
    }
    Pause(deadline);
  }
  lane_zero_.unlock();  // whoever gets it now looks at joined_ once more
  return true;
}

void Attachment::LetCallsIn() noexcept {
  const uint64_t all = (~uint64_t{0} >> (64 - lanes_.size())) & ~uint64_t{1};
  joined_.store(true, std::memory_order_release);        // process-local: open again
  free_lanes_.fetch_or(all, std::memory_order_release);  // given back unused
}

// One short wait for something that tells nobody when it ends.
void Attachment::Pause(Deadline deadline) noexcept {
  platform_->WaitWord(segment_.header().frozen, 0, ~uint32_t{0},
                      deadline.Before(platform_->NowNs() + kShortWaitSliceNs).monotonic_ns());
}

LoanRef Attachment::TakeLoan(Lane& lane, BlockSource* heap, Deadline deadline) noexcept {
  if (forked()) return {};
  if (LoanRef loan = loans_.Take(lane.index())) return loan;
  if (heap == nullptr || !loans_.HasRoom(lane.index())) return {};
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
  auto* chunk = view().At<LoanChunkData>(offset);  // TRUST: offset by the view
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
