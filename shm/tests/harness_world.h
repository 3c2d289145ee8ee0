// What `shm` shows to the stepper and the simulator: two locks, words whose sums stay, a wait list,
// and a heap of a few equal blocks that stands in for `alloc`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "thole/shm/block_source.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/wait_list.h"

namespace thole::shm::testing {

inline constexpr uint32_t kLocks = 2;
inline constexpr uint32_t kWordsPerLock = 4;
inline constexpr uint32_t kNarrowPerLock = 2;
inline constexpr uint32_t kBlocks = 4;
inline constexpr uint64_t kBlockBytes = RoundUp(sizeof(LoanChunkData), kCacheLine);
inline constexpr uint64_t kWordSum = 1000;
inline constexpr uint32_t kNarrowSum = 100;

/// What one lock guards: sums that no half-done transaction may show.
struct GuardedData {
  OwnerLockData lock;
  Word64 words[kWordsPerLock];    // the sum is kWordSum
  Word32 narrow[kNarrowPerLock];  // the sum is kNarrowSum
  Word64 moves;                   // committed transactions
};
static_assert(sizeof(GuardedData) == 56);

struct HarnessData {
  GuardedData guarded[kLocks];
  WaitListData waiters;
  Word64 tokens;
  OwnerLockData heap_lock;
  Word64 used[kBlocks];  // 1 = somebody holds the block
};
static_assert(sizeof(HarnessData) == 168);

/// A BlockSource of kBlocks blocks, under a lock, with a log.
class BlockHeap final : public BlockSource {
 public:
  BlockHeap(HarnessData* data, uint64_t first_block) : data_(data), first_block_(first_block) {}
  BlockResult AllocateTo(Lane& lane, LoanRef loan, uint64_t size_bytes, uint64_t align,
                         Deadline deadline) noexcept override;
  BlockResult FreeFrom(Lane& lane, Word64& holder, uint64_t next,
                       Deadline deadline) noexcept override;
  BlockResult FreeLoan(Lane& lane, LoanRef loan, Deadline deadline) noexcept override;
  BlockResult Shrink(Lane& lane, LoanRef loan, uint64_t size_bytes,
                     Deadline deadline) noexcept override;
  uint64_t BlockSize(uint64_t offset) const noexcept override;
  uint64_t OffsetOf(uint32_t block) const { return first_block_ + block * kBlockBytes; }

 private:
  HarnessData* data_;
  uint64_t first_block_;
};

class ShmProcess final : public Process {
 public:
  explicit ShmProcess(std::shared_ptr<Attachment> attachment);
  HarnessData& data() { return *data_; }
  BlockHeap& heap() { return *heap_; }

 private:
  HarnessData* data_;
  std::shared_ptr<BlockHeap> heap_;
};

class ShmWorld final : public World {
 public:
  uint64_t segment_bytes() const override { return 96 << 10; }
  std::vector<RootRequest> Roots() const override;
  std::unique_ptr<Process> MakeProcess(std::shared_ptr<Attachment> attachment) override;
  void Joined(Process& process) override;
  void Audit(Process& survivor, Findings& findings) override;

  // The ledger.
  uint64_t moved[kLocks] = {};  // transactions whose Commit returned
  bool told_corrupt = false;    // somebody, of a lock with which nothing is wrong
  int64_t began_ns = 0;         // on the simulated clock
  uint64_t slept_in_vain = 0;   // waits that only time ended
  uint64_t tokens_taken = 0;
  // Processes that `prepare` killed: their destructors touch nothing.
  std::vector<std::unique_ptr<Process>> dead;
};

/// Moves an amount between the words of a lock; the caller holds it. Several widths.
void Move(Lane& lane, GuardedData& guarded, Random& random, bool commit);

}  // namespace thole::shm::testing
