// QueueWait: how a call waits for a queue. The one place where anybody sleeps.
//
//   #include <thole/queue/queue_wait.h>
//   // Waits without holding a lane: Try is a call that takes one and gives it back.
//   template <class Try>
//   thole::queue::PopResult Wait(const thole::queue::QueueHandle& queue, Try attempt,
//                                thole::shm::Deadline deadline) {
//     thole::queue::QueueWait wait(queue, thole::queue::WaitSide::kPop, deadline);
//     for (;;) {
//       thole::queue::PopInfo info;
//       const thole::queue::PopResult result = attempt(info);
//       if (!thole::queue::MayChange(result)) return result;
//       const bool pending = result == thole::queue::PopResult::kPending;
//       if (!wait.Next(pending, info.stalled_on)) return thole::queue::PopResult::kTimeout;
//     }
//   }
//
// Spins about 2 us, then sleeps on the queue's futex word in slices: 20 ms, or 1 ms while somebody
// else holds a claim or a lease there. A slice that ends without news repairs the dead among those
// who may hold something. Registers before the last look, so no wake-up is lost; without sleepers a
// push or pop makes no system call.
#pragma once

#include <cstdint>

#include "thole/queue/queue_handle.h"
#include "thole/shm/deadline.h"
#include "thole/shm/wait_list.h"

namespace thole::queue {

enum class WaitSide : uint8_t { kPush, kPop };

/// Lives on the stack of one waiting call.
class QueueWait {
 public:
  QueueWait(const QueueHandle& queue, WaitSide side, shm::Deadline deadline)
      : queue_(queue), side_(side), deadline_(deadline) {}

  /// After an attempt that answered "not now": waits until another one makes sense. False when the
  /// deadline passed; then the last attempt was made after it. `pending`: somebody is in the
  /// middle, `stalled_on` if his slot is known.
  bool Next(bool pending, uint32_t stalled_on) noexcept;

 private:
  enum class Stage : uint8_t { kStart, kSpin, kLook, kSleep, kLast };
  shm::WaitListData& list() const;
  void SleepOneSlice(int64_t now, bool pending, uint32_t stalled_on) noexcept;
  bool GiveUp() noexcept;

  const QueueHandle& queue_;
  WaitSide side_;
  Stage stage_ = Stage::kStart;
  shm::Deadline deadline_;
  int64_t spin_until_ = 0;
  shm::WaitTicket ticket_{};
};

}  // namespace thole::queue
