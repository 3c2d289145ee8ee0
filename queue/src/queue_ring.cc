// The moves on the cells: claim by CAS, one COMMIT, help the hint on. queue_ring.h has the steps.
#include "thole/queue/queue_ring.h"

#include "thole/queue/message_control.h"
#include "thole/shm/crash_point.h"

namespace thole::queue {
namespace {

constexpr uint64_t EmptyNextLap(uint64_t ticket, uint32_t capacity) {
  return CellState{ticket + capacity, 0, CellPhase::kEmpty, 0}.Pack();
}

uint32_t SlotOf(const CellState& state) {
  return (state.owner & 0xfff) == 0 ? kNobody : CellOwnerSlot(state.owner);
}

// The ticket of a push is taken: whoever sees it moves tail over it.
void HelpTail(SharedQueueData& data, uint64_t tail) {
  data.tail.compare_exchange_strong(tail, (tail + 1) & kTicketMask,
                                    std::memory_order_acq_rel,   // Q-c
                                    std::memory_order_relaxed);  // then somebody else did it
}

// All messages before `to` are taken or done. The epoch stands in `head`: a repairer that moved it
// back in between is not undone.
void HelpHead(SharedQueueData& data, uint64_t head, uint64_t to) {
  data.head.compare_exchange_strong(head, PackHead(HeadEpoch(head), to),
                                    std::memory_order_acq_rel,   // Q-c
                                    std::memory_order_relaxed);  // then somebody else did it
}

}  // namespace

// After this many looks the caller had endless bad luck, or the bytes play with him. A consumer may
// have to walk over a whole lap after a repair moved head back.
uint64_t QueueRing::LooksMax() const { return 2 * uint64_t{capacity_} + 64; }

QueueRing::Step QueueRing::LookForPush(uint64_t owner, uint64_t tail, PushInfo& info,
                                       PushResult& answer) const noexcept {
  shm::Word64& cell = *CellAt(tail);
  uint64_t word = cell.load(std::memory_order_seq_cst);  // Q-b, W1
  const CellState seen = CellState::Unpack(word);
  // TRUST: the ticket by the index of its cell and its distance, the phase by the cases.
  const int64_t ahead = CellTicketDistance(seen.ticket, tail);
  answer = PushResult::kCorrupt;
  if (!BelongsToCell(seen, tail)) return Step::kAnswer;
  if (ahead == 0 && seen.phase == CellPhase::kEmpty) {
    const CellState mine{tail & kCellTicketMask, 0, CellPhase::kWriting, owner};
    const bool claimed =
        cell.compare_exchange_strong(word, mine.Pack(), std::memory_order_acquire,  // Q-b; push.2
                                     std::memory_order_relaxed);  // looked at again
    info.ticket = tail;
    return claimed ? Step::kClaimed : Step::kAgain;
  }
  if (ahead == 0 && seen.phase == CellPhase::kClosed) {
    answer = PushResult::kClosed;
    return Step::kAnswer;
  }
  if (ahead >= 0) {  // claimed, or a lap further: tail lags behind
    if (ahead > capacity_ && TailIs(tail)) return Step::kAnswer;
    HelpTail(*data_, tail);
    return Step::kAgain;
  }
  // The message of the lap before is still there. Nobody claimed `tail`, so it really is the tail.
  if (ahead != -int64_t{capacity_}) return Step::kAnswer;
  if (seen.phase == CellPhase::kFull) {
    answer = PushResult::kFull;
  } else if (IsClaim(seen.phase)) {
    info.stalled_on = SlotOf(seen);
    answer = PushResult::kPending;
  }
  return Step::kAnswer;
}

void QueueRing::WriteElement(uint64_t ticket, const uint64_t* words, shm::LoanData* given,
                             MessageControlData* control) const noexcept {
  shm::Word64* payload = CellAt(ticket) + 1;
  for (uint32_t i = 0; i < element_words(); ++i) {
    payload[i].store(words[i], std::memory_order_relaxed);  // Q-a: before FULL
  }
  if (!descriptors()) return;
  const uint64_t block =
      given == nullptr ? 0 : given->block.load(std::memory_order_relaxed);  // own loan
  payload[kBlockWord].store(block, std::memory_order_relaxed);              // Q-a: before FULL
  payload[kSequenceWord].store(ticket, std::memory_order_relaxed);          // Q-a: before FULL
  if (control == nullptr) return;
  control->link.store(0, std::memory_order_relaxed);              // Q-a: before FULL
  control->not_before_ns.store(0, std::memory_order_relaxed);     // Q-a: before FULL
  control->attempts.store(0, std::memory_order_relaxed);          // Q-a: before FULL
  control->last_holder.store(0, std::memory_order_relaxed);       // Q-a: before FULL
  control->time_of_death_ns.store(0, std::memory_order_relaxed);  // Q-a: before FULL
  for (uint32_t i = 0; i < kDescriptorWords; ++i) {
    control->descriptor[i].store(words[i], std::memory_order_relaxed);  // Q-a: before FULL
  }
  control->descriptor[kBlockWord].store(block, std::memory_order_relaxed);      // Q-a: before FULL
  control->descriptor[kSequenceWord].store(ticket, std::memory_order_relaxed);  // Q-a: before FULL
}

PushResult QueueRing::TryPush(uint64_t owner, const uint64_t* words, shm::LoanData* given,
                              PushInfo& info) const noexcept {
  if (data_->closed.load(std::memory_order_seq_cst) != 0) return PushResult::kClosed;  // Q-d, W1
  MessageControlData* control = nullptr;
  if (given != nullptr) {
    const uint64_t block = given->block.load(std::memory_order_relaxed);  // own loan
    // TRUST: the block by the view; a queue of blocks takes no message without one.
    if (leased()) control = view_.At<MessageControlData>(block);
    if (!descriptors() || block == 0) return PushResult::kCorrupt;
    given->where.store(where_, std::memory_order_release);  // push.1, before the claim
    THOLE_CRASH_POINT("queue.push.1");
  }
  if (leased() && control == nullptr) return PushResult::kCorrupt;
  PushResult answer = PushResult::kPending;
  Step step = Step::kAgain;
  for (uint64_t left = LooksMax(); step == Step::kAgain && left != 0; --left) {
    const uint64_t tail = data_->tail.load(std::memory_order_acquire) & kTicketMask;  // Q-c
    step = LookForPush(owner, tail, info, answer);
  }
  if (step == Step::kAgain) return PushResult::kPending;
  if (step == Step::kAnswer) return answer;
  THOLE_CRASH_POINT("queue.push.2");
  const uint64_t ticket = info.ticket;
  if (given != nullptr) {
    given->ticket.store(shm::PackTicket(shm::LoanKind::kSend, ticket),
                        std::memory_order_release);  // push.3: not before the claim, before FULL
    THOLE_CRASH_POINT("queue.push.3");
  }
  WriteElement(ticket, words, given, control);
  CellAt(ticket)->store(CellState{ticket & kCellTicketMask, 0, CellPhase::kFull, 0}.Pack(),
                        std::memory_order_seq_cst);  // Q-a, W1; push.4 COMMIT
  THOLE_CRASH_POINT("queue.push.4");
  HelpTail(*data_, ticket);
  THOLE_CRASH_POINT("queue.push.5");
  if (given != nullptr) {
    given->block.store(0, std::memory_order_release);  // push.6, after the COMMIT
    given->lease.store(0, std::memory_order_release);  // after block: an empty loan is plain
    THOLE_CRASH_POINT("queue.push.6");
    given->ticket.store(0, std::memory_order_release);  // push.7, last
    THOLE_CRASH_POINT("queue.push.7");
  }
  return PushResult::kOk;
}

// Head stands at a message that is taken or done, in a cell `ahead` tickets further. It can lag by
// more than a lap when producers died and nobody asked: their tickets need no consumer. All tickets
// more than a lap before tail are done. False when the cell cannot be so far.
bool QueueRing::StepOver(uint64_t head, int64_t ahead) const noexcept {
  uint64_t to = head + 1;
  if (ahead > capacity_) {
    const uint64_t tail = data_->tail.load(std::memory_order_acquire);  // Q-c; not before the cell
    const int64_t lag = TicketDistance(tail, head);
    if (ahead > lag + capacity_ && HeadIs(head)) return false;
    if (lag > capacity_) to = tail - capacity_;
  }
  HelpHead(*data_, head, to);
  return true;
}

QueueRing::Step QueueRing::LookForPop(uint64_t owner, uint64_t head, CellState& seen,
                                      PopResult& answer) const noexcept {
  const uint64_t ticket = head & kTicketMask;
  shm::Word64& cell = *CellAt(ticket);
  uint64_t word = cell.load(std::memory_order_seq_cst);  // Q-a, W1
  seen = CellState::Unpack(word);
  // TRUST: the ticket by the index of its cell and its distance, the phase by the cases.
  const int64_t ahead = CellTicketDistance(seen.ticket, ticket);
  answer = PopResult::kCorrupt;
  if (!BelongsToCell(seen, ticket)) return Step::kAnswer;
  if (ahead > 0 || (ahead == 0 && IsTaken(seen.phase))) {
    return StepOver(head, ahead) ? Step::kAgain : Step::kAnswer;
  }
  if (ahead < 0) {  // the cell is still in the lap before: nobody claimed `ticket`
    if (ahead != -int64_t{capacity_} || (!IsClaim(seen.phase) && seen.phase != CellPhase::kFull)) {
      return HeadIs(head) ? Step::kAnswer : Step::kAgain;
    }
    const bool may_come_back = seen.phase == CellPhase::kWriting || IsClosed();
    answer = may_come_back ? PopResult::kPending : PopResult::kEmpty;
    return Step::kAnswer;
  }
  switch (seen.phase) {
    case CellPhase::kFull: {
      const CellState mine{seen.ticket, seen.attempts, CellPhase::kTaken, owner};
      const bool claimed = cell.compare_exchange_strong(
          word, mine.Pack(), std::memory_order_acq_rel,  // Q-a, Q-f; pop.2
          std::memory_order_relaxed);                    // looked at again
      return claimed ? Step::kClaimed : Step::kAgain;
    }
    case CellPhase::kEmpty: {
      answer = PopResult::kEmpty;
      if (data_->closed.load(std::memory_order_seq_cst) == 0) return Step::kAnswer;  // Q-d, W1
      const CellState seal{seen.ticket, 0, CellPhase::kClosed, 0};
      cell.compare_exchange_strong(word, seal.Pack(),
                                   std::memory_order_acq_rel,   // Q-d: final for pushes
                                   std::memory_order_relaxed);  // looked at again
      return Step::kAgain;
    }
    case CellPhase::kWriting:
      answer = PopResult::kPending;
      return Step::kAnswer;
    case CellPhase::kClosed:
      answer = PopResult::kClosed;
      return Step::kAnswer;
    default:
      return Step::kAnswer;
  }
}

// The ring is sealed and head stands at the seal. Closed is only final if no message behind head
// can come back: nobody is in the middle of taking one, and no repair of such a one is on its way.
PopResult QueueRing::AnswerWhenSealed(PopInfo& info) const noexcept {
  for (uint64_t i = 0; i < capacity_; ++i) {
    const CellState state = CellState::Unpack(State(i).load(std::memory_order_acquire));  // Q-b
    if (!IsClaim(state.phase) && state.phase != CellPhase::kFull) continue;
    info.stalled_on = SlotOf(state);
    return PopResult::kPending;
  }
  return PopResult::kClosed;
}

PopResult QueueRing::TryPop(uint64_t owner, uint64_t* words, shm::LoanData* into,
                            PopInfo& info) const noexcept {
  if (descriptors() != (into != nullptr)) return PopResult::kCorrupt;  // a block needs its loan
  if (into != nullptr) {
    into->where.store(where_, std::memory_order_release);  // pop.1, before the claim
    THOLE_CRASH_POINT("queue.pop.1");
  }
  PopResult answer = PopResult::kPending;
  CellState seen{};
  uint64_t head = 0;
  Step step = Step::kAgain;
  for (uint64_t left = LooksMax(); step == Step::kAgain && left != 0; --left) {
    head = data_->head.load(std::memory_order_acquire);  // Q-c
    step = LookForPop(owner, head, seen, answer);
  }
  if (step == Step::kAgain) return PopResult::kPending;
  if (step == Step::kAnswer) {
    if (answer == PopResult::kPending) info.stalled_on = SlotOf(seen);
    return answer == PopResult::kClosed ? AnswerWhenSealed(info) : answer;
  }
  THOLE_CRASH_POINT("queue.pop.2");
  info.ticket = head & kTicketMask;
  info.attempts = static_cast<uint32_t>(seen.attempts);
  shm::Word64* cell = CellAt(info.ticket);
  for (uint32_t i = 0; i < element_words(); ++i) {
    words[i] = cell[1 + i].load(std::memory_order_relaxed);  // Q-b: before EMPTY
  }
  if (into != nullptr) {
    into->ticket.store(shm::PackTicket(shm::LoanKind::kReceive, info.ticket),
                       std::memory_order_release);  // pop.3: after the claim, before block
    THOLE_CRASH_POINT("queue.pop.3");
    const uint64_t block = words[kBlockWord];
    into->lease.store(leased() && block != 0 ? LeaseOf(seen.attempts) : 0,
                      std::memory_order_release);         // before block
    into->block.store(block, std::memory_order_release);  // pop.4, before the COMMIT
    THOLE_CRASH_POINT("queue.pop.4");
  }
  cell->store(EmptyNextLap(info.ticket, capacity_),
              std::memory_order_seq_cst);  // Q-b, W1; pop.5 COMMIT
  THOLE_CRASH_POINT("queue.pop.5");
  HelpHead(*data_, head, head + 1);
  THOLE_CRASH_POINT("queue.pop.6");
  if (into != nullptr) {
    into->ticket.store(0, std::memory_order_release);  // pop.7, last
    THOLE_CRASH_POINT("queue.pop.7");
  }
  return PopResult::kOk;
}

bool QueueRing::Close() const noexcept {
  const bool was_open = data_->closed.exchange(1, std::memory_order_seq_cst) == 0;  // Q-d, W1
  THOLE_CRASH_POINT("queue.close.1");
  return was_open;
}

uint64_t QueueRing::SizeApprox() const noexcept {
  const uint64_t head = data_->head.load(std::memory_order_relaxed);                // a guess
  const uint64_t tail = data_->tail.load(std::memory_order_relaxed);                // a guess
  const uint64_t returned = data_->returned.count.load(std::memory_order_relaxed);  // a guess
  const int64_t in_ring = TicketDistance(tail, head);
  const uint64_t ring = in_ring <= 0 ? 0 : static_cast<uint64_t>(in_ring);
  return (ring < capacity_ ? ring : capacity_) + returned;
}

}  // namespace thole::queue
