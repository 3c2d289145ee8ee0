#include "thole/shm/wait_list.h"

#include <climits>

namespace thole::shm {

WaitTicket Enlist(WaitListData& list, uint32_t slot) noexcept {
  const uint32_t sequence = list.sequence.load(std::memory_order_acquire);  // before the re-check
  const uint32_t bit = uint32_t{1} << (slot % 32);
  list.waiters.fetch_or(bit, std::memory_order_seq_cst);  // W1
  return {sequence, bit};
}

void Sleep(Platform& platform, WaitListData& list, WaitTicket ticket, int64_t until_ns) noexcept {
  platform.WaitWord(list.sequence, ticket.sequence, ticket.bit, until_ns);
}

void NotifySlow(Platform& platform, WaitListData& list) noexcept {
  for (int turn = 0; turn < 32; ++turn) {
    uint32_t waiters = list.waiters.load(std::memory_order_seq_cst);  // W1
    if (waiters == 0) return;
    const uint32_t bit = waiters & (0 - waiters);
    list.waiters.fetch_and(~bit, std::memory_order_seq_cst);  // who enlists now sees the change
    list.sequence.fetch_add(1, std::memory_order_seq_cst);    // who is about to sleep does not
    if (platform.WakeWord(list.sequence, INT_MAX, bit) > 0) return;
  }
}

void NotifyAll(Platform& platform, WaitListData& list) noexcept {
  list.waiters.store(0, std::memory_order_seq_cst);       // W1
  list.sequence.fetch_add(1, std::memory_order_seq_cst);  // who is about to sleep does not
  platform.WakeWord(list.sequence, INT_MAX, ~uint32_t{0});
}

}  // namespace thole::shm
