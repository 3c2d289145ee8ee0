// WaitList: sleepers on one condition, and waking one of them without a system call when none
// sleeps.
//
//   #include <thole/shm/wait_list.h>
//   // bool Try(); thole::shm::WaitListData& list;
//   //   waiter:   WaitTicket ticket = Enlist(list, slot);  if (Try()) return;
//   //             Sleep(platform, list, ticket, until);    // then try again
//   //   notifier: change with a seq_cst store; NotifyOne(platform, list);
//   inline void Wake(thole::shm::Platform& platform, thole::shm::WaitListData& list) {
//     thole::shm::NotifyOne(platform, list);
//   }
//
// `waiters` has a bit for each of 32 hashes of a slot (the kernel's wake mask has 32 bits). The
// bits are hints: too many cost a wake-up, and whoever sleeps does so in slices, so none costs a
// slice. A notifier picks one bit, clears it, bumps the sequence and wakes all its sleepers; woke
// it none, it takes the next bit. A waiter that gives up tries once more, so that no wake-up is
// lost with it.
//
// Edges
//   W1  Enlist: waiters (seq_cst RMW), then the condition is read  <->  the condition is stored
//       seq_cst, then NotifyOne reads waiters (seq_cst): one of the two sees the other
#pragma once

#include <cstdint>

#include "thole/shm/platform.h"
#include "thole/shm/word.h"

namespace thole::shm {

struct WaitListData {
  Word32 sequence;  // what sleepers wait on; bumped by every wake-up
  Word32 waiters;   // a bit per hash of a slot
};
static_assert(sizeof(WaitListData) == 8 && std::has_unique_object_representations_v<WaitListData>);

struct WaitTicket {
  uint32_t sequence;
  uint32_t bit;
};

/// Registers the caller. Afterwards it must look at the condition once more before it sleeps.
WaitTicket Enlist(WaitListData& list, uint32_t slot) noexcept;
/// Sleeps until woken or `until_ns`; may return early.
void Sleep(Platform& platform, WaitListData& list, WaitTicket ticket, int64_t until_ns) noexcept;
void NotifySlow(Platform& platform, WaitListData& list) noexcept;
/// Wakes the sleepers of one bit, if anybody sleeps: otherwise one load.
inline void NotifyOne(Platform& platform, WaitListData& list) noexcept {
  if (list.waiters.load(std::memory_order_seq_cst) != 0) {  // W1
    NotifySlow(platform, list);
  }
}
/// Wakes everybody: on close, and after a repair.
void NotifyAll(Platform& platform, WaitListData& list) noexcept;

/// How long a sleeper sleeps before it looks for dead participants.
inline constexpr int64_t kWaitSliceNs = 20'000'000;
/// The same while another participant holds a claim or a lease on what it waits for.
inline constexpr int64_t kShortWaitSliceNs = 1'000'000;

}  // namespace thole::shm
