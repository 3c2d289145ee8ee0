// QueueRing: one checked queue in the segment and the moves on its cells. The untyped core;
// programs use PersistentQueue.
//
//   #include <thole/queue/queue_ring.h>
//   uint64_t Length(thole::shm::SegmentView view, uint64_t offset, uint64_t bytes) {
//     auto ring = thole::queue::QueueRing::Open(view, offset, bytes);
//     return ring.ok() ? ring->SizeApprox() : 0;
//   }
//
// Guarantees. Lock-free; any number of producers and consumers, of any processes. No allocation, no
// system call, nobody is woken. Bounded: bytes that cannot be give kCorrupt, endless bad luck gives
// kPending.
//
//   step          dies after                    cell            recovered by
//   push.1        loan.where = this queue       not claimed     the loan keeps the block
//   push.2        claim {t,EMPTY}->{t,WRITING}  {t,WRITING,me}  cell -> EMPTY of the next lap
//   push.3        loan.ticket = send t          {t,WRITING,me}  the same, ticket = 0: not given
//   push.4        COMMIT: cell -> {t,FULL}      {t,FULL} or on  given: loan emptied, ticket = 0
//   push.5        tail helped                   the same        the same
//   push.6        loan.block = 0, lease = 0     the same        ticket = 0
//   push.7        loan.ticket = 0               the same        nothing to do
//   pop.1         loan.where = this queue       not claimed     nothing to do: the loan is empty
//   pop.2         claim {h,FULL}->{h,TAKEN}     {h,TAKEN,me}    cell -> FULL, attempts + 1; rewind
//   pop.3         loan.ticket = receive h       {h,TAKEN,me}    loan emptied, then the same
//   pop.4         loan.lease, then loan.block   {h,TAKEN,me}    the same
//   pop.5         COMMIT: cell -> next lap      later           taken: ticket = 0, block stays
//   pop.6         head helped                   later           the same
//   pop.7         loan.ticket = 0               later           the loan is plain or a lease
#pragma once

#include <cstdint>

#include "thole/queue/queue_data.h"
#include "thole/queue/queue_options.h"
#include "thole/queue/queue_result.h"
#include "thole/shm/participant_data.h"
#include "thole/shm/segment_view.h"
#include "thole/shm/status.h"

namespace thole::queue {

struct MessageControlData;

/// A value; refers to a mapping that must outlive it. Its numbers are private, checked copies.
class QueueRing {
 public:
  /// Writes an empty queue into `bytes` at `offset` that nobody else can see yet.
  static absl::Status Format(shm::SegmentView view, uint64_t offset, uint64_t bytes,
                             uint32_t generation, const QueueOptions& options);
  /// Checks the facts (Q1). Unimplemented: another layout version; DataLoss: damaged.
  static absl::StatusOr<QueueRing> Open(shm::SegmentView view, uint64_t offset, uint64_t bytes);

  /// One attempt. `words` holds element_words() words. With `given`, word 0 is its block, which
  /// leaves the loan at the COMMIT.
  PushResult TryPush(uint64_t owner, const uint64_t* words, shm::LoanData* given,
                     PushInfo& info) const noexcept;
  /// One attempt. With `into`, an empty loan, word 0 moves into it; a lease if the queue is leased.
  PopResult TryPop(uint64_t owner, uint64_t* words, shm::LoanData* into,
                   PopInfo& info) const noexcept;
  /// No more pushes. False when it was closed before.
  bool Close() const noexcept;
  bool IsClosed() const noexcept {
    return data_->closed.load(std::memory_order_acquire) != 0;  // Q-d
  }
  /// Messages in the ring, and in the return list; a moment's guess.
  uint64_t SizeApprox() const noexcept;

  SharedQueueData& data() const { return *data_; }
  shm::SegmentView view() const { return view_; }
  uint32_t capacity() const { return capacity_; }
  uint32_t element_bytes() const { return element_bytes_; }
  uint32_t element_words() const { return (element_bytes_ + 7) / 8; }
  uint64_t type_id() const { return type_id_; }
  uint32_t generation() const { return generation_; }
  uint64_t first_ticket() const { return first_ticket_; }
  uint32_t max_deliveries() const { return max_deliveries_; }
  bool leased() const { return (flags_ & kFlagLeased) != 0; }
  bool descriptors() const { return (flags_ & kFlagDescriptors) != 0; }
  /// This queue in loans: LoanData::where, and LoanData::lease without attempts.
  uint64_t where() const { return where_; }
  uint64_t LeaseOf(uint64_t attempts) const { return lease_ | (attempts < 255 ? attempts : 255); }
  bool IsLeaseHere(uint64_t lease) const {
    return lease != 0 && (lease & ~uint64_t{0xff}) == lease_;
  }

  /// A cell, for repair and audit; `index` below capacity.
  shm::Word64& State(uint64_t index) const { return cells_[index << cell_shift_]; }
  const shm::Word64* Payload(uint64_t index) const { return &State(index) + 1; }
  shm::Word64& HolderWord(uint32_t slot) const { return data_->holders[slot / 64 % kHolderWords]; }

 private:
  enum class Step : uint8_t { kClaimed, kAgain, kAnswer };
  uint64_t LooksMax() const;
  Step LookForPush(uint64_t owner, uint64_t tail, PushInfo& info,
                   PushResult& answer) const noexcept;
  Step LookForPop(uint64_t owner, uint64_t head, CellState& seen, PopResult& answer) const noexcept;
  bool StepOver(uint64_t head, int64_t ahead) const noexcept;
  PopResult AnswerWhenSealed(PopInfo& info) const noexcept;
  void WriteElement(uint64_t ticket, const uint64_t* words, shm::LoanData* given,
                    MessageControlData* control) const noexcept;
  shm::Word64* CellAt(uint64_t ticket) const { return &State(ticket & mask_); }
  bool BelongsToCell(const CellState& state, uint64_t ticket) const {
    return ((state.ticket ^ ticket) & mask_) == 0;
  }
  bool TailIs(uint64_t tail) const {
    return (data_->tail.load(std::memory_order_relaxed) & kTicketMask) == tail;  // else try again
  }
  bool HeadIs(uint64_t head) const {
    return data_->head.load(std::memory_order_relaxed) == head;  // else try again
  }

  shm::SegmentView view_;
  SharedQueueData* data_ = nullptr;
  shm::Word64* cells_ = nullptr;
  uint64_t mask_ = 0;
  uint32_t capacity_ = 0;
  uint32_t cell_shift_ = 0;  // log2 of a cell's words
  uint32_t element_bytes_ = 0;
  uint32_t flags_ = 0;
  uint32_t generation_ = 0;
  uint32_t max_deliveries_ = 0;
  uint64_t type_id_ = 0;
  uint64_t first_ticket_ = 0;
  uint64_t where_ = 0;
  uint64_t lease_ = 0;
};

}  // namespace thole::queue
