#include "test_heap.h"

#include <bit>
#include <string>
#include <unordered_set>

#include "thole/shm/repair.h"

namespace thole::registry::testing {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::Lane;
using shm::LoanData;
using shm::Word64;

constexpr uint16_t kRootKind = 1;

uint64_t BytesOfSize(uint64_t number) { return uint64_t{64} << number; }

uint64_t Read(const Word64& word) { return word.load(std::memory_order_acquire); }

TestBlockData* HeaderOf(shm::SegmentView view, uint64_t payload) {
  if (payload < sizeof(TestBlockData)) return nullptr;
  return view.At<TestBlockData>(payload - sizeof(TestBlockData));
}

// alloc's two steps: the reserved loan, and at the end the loans and their chunks.
class HeapRepair final : public shm::RepairPart {
 public:
  HeapRepair(std::shared_ptr<TestHeap> heap, shm::RepairStep step)
      : heap_(std::move(heap)), step_(step) {}
  shm::RepairStep step() const override { return step_; }
  shm::RepairOutcome Repair(shm::DeadParticipant& dead) override {
    bool done = true;
    for (Lane& lane : dead.lanes) {
      done = (step_ == shm::RepairStep::kAllocIntents ? Reserved(lane, dead) : Loans(lane, dead)) &&
             done;
    }
    return done ? shm::RepairOutcome::kDone : shm::RepairOutcome::kLater;
  }

 private:
  static Deadline Soon(shm::DeadParticipant& dead) {
    return Deadline::At(dead.survivor.platform().NowNs() + 2'000'000);
  }
  bool Free(Lane& lane, Word64& holder, uint64_t next, shm::DeadParticipant& dead) {
    return heap_->FreeFrom(lane, holder, next, Soon(dead)) != BlockResult::kBusy;
  }
  bool Reserved(Lane& lane, shm::DeadParticipant& dead) {
    Word64& block = lane.data().reserved.block;
    for (uint64_t chunk = Read(lane.data().first_chunk); chunk != 0;) {
      if (chunk == Read(block)) block.store(0, std::memory_order_release);
      auto* data = dead.survivor.view().At<shm::LoanChunkData>(chunk);
      chunk = data == nullptr ? 0 : Read(data->next);
    }
    return Read(block) == 0 || Free(lane, block, 0, dead);
  }
  bool Loans(Lane& lane, shm::DeadParticipant& dead) {
    bool done = true;
    ForEachLoan(dead.survivor.view(), lane.data(), [&](LoanData& loan) {
      if (Read(loan.block) != 0) done = Free(lane, loan.block, 0, dead) && done;
    });
    uint32_t left = shm::kChunksPerLane;
    while (done && Read(lane.data().first_chunk) != 0 && left-- != 0) {
      Word64& first = lane.data().first_chunk;
      auto* chunk = dead.survivor.view().At<shm::LoanChunkData>(Read(first));
      if (chunk == nullptr) return true;
      done = Free(lane, first, Read(chunk->next), dead);
    }
    return done;
  }

  std::shared_ptr<TestHeap> heap_;
  shm::RepairStep step_;
};

}  // namespace

shm::RootRequest TestHeap::Root(uint64_t size_bytes) {
  return {.component = shm::ComponentId::kAlloc,
          .kind = kRootKind,
          .size_bytes = size_bytes,
          .align = shm::kCacheLine,
          .name = "heap",
          .lane_area_bytes = 0,
          .format = [](shm::SegmentView view, const shm::RootData& root) {
            auto* data = view.At<TestHeapData>(root.offset);
            data->end_of_blocks.store(root.offset + sizeof(TestHeapData));
            return absl::OkStatus();
          }};
}

TestHeap::TestHeap(shm::Attachment& attachment) : view_(attachment.view()) {
  const auto root = attachment.segment().Root(shm::ComponentId::kAlloc, kRootKind);
  data_ = view_.At<TestHeapData>(root->offset);
  end_ = root->offset + root->size_bytes;
}

std::shared_ptr<TestHeap> TestHeap::Make(shm::Attachment& attachment) {
  const std::shared_ptr<TestHeap> heap(new TestHeap(attachment));
  attachment.Register(std::make_shared<HeapRepair>(heap, shm::RepairStep::kAllocIntents));
  attachment.Register(std::make_shared<HeapRepair>(heap, shm::RepairStep::kAllocLoans));
  return heap;
}

BlockResult TestHeap::AllocateTo(Lane& lane, shm::LoanRef loan, uint64_t size_bytes, uint64_t align,
                                 Deadline deadline) noexcept {
  if (size_bytes == 0 || align > shm::kCacheLine) return BlockResult::kInvalid;
  if (size_bytes > BytesOfSize(kSizes - 1)) return BlockResult::kTooLarge;
  const uint32_t number = static_cast<uint32_t>(std::bit_width((size_bytes + 63) / 64 - 1));
  const uint64_t bytes = sizeof(TestBlockData) + BytesOfSize(number);
  if (const auto work = std::exchange(during_next_, nullptr)) work();
  if (fail_next_ > 0) {
    --fail_next_;
    return BlockResult::kFull;
  }
  if (Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return BlockResult::kBusy;
  shm::Transaction move(lane);
  uint64_t payload = Read(data_->free_heads[number]);
  TestBlockData* header = HeaderOf(view_, payload);
  if (header != nullptr) {
    move.Set(data_->free_heads[number], Read(header->next));
  } else {
    const uint64_t at = Read(data_->end_of_blocks);
    if (at > end_ || bytes > end_ - at) {
      Unlock(lane, data_->lock);
      return BlockResult::kFull;
    }
    payload = at + sizeof(TestBlockData);
    header = HeaderOf(view_, payload);
    if (header == nullptr) {
      Unlock(lane, data_->lock);
      return BlockResult::kCorrupt;
    }
    move.Set(data_->end_of_blocks, at + bytes);
  }
  move.Set(header->size_and_use, uint64_t{number} << 32 | 1);
  move.Set(data_->used_bytes, Read(data_->used_bytes) + bytes);
  move.Set(data_->used_blocks, Read(data_->used_blocks) + 1);
  move.Set(loan->block, payload);
  move.Commit();
  Unlock(lane, data_->lock);
  return BlockResult::kOk;
}

BlockResult TestHeap::Free(Lane& lane, Word64& holder, uint64_t next, LoanData* loan,
                           Deadline deadline) noexcept {
  if (Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return BlockResult::kBusy;
  const uint64_t payload = Read(holder);
  TestBlockData* header = HeaderOf(view_, payload);
  if (header == nullptr || BlockSize(payload) == 0) {
    Unlock(lane, data_->lock);
    return BlockResult::kInvalid;
  }
  const uint64_t number = Read(header->size_and_use) >> 32;
  if (number >= kSizes) {  // a hostile peer, since BlockSize looked
    Unlock(lane, data_->lock);
    return BlockResult::kInvalid;
  }
  const uint64_t bytes = sizeof(TestBlockData) + BytesOfSize(number);
  shm::Transaction move(lane);
  move.Set(header->size_and_use, number << 32);
  move.Set(header->next, Read(data_->free_heads[number]));
  move.Set(data_->free_heads[number], payload);
  move.Set(data_->used_bytes, Read(data_->used_bytes) - bytes);
  move.Set(data_->used_blocks, Read(data_->used_blocks) - 1);
  move.Set(holder, next);
  if (loan != nullptr) {
    move.Set(loan->lease, 0);
    move.Set(loan->ticket, 0);
    move.Set(loan->where, 0);
  }
  move.Commit();
  Unlock(lane, data_->lock);
  return BlockResult::kOk;
}

BlockResult TestHeap::FreeFrom(Lane& lane, Word64& holder, uint64_t next,
                               Deadline deadline) noexcept {
  return Free(lane, holder, next, nullptr, deadline);
}

BlockResult TestHeap::FreeLoan(Lane& lane, shm::LoanRef loan, Deadline deadline) noexcept {
  return Free(lane, loan->block, 0, &loan.data(), deadline);
}

uint64_t TestHeap::BlockSize(uint64_t offset) const noexcept {
  const TestBlockData* header = HeaderOf(view_, offset);
  if (header == nullptr || view_.OffsetOf(data_) > offset || offset >= end_) return 0;
  const uint64_t word = Read(header->size_and_use);
  return (word & 1) == 1 && word >> 32 < kSizes ? BytesOfSize(word >> 32) : 0;
}

uint64_t TestHeap::used_bytes() const { return Read(data_->used_bytes); }
uint64_t TestHeap::used_blocks() const { return Read(data_->used_blocks); }

void TestHeap::Audit(const shm::Segment& segment, const shm::Holders& holders,
                     shm::Findings& findings) {
  const shm::SegmentView view = segment.view();
  const auto root = segment.Root(shm::ComponentId::kAlloc, kRootKind);
  const TestHeapData* data = view.At<TestHeapData>(root->offset);
  if (Read(data->lock.word) != 0) findings.Add("H0", root->offset, "the heap is locked");
  std::unordered_set<uint64_t> free;
  for (uint32_t number = 0; number < kSizes; ++number) {
    for (uint64_t at = Read(data->free_heads[number]); at != 0;) {
      const TestBlockData* header = HeaderOf(view, at);
      if (header == nullptr || !free.insert(at).second) {
        findings.Add("H1", at, "a free list is broken");
        break;
      }
      at = Read(header->next);
    }
  }
  uint64_t used = 0;
  std::unordered_set<uint64_t> in_use;
  for (uint64_t at = root->offset + sizeof(TestHeapData); at < Read(data->end_of_blocks);) {
    const uint64_t payload = at + sizeof(TestBlockData);
    const TestBlockData* header = HeaderOf(view, payload);
    if (header == nullptr) break;
    const uint64_t word = Read(header->size_and_use);
    const bool is_used = (word & 1) != 0;
    const uint64_t bytes = sizeof(TestBlockData) + BytesOfSize(word >> 32 & 31);
    if (is_used == free.contains(payload)) {
      findings.Add("H2", payload, "a block is both free and in use, or neither");
    }
    if (is_used) {
      used += bytes;
      in_use.insert(payload);
      const auto holder = holders.by_block().find(payload);
      const size_t count = holder == holders.by_block().end() ? 0 : holder->second.size();
      if (count != 1) {
        std::string text = "a block in use has " + std::to_string(count) + " holders";
        for (size_t i = 0; i < count; ++i) text += ", " + holder->second[i];
        findings.Add("H3", payload, text);
      }
    }
    at += bytes;
  }
  for (const auto& [block, who] : holders.by_block()) {
    if (!in_use.contains(block)) findings.Add("H4", block, who[0] + " holds no block in use");
  }
  if (used != Read(data->used_bytes)) findings.Add("H5", root->offset, "used bytes are miscounted");
}

}  // namespace thole::registry::testing
