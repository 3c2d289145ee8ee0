#include "thole/queue/queue_wait.h"

#include "thole/shm/attachment.h"

namespace thole::queue {
namespace {

constexpr int64_t kSpinNs = 2'000;
constexpr int kRelaxesPerLook = 8;

}  // namespace

shm::WaitListData& QueueWait::list() const {
  SharedQueueData& data = queue_.ring().data();
  return side_ == WaitSide::kPush ? data.producers : data.consumers;
}

bool QueueWait::GiveUp() noexcept {
  if (!queue_.Usable()) return false;
  if (deadline_.now() && side_ == WaitSide::kPush) {
    queue_.CountRejected();
  } else if (!deadline_.now()) {
    queue_.CountTimedOut();
  }
  return false;
}

bool QueueWait::Next(bool pending, uint32_t stalled_on) noexcept {
  if (deadline_.now() || stage_ == Stage::kLast || !queue_.Usable()) return GiveUp();
  shm::Platform& platform = queue_.attachment().platform();
  const int64_t now = platform.NowNs();
  if (stage_ == Stage::kStart) {
    spin_until_ = now + kSpinNs;
    stage_ = Stage::kSpin;
  }
  if (deadline_.PassedAt(now)) {
    // The wake-up that may have been meant for this caller must not be lost with him.
    stage_ = Stage::kLast;
    return true;
  }
  if (stage_ == Stage::kSpin && now < spin_until_) {
    for (int i = 0; i < kRelaxesPerLook; ++i) platform.Relax();
    return true;
  }
  if (stage_ == Stage::kSleep) {
    SleepOneSlice(now, pending, stalled_on);
    stage_ = Stage::kLook;  // unregistered: the first look after a wake-up mostly succeeds
    return true;
  }
  ticket_ = shm::Enlist(list(), queue_.attachment().slot());
  stage_ = Stage::kSleep;
  return true;  // the look that decides: after the registration
}

void QueueWait::SleepOneSlice(int64_t now, bool pending, uint32_t stalled_on) noexcept {
  shm::Platform& platform = queue_.attachment().platform();
  const bool short_slice =
      pending || (side_ == WaitSide::kPop && queue_.FindOtherLeaseHolder() != kNobody);
  const int64_t slice_end = now + (short_slice ? shm::kShortWaitSliceNs : shm::kWaitSliceNs);
  shm::Sleep(platform, list(), ticket_, deadline_.Before(slice_end).monotonic_ns());
  if (platform.NowNs() < slice_end) return;  // news, or the deadline
  queue_.RepairHolders(stalled_on);
}

}  // namespace thole::queue
