// BlockSource: where the components get memory of the segment from. `alloc` implements it.
//
//   #include <thole/shm/block_source.h>
//   bool Use(thole::shm::BlockSource& heap, thole::shm::Lane& lane, thole::shm::LoanRef loan) {
//     using thole::shm::BlockResult;
//     using thole::shm::Deadline;
//     if (heap.AllocateTo(lane, loan, 4096, 64, Deadline::Now()) != BlockResult::kOk) return false;
//     return heap.FreeFrom(lane, loan->block, 0, Deadline::Now()) == BlockResult::kOk;
//   }
#pragma once

#include <cstdint>

#include "thole/shm/deadline.h"
#include "thole/shm/lane.h"
#include "thole/shm/loan_table.h"

namespace thole::shm {

enum class BlockResult : uint8_t {
  kOk,
  kFull,      ///< no free range is large enough now
  kTooLarge,  ///< can never fit
  kInvalid,  ///< size 0, an alignment that is no power of two, or an offset that is no block in use
  kBusy,     ///< the deadline passed while a live participant held the heap
  kCorrupt,  ///< the heap's bytes cannot be
};

/// Thread-safe (each thread with its own lane).
class BlockSource {
 public:
  virtual ~BlockSource() = default;

  /// Moves a block of at least `size_bytes` from the heap into the empty `loan`, in one atomic
  /// step: its offset stands in `loan->block`. Contents are unspecified. After any failure nothing
  /// changed.
  virtual BlockResult AllocateTo(Lane& lane, LoanRef loan, uint64_t size_bytes, uint64_t align,
                                 Deadline deadline) noexcept = 0;
  /// Moves the block that `holder` names back into the heap and stores `next` in `holder`, in one
  /// atomic step. `holder` is a word of a loan (then `next` is 0) or the head of a chain whose
  /// first link the block is. A lease of the same loan, if there is one, is cleared in the same
  /// step by `FreeLoan`.
  virtual BlockResult FreeFrom(Lane& lane, Word64& holder, uint64_t next,
                               Deadline deadline) noexcept = 0;
  /// Frees the block of a loan and clears the loan's lease, ticket and where with it (Ack).
  virtual BlockResult FreeLoan(Lane& lane, LoanRef loan, Deadline deadline) noexcept = 0;
  /// Gives the tail of a loan's block beyond `size_bytes` back to the heap.
  virtual BlockResult Shrink(Lane& lane, LoanRef loan, uint64_t size_bytes,
                             Deadline deadline) noexcept = 0;
  /// Usable bytes of the block in use at `offset`; 0 when there is none. Bounded, any offset.
  virtual uint64_t BlockSize(uint64_t offset) const noexcept = 0;
};

}  // namespace thole::shm
