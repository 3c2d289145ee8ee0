// TestHeap: the smallest shm::BlockSource that survives the death of its users. For tests only.
//
// Blocks of 64 x 2^n bytes behind a header of one line, cut from the front of the root and never
// joined: a free list per size, everything under one owner lock and in one transaction.
#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "thole/shm/attachment.h"
#include "thole/shm/block_source.h"
#include "thole/shm/findings.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/transaction.h"

namespace thole::registry::testing {

inline constexpr uint32_t kSizes = 24;

struct alignas(shm::kCacheLine) TestBlockData {
  shm::Word64 size_and_use;  // size number : 32 | 1 = in use
  shm::Word64 next;          // payload offset of the next free block of this size
  uint64_t unused[6];
};
static_assert(sizeof(TestBlockData) == 64);

struct alignas(shm::kCacheLine) TestHeapData {
  shm::OwnerLockData lock;
  shm::Word64 end_of_blocks;  // where the next new block goes
  shm::Word64 used_bytes;     // of the blocks in use, with their headers
  shm::Word64 used_blocks;
  shm::Word64 free_heads[kSizes];
  uint64_t unused[4];
};
static_assert(sizeof(TestHeapData) == 256);

class TestHeap final : public shm::BlockSource {
 public:
  static shm::RootRequest Root(uint64_t size_bytes);
  /// Registers its repair steps too; they keep it alive as long as the attachment.
  static std::shared_ptr<TestHeap> Make(shm::Attachment& attachment);

  shm::BlockResult AllocateTo(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes,
                              uint64_t align, shm::Deadline deadline) noexcept override;
  shm::BlockResult FreeFrom(shm::Lane& lane, shm::Word64& holder, uint64_t next,
                            shm::Deadline deadline) noexcept override;
  shm::BlockResult FreeLoan(shm::Lane& lane, shm::LoanRef loan,
                            shm::Deadline deadline) noexcept override;
  shm::BlockResult Shrink(shm::Lane&, shm::LoanRef, uint64_t, shm::Deadline) noexcept override {
    return shm::BlockResult::kOk;
  }
  uint64_t BlockSize(uint64_t offset) const noexcept override;

  uint64_t used_bytes() const;
  uint64_t used_blocks() const;
  shm::OwnerLockData& lock() { return data_->lock; }
  /// The next call of AllocateTo does this first: what others do meanwhile.
  void DuringNext(std::function<void()> work) { during_next_ = std::move(work); }
  /// The next calls of AllocateTo answer kFull.
  void FailNext(uint32_t calls) { fail_next_ = calls; }

  /// Every block in use has one holder, the others stand in one free list each.
  static void Audit(const shm::Segment& segment, const shm::Holders& holders,
                    shm::Findings& findings);

 private:
  explicit TestHeap(shm::Attachment& attachment);
  shm::BlockResult Free(shm::Lane& lane, shm::Word64& holder, uint64_t next, shm::LoanData* loan,
                        shm::Deadline deadline) noexcept;

  shm::SegmentView view_;
  TestHeapData* data_;
  uint64_t end_;
  uint32_t fail_next_ = 0;
  std::function<void()> during_next_;
};

}  // namespace thole::registry::testing
