#include "test_pool.h"

#include <algorithm>
#include <bit>
#include <string>

#include "thole/shm/attachment.h"
#include "thole/shm/transaction.h"

namespace thole::queue::testing {
namespace {

using shm::BlockResult;

// What alloc does last: plain blocks of the dead become free.
class PoolRepair final : public shm::RepairPart {
 public:
  PoolRepair(TestPool& pool, shm::RepairStep step) : pool_(pool), step_(step) {}
  shm::RepairStep step() const override { return step_; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override {
    if (step_ == shm::RepairStep::kAllocIntents) return shm::RepairOutcome::kDone;
    auto outcome = shm::RepairOutcome::kDone;
    for (shm::Lane& lane : dead.lanes) {
      for (shm::LoanData& loan : lane.data().loans) {
        if (loan.block == 0 || loan.lease != 0 || loan.ticket != 0) continue;
        const auto patience = shm::Deadline::At(dead.survivor.platform().NowNs() + 2'000'000);
        if (pool_.FreeFrom(lane, loan.block, 0, patience) == BlockResult::kBusy) {
          outcome = shm::RepairOutcome::kLater;
        }
      }
    }
    return outcome;
  }

 private:
  TestPool& pool_;
  shm::RepairStep step_;
};

}  // namespace

shm::RootRequest TestPool::Root(uint32_t blocks, uint64_t block_bytes) {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kAlloc;
  root.kind = 1;
  root.size_bytes = sizeof(TestPoolData) + blocks * block_bytes;
  root.align = shm::kCacheLine;
  root.name = "pool";
  root.format = [=](shm::SegmentView view, const shm::RootData& data) {
    auto* pool = view.At<TestPoolData>(data.offset);
    pool->free_blocks = blocks == 64 ? ~uint64_t{0} : (uint64_t{1} << blocks) - 1;
    pool->blocks = blocks;
    pool->block_bytes = block_bytes;
    return absl::OkStatus();
  };
  return root;
}

TestPool::TestPool(const shm::Segment& segment) {
  const auto root = segment.Root(shm::ComponentId::kAlloc, 1);
  data_ = segment.view().At<TestPoolData>(root->offset);
  blocks_ = root->offset + sizeof(TestPoolData);
  // TRUST: read once, by what a pool can be.
  const uint64_t fit = root->size_bytes - sizeof(TestPoolData);
  block_bytes_ = std::clamp<uint64_t>(data_->block_bytes, 1, fit);
  count_ = std::min<uint64_t>({data_->blocks, uint64_t{kNone}, fit / block_bytes_});
}

uint32_t TestPool::IndexOf(uint64_t offset) const noexcept {
  if (offset < blocks_ || (offset - blocks_) % block_bytes_ != 0) return kNone;
  const uint64_t index = (offset - blocks_) / block_bytes_;
  return index < count_ ? static_cast<uint32_t>(index) : kNone;
}

BlockResult TestPool::Change(shm::Lane& lane, shm::Deadline deadline, uint64_t set, uint64_t clear,
                             shm::Word64& holder, uint64_t value, shm::Word64* lease) noexcept {
  const uint64_t free_blocks = data_->free_blocks;
  shm::Transaction change(lane);
  change.Set(data_->free_blocks, (free_blocks | set) & ~clear);
  change.Set(holder, value);
  if (lease != nullptr) change.Set(*lease, 0);
  (void)change.Commit();
  (void)deadline;
  shm::Unlock(lane, data_->lock);
  return BlockResult::kOk;
}

BlockResult TestPool::AllocateTo(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes, uint64_t,
                                 shm::Deadline deadline) noexcept {
  if (size_bytes > block_bytes_) return BlockResult::kTooLarge;
  if (shm::Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return BlockResult::kBusy;
  const uint64_t free_blocks = data_->free_blocks;
  if (free_blocks == 0) {
    shm::Unlock(lane, data_->lock);
    return BlockResult::kFull;
  }
  const auto index = static_cast<uint32_t>(std::countr_zero(free_blocks));
  return Change(lane, deadline, 0, uint64_t{1} << index, loan->block, OffsetOf(index), nullptr);
}

BlockResult TestPool::FreeFrom(shm::Lane& lane, shm::Word64& holder, uint64_t next,
                               shm::Deadline deadline) noexcept {
  if (shm::Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return BlockResult::kBusy;
  const uint32_t index = IndexOf(holder);
  if (index == kNone || (data_->free_blocks >> index & 1) != 0) {
    shm::Unlock(lane, data_->lock);
    return BlockResult::kInvalid;
  }
  return Change(lane, deadline, uint64_t{1} << index, 0, holder, next, nullptr);
}

BlockResult TestPool::FreeLoan(shm::Lane& lane, shm::LoanRef loan,
                               shm::Deadline deadline) noexcept {
  if (shm::Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return BlockResult::kBusy;
  const uint32_t index = IndexOf(loan->block);
  if (index == kNone || (data_->free_blocks >> index & 1) != 0) {
    shm::Unlock(lane, data_->lock);
    return BlockResult::kInvalid;
  }
  return Change(lane, deadline, uint64_t{1} << index, 0, loan->block, 0, &loan->lease);
}

uint64_t TestPool::BlockSize(uint64_t offset) const noexcept {
  const uint32_t index = IndexOf(offset);
  return index < kNone && (data_->free_blocks >> index & 1) == 0 ? block_bytes_ : 0;
}

uint32_t TestPool::free_count() const {
  return static_cast<uint32_t>(std::popcount(data_->free_blocks.load()));
}

void TestPool::Audit(const shm::Holders& holders, shm::Findings& findings) const {
  const uint64_t free_blocks = data_->free_blocks;
  for (uint32_t i = 0; i < count_; ++i) {
    const auto held = holders.by_block().find(OffsetOf(i));
    size_t count = free_blocks >> i & 1;
    std::string who = count != 0 ? "the pool" : "";
    if (held != holders.by_block().end()) {
      count += held->second.size();
      for (const std::string& holder : held->second) who += (who.empty() ? "" : ", ") + holder;
    }
    if (count == 1) continue;
    findings.Add(
        "holders", OffsetOf(i),
        "block " + std::to_string(i) + " has " + std::to_string(count) + " holders: " + who);
  }
  for (const auto& [block, who] : holders.by_block()) {
    if (IndexOf(block) == kNone) {
      findings.Add("holders", block, who.front() + " holds what is no block");
    }
  }
}

std::vector<std::shared_ptr<shm::RepairPart>> TestPool::RepairParts() {
  return {std::make_shared<PoolRepair>(*this, shm::RepairStep::kAllocIntents),
          std::make_shared<PoolRepair>(*this, shm::RepairStep::kAllocLoans)};
}

}  // namespace thole::queue::testing
