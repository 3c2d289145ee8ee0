// Random work against a plain model, with a full audit after every step.
#include <cstring>
#include <map>

#include "test_heap.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::LoanRef;
using shm::testing::Random;
using testing::AuditText;
using testing::Party;

// What the heap must be like: disjoint ranges, each with its owner's bytes.
struct Model {
  struct Held {
    LoanRef loan;
    uint64_t asked;
    std::byte fill;
  };
  std::map<uint64_t, Held> by_offset;

  static bool Filled(const std::byte* bytes, const Held& held) {
    for (uint64_t i = 0; i < held.asked; ++i) {
      if (bytes[i] != held.fill) return false;
    }
    return true;
  }
};

class RandomWork {
 public:
  RandomWork(uint64_t seed, uint64_t segment_bytes)
      : random_(seed),
        party_(testing::MakeSegment(
            {.size_bytes = segment_bytes, .participants_max = 2, .lanes_per_participant = 2})) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      // Phases of growing and of shrinking, so that the heap is now full and now empty.
      const uint64_t lean = i / 300 % 2 == 0 ? 8 : 3;
      const uint64_t choice = random_.Below(11);
      if (model_.by_offset.empty() || choice < lean) {
        Allocate();
      } else if (choice == 9) {
        Shrink();
      } else if (choice == 10) {
        Grow();
      } else {
        Free();
      }
      Check();
      if (::testing::Test::HasFailure()) {
        FAIL() << "at step " << i;
      }
    }
    EXPECT_GT(times_full_, 0);
    EXPECT_GT(times_grown_, 0);
    while (!model_.by_offset.empty()) Free();
    party_.call.End();
    EXPECT_TRUE(party_.attachment->Leave(Deadline::Never()).ok());  // the loan chunks go, too
    EXPECT_EQ(party_.used(), 0u);
    EXPECT_EQ(party_.heap->Statistics().blocks_free, 1u);
  }

 private:
  uint64_t RandomSize() {
    const uint64_t bits = 4 + random_.Below(13);
    return 1 + random_.Below(uint64_t{1} << bits);
  }

  void Allocate() {
    const uint64_t size = RandomSize();
    const uint64_t align = random_.Chance(3) ? uint64_t{1} << random_.Below(13) : 16;
    const HeapStatistics before = party_.heap->Statistics();
    const LoanRef loan = party_.Allocate(size, align);
    if (!loan) {
      ++times_full_;
      EXPECT_EQ(party_.heap->Statistics().used_bytes, before.used_bytes);
      // Full means full: without an alignment the largest free block would have done.
      if (align <= 16 && party_.last == BlockResult::kFull) {
        EXPECT_LT(before.largest_free_bytes, size + kUnitBytes);
      }
      return;
    }
    const uint64_t offset = loan->block.load();
    EXPECT_EQ(offset % align, 0u);
    const auto fill = static_cast<std::byte>(random_.Next());
    std::memset(party_.Bytes(loan), static_cast<int>(fill), party_.heap->BlockSize(offset));
    EXPECT_TRUE(model_.by_offset.emplace(offset, Model::Held{loan, size, fill}).second);
  }

  std::map<uint64_t, Model::Held>::iterator AnyHeld() {
    auto it = model_.by_offset.begin();
    std::advance(it, random_.Below(model_.by_offset.size()));
    EXPECT_TRUE(Model::Filled(party_.Bytes(it->second.loan), it->second));
    return it;
  }

  void Free() {
    const auto it = AnyHeld();
    EXPECT_EQ(party_.Free(it->second.loan), BlockResult::kOk);
    model_.by_offset.erase(it);
  }

  void Shrink() {
    const auto it = AnyHeld();
    Model::Held& held = it->second;
    held.asked = 1 + random_.Below(held.asked);
    const uint64_t before = party_.heap->BlockSize(it->first);
    EXPECT_EQ(party_.heap->Shrink(party_.lane(), held.loan, held.asked, Deadline::Now()),
              BlockResult::kOk);
    EXPECT_LE(party_.heap->BlockSize(it->first), before);
    EXPECT_TRUE(Model::Filled(party_.Bytes(held.loan), held));
  }

  void Grow() {
    const auto it = AnyHeld();
    Model::Held& held = it->second;
    const uint64_t asked = held.asked + random_.Below(3'000);
    const uint64_t before = party_.heap->BlockSize(it->first);
    const BlockResult result = party_.heap->Grow(party_.lane(), held.loan, asked, Deadline::Now());
    EXPECT_TRUE(Model::Filled(party_.Bytes(held.loan), held));
    if (result != BlockResult::kOk) {
      EXPECT_TRUE(result == BlockResult::kFull || result == BlockResult::kTooLarge);
      EXPECT_EQ(party_.heap->BlockSize(it->first), before);
      return;
    }
    if (party_.heap->BlockSize(it->first) > before) ++times_grown_;
    held.asked = asked;
    std::memset(party_.Bytes(held.loan), static_cast<int>(held.fill),
                party_.heap->BlockSize(it->first));
  }

  void Check() {
    ASSERT_EQ(AuditText(party_.segment()), "none");
    uint64_t end = 0;
    uint64_t used = 0;
    for (const auto& [offset, held] : model_.by_offset) {
      const uint64_t size = party_.heap->BlockSize(offset);
      ASSERT_EQ(held.loan->block.load(), offset);
      ASSERT_GE(size, held.asked);
      ASSERT_GE(offset, end) << "two blocks overlap";
      end = offset + size;
      used += size + kUnitBytes;
    }
    // Loan chunks are blocks, too.
    const auto chunks = party_.heap->Statistics().blocks_used - model_.by_offset.size();
    ASSERT_LE(chunks, 8u);
    if (chunks == 0) {
      ASSERT_EQ(party_.used(), used);
    }
  }

  Random random_;
  Party party_;
  Model model_;
  int times_full_ = 0;
  int times_grown_ = 0;
};

TEST(HeapModel, EveryStepOfRandomWorkLeavesAWholeHeap) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomWork(seed, uint64_t{1} << 20).Run(1500);
    if (HasFailure()) return;
  }
}

TEST(HeapModel, ALargerHeapToo) { RandomWork(77, uint64_t{2} << 20).Run(2400); }

}  // namespace
}  // namespace thole::alloc
