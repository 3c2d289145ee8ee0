// TestHeap: the smallest BlockSource: blocks one after the other, never given back.
#pragma once

#include "test_segment.h"
#include "thole/shm/block_source.h"

namespace thole::shm {

/// A segment whose root of words takes the rest, filled with bytes that must not show through.
inline void MakeHeapSegment(const Place& place) {
  RootRequest root = WordsRoot();
  root.size_bytes = kRestOfSegment;
  root.format = [](SegmentView view, const RootData& made) {
    Word64* words = view.Array<Word64>(made.offset, made.size_bytes / 8);
    for (uint64_t i = 0; i < made.size_bytes / 8; ++i) Put(words[i], ~uint64_t{0});
    return absl::OkStatus();
  };
  const std::vector<RootRequest> roots{root};
  if (!Segment::Create(place, SmallOptions(4), roots).ok()) std::abort();
}

class TestHeap final : public BlockSource {
 public:
  explicit TestHeap(const Segment& segment) : segment_(segment) {
    next_ = segment.Root(ComponentId::kShm, kWordsKind)->offset;
  }
  void set_result(BlockResult result) { result_ = result; }
  uint32_t allocated() const { return allocated_; }

  BlockResult AllocateTo(Lane&, LoanRef loan, uint64_t size_bytes, uint64_t align,
                         Deadline) noexcept override {
    if (result_ != BlockResult::kOk) return result_;
    const uint64_t at = RoundUp(next_, align);
    if (segment_.view().Bytes(at, size_bytes) == nullptr) return BlockResult::kFull;
    next_ = at + size_bytes;
    ++allocated_;
    Put(loan->block, at);
    return BlockResult::kOk;
  }
  BlockResult FreeFrom(Lane&, Word64& holder, uint64_t next, Deadline) noexcept override {
    Put(holder, next);
    return BlockResult::kOk;
  }
  BlockResult FreeLoan(Lane&, LoanRef loan, Deadline) noexcept override {
    Put(loan->block, uint64_t{0});
    return BlockResult::kOk;
  }
  BlockResult Shrink(Lane&, LoanRef, uint64_t, Deadline) noexcept override {
    return BlockResult::kOk;
  }
  uint64_t BlockSize(uint64_t) const noexcept override { return sizeof(LoanChunkData); }

 private:
  const Segment& segment_;
  uint64_t next_ = 0;
  uint32_t allocated_ = 0;
  BlockResult result_ = BlockResult::kOk;
};

}  // namespace thole::shm
