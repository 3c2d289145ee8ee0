// TestPool: the smallest BlockSource that keeps the promise: 64 blocks of 128 bytes, a bit for
// each. Stands in for alloc, which queue does not know.
#pragma once

#include <cstdint>
#include <vector>

#include "thole/shm/block_source.h"
#include "thole/shm/findings.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/repair.h"
#include "thole/shm/segment.h"

namespace thole::queue::testing {

/// A message of a leased queue without payload.
inline constexpr uint64_t kMessageBytes = 128;

struct alignas(shm::kCacheLine) TestPoolData {
  shm::OwnerLockData lock;
  shm::Word64 free_blocks;
  uint64_t blocks;
  uint64_t block_bytes;
  uint64_t reserved[4];
};
static_assert(sizeof(TestPoolData) == 64);

class TestPool final : public shm::BlockSource {
 public:
  /// The root that holds it; of component alloc, so that a repair asks for its steps.
  static shm::RootRequest Root(uint32_t blocks = 64, uint64_t block_bytes = kMessageBytes);
  explicit TestPool(const shm::Segment& segment);

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

  /// Every block must have exactly one holder: the pool, or one of `holders`.
  void Audit(const shm::Holders& holders, shm::Findings& findings) const;
  uint64_t OffsetOf(uint32_t index) const { return blocks_ + index * block_bytes_; }
  uint32_t free_count() const;
  /// The two repair parts of this pool.
  std::vector<std::shared_ptr<shm::RepairPart>> RepairParts();

 private:
  shm::BlockResult Change(shm::Lane& lane, shm::Deadline deadline, uint64_t set, uint64_t clear,
                          shm::Word64& holder, uint64_t value, shm::Word64* lease) noexcept;
  /// kNone when it is none.
  static constexpr uint32_t kNone = 64;
  uint32_t IndexOf(uint64_t offset) const noexcept;

  TestPoolData* data_;
  uint64_t blocks_;  // offset
  uint64_t count_;
  uint64_t block_bytes_;
};

}  // namespace thole::queue::testing
