#include "harness_world.h"

#include "thole/shm/audit.h"
#include "thole/shm/transaction.h"

namespace thole::shm::testing {
namespace {

constexpr uint16_t kKind = 77;

/// alloc's first step: a reserved chunk is either in the chain or still plain.
class ReservedChunks final : public RepairPart {
 public:
  RepairStep step() const override { return RepairStep::kAllocIntents; }
  RepairOutcome Repair(DeadParticipant& dead) override {
    for (Lane& lane : dead.lanes) {
      LaneData& data = lane.data();
      const uint64_t reserved = data.reserved.block.load(std::memory_order_acquire);        // P-b
      if (reserved != 0 && reserved == data.first_chunk.load(std::memory_order_acquire)) {  // P-b
        data.reserved.block.store(0, std::memory_order_release);  // it is linked
      }
    }
    return RepairOutcome::kDone;
  }
};

/// alloc's last step: whatever a loan or a chain still holds is freed.
class PlainLoans final : public RepairPart {
 public:
  PlainLoans(std::shared_ptr<BlockHeap> heap, SegmentView view)
      : heap_(std::move(heap)), view_(view) {}
  RepairStep step() const override { return RepairStep::kAllocLoans; }
  RepairOutcome Repair(DeadParticipant& dead) override {
    for (Lane& lane : dead.lanes) {
      if (!FreeAll(lane)) return RepairOutcome::kLater;
    }
    return RepairOutcome::kDone;
  }

 private:
  bool Free(Lane& lane, Word64& holder, uint64_t next) {
    if (holder.load(std::memory_order_acquire) == 0) return true;  // P-b
    return heap_->FreeFrom(lane, holder, next, Deadline::Now()) == BlockResult::kOk;
  }
  bool FreeAll(Lane& lane) {
    bool all = true;
    ForEachLoan(view_, lane.data(),
                [&](LoanData& loan) { all = Free(lane, loan.block, 0) && all; });
    all = Free(lane, lane.data().reserved.block, 0) && all;
    Word64& first = lane.data().first_chunk;
    while (all && first.load(std::memory_order_acquire) != 0) {                      // P-b
      auto* chunk = view_.At<LoanChunkData>(first.load(std::memory_order_acquire));  // P-b
      all = chunk != nullptr && Free(lane, first, chunk->next.load(std::memory_order_acquire));
    }
    return all;
  }

  std::shared_ptr<BlockHeap> heap_;
  SegmentView view_;
};

}  // namespace

BlockResult BlockHeap::AllocateTo(Lane& lane, LoanRef loan, uint64_t size_bytes, uint64_t,
                                  Deadline deadline) noexcept {
  if (size_bytes > kBlockBytes) return BlockResult::kTooLarge;
  if (Lock(lane, data_->heap_lock, deadline) != LockResult::kOk) return BlockResult::kBusy;
  BlockResult result = BlockResult::kFull;
  for (uint32_t i = 0; i < kBlocks && result != BlockResult::kOk; ++i) {
    if (data_->used[i].load(std::memory_order_relaxed) != 0) continue;  // under the lock
    Transaction take(lane);
    take.Set(data_->used[i], 1);
    take.Set(loan->block, OffsetOf(i));
    take.Commit();
    result = BlockResult::kOk;
  }
  Unlock(lane, data_->heap_lock);
  return result;
}

BlockResult BlockHeap::FreeFrom(Lane& lane, Word64& holder, uint64_t next,
                                Deadline deadline) noexcept {
  const uint64_t block = holder.load(std::memory_order_relaxed);  // the caller's own
  if (BlockSize(block) == 0) return BlockResult::kInvalid;
  if (Lock(lane, data_->heap_lock, deadline) != LockResult::kOk) return BlockResult::kBusy;
  Transaction give(lane);
  give.Set(data_->used[(block - first_block_) / kBlockBytes], 0);
  give.Set(holder, next);
  give.Commit();
  Unlock(lane, data_->heap_lock);
  return BlockResult::kOk;
}

BlockResult BlockHeap::FreeLoan(Lane& lane, LoanRef loan, Deadline deadline) noexcept {
  return FreeFrom(lane, loan->block, 0, deadline);
}

BlockResult BlockHeap::Shrink(Lane&, LoanRef, uint64_t, Deadline) noexcept {
  return BlockResult::kOk;  // blocks of one size
}

uint64_t BlockHeap::BlockSize(uint64_t offset) const noexcept {
  const bool is_block = offset >= first_block_ && offset < OffsetOf(kBlocks) &&
                        (offset - first_block_) % kBlockBytes == 0;
  return is_block ? kBlockBytes : 0;
}

ShmProcess::ShmProcess(std::shared_ptr<Attachment> attachment) : Process(std::move(attachment)) {
  const SegmentView view = this->attachment().view();
  const uint64_t offset = this->attachment().segment().Root(ComponentId::kAlloc, kKind)->offset;
  data_ = view.At<HarnessData>(offset);
  heap_ = std::make_shared<BlockHeap>(data_, offset + RoundUp(sizeof(HarnessData), kCacheLine));
  this->attachment().Register(std::make_shared<ReservedChunks>());
  this->attachment().Register(std::make_shared<PlainLoans>(heap_, view));
}

std::vector<RootRequest> ShmWorld::Roots() const {
  RootRequest root{};
  root.component = ComponentId::kAlloc;
  root.kind = kKind;
  root.size_bytes = RoundUp(sizeof(HarnessData), kCacheLine) + kBlocks * kBlockBytes;
  root.align = kCacheLine;
  root.name = "harness";
  root.format = [](SegmentView view, const RootData& region) {
    for (GuardedData& guarded : view.At<HarnessData>(region.offset)->guarded) {
      guarded.words[0].store(kWordSum, std::memory_order_relaxed);     // nobody else sees it
      guarded.narrow[0].store(kNarrowSum, std::memory_order_relaxed);  // nobody else sees it
    }
    return absl::OkStatus();
  };
  return {root};
}

std::unique_ptr<Process> ShmWorld::MakeProcess(std::shared_ptr<Attachment> attachment) {
  return std::make_unique<ShmProcess>(std::move(attachment));
}

void ShmWorld::Joined(Process& process) {
  if (began_ns == 0) began_ns = process.attachment().platform().NowNs();
}

namespace {

void AuditGuarded(Process& survivor, GuardedData& guarded, Findings& findings) {
  const uint64_t offset = survivor.attachment().view().OffsetOf(&guarded);
  Call call = survivor.attachment().Enter(1);
  if (TryLock(call.lane(), guarded.lock) != LockResult::kOk) {
    findings.Add("lock", offset, "a lock is held though nobody is inside");
    return;
  }
  uint64_t words = 0;
  uint64_t narrow = 0;
  for (const Word64& word : guarded.words) words += word.load(std::memory_order_relaxed);  // locked
  for (const Word32& word : guarded.narrow) {
    narrow += word.load(std::memory_order_relaxed);  // under the lock
  }
  Unlock(call.lane(), guarded.lock);
  if (words != kWordSum)
    findings.Add("sum", offset, "the words add up to " + std::to_string(words));
  if (narrow != kNarrowSum) {
    findings.Add("sum", offset, "the narrow words add up to " + std::to_string(narrow));
  }
}

}  // namespace

void ShmWorld::Audit(Process& survivor, Findings& findings) {
  auto& process = static_cast<ShmProcess&>(survivor);
  for (GuardedData& guarded : process.data().guarded) AuditGuarded(survivor, guarded, findings);
  Holders holders;
  CollectLoanHolders(survivor.attachment().segment(), holders, findings);
  for (uint32_t i = 0; i < kBlocks; ++i) {
    const uint64_t block = process.heap().OffsetOf(i);
    const auto found = holders.by_block().find(block);
    const size_t holding = found == holders.by_block().end() ? 0 : found->second.size();
    const uint64_t used =
        process.data().used[i].load(std::memory_order_relaxed);  // nobody is inside
    if (holding == used) continue;
    findings.Add("holder", block,
                 "block " + std::to_string(i) + " is " + (used != 0 ? "in use" : "free") + " and " +
                     std::to_string(holding) + " hold it");
  }
}

void Move(Lane& lane, GuardedData& guarded, Random& random, bool commit) {
  Word64& from = guarded.words[random.Below(kWordsPerLock)];
  Word64& to = guarded.words[random.Below(kWordsPerLock)];
  Transaction move(lane);
  const uint64_t amount = random.Below(1 + from.load(std::memory_order_relaxed));  // under the lock
  move.Set(from, from.load(std::memory_order_relaxed) - amount);                   // under the lock
  move.Set(to, to.load(std::memory_order_relaxed) + amount);                       // under the lock
  const uint32_t half = guarded.narrow[0].load(std::memory_order_relaxed) / 2;     // under the lock
  move.Set(guarded.narrow[0], half);
  move.Set(guarded.narrow[1], kNarrowSum - half);
  move.Set(guarded.moves, guarded.moves.load(std::memory_order_relaxed) + 1);  // under the lock
  if (commit) {
    move.Commit();
  } else {
    move.Rollback();
  }
}

}  // namespace thole::shm::testing
