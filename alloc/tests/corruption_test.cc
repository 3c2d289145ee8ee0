// Any bytes: every call comes back, nothing outside of the mapping is touched (the memory lies
// between two pages that nobody may touch), and a flipped bit that matters is found by the audit.
#include <sys/mman.h>

#include <cstring>
#include <set>

#include "kept.h"
#include "test_heap.h"
#include "thole/alloc/own_heap.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::LoanRef;
using shm::testing::Random;
using testing::ControlOf;

// With the batch of its magazines; 0 = without.
class DamagedHeap : public ::testing::TestWithParam<uint32_t> {
 protected:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kBytes = 24 * kPage;

  DamagedHeap() {
    void* map = mmap(nullptr, kBytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    base_ = static_cast<std::byte*>(map) + kPage;
    EXPECT_EQ(mprotect(base_, kBytes, PROT_READ | PROT_WRITE), 0);
    auto own = CreateOnMapping(base_, kBytes, {.batch = GetParam()});
    EXPECT_TRUE(own.ok()) << own.status();
    own_ = *std::move(own);
    call_ = own_.attachment->Enter(1);
    // Blocks of several sizes with holes between them: some lists with one block, some with more.
    for (uint64_t size : {100, 200, 100, 300, 100, 400, 100, 1000, 2000, 100}) {
      const LoanRef loan = Take();
      EXPECT_EQ(heap().AllocateTo(lane(), loan, size, 16, Deadline::Now()), BlockResult::kOk);
      loans_.push_back(loan);
    }
    for (size_t hole : {0, 2, 4, 7}) {
      EXPECT_EQ(heap().FreeLoan(lane(), loans_[hole], Deadline::Now()), BlockResult::kOk);
    }
    EXPECT_EQ(AuditNow(), 0u);
    snapshot_.assign(base_, base_ + kBytes);
  }
  ~DamagedHeap() override {
    std::memcpy(base_, snapshot_.data(), kBytes);
    call_.End();
    own_ = {};
    munmap(base_ - kPage, kBytes + 2 * kPage);
  }

  shm::Lane& lane() { return call_.lane(); }
  PersistentTlsfAllocator& heap() { return *own_.heap; }
  const shm::Segment& segment() { return own_.attachment->segment(); }
  LoanRef Take() { return own_.attachment->TakeLoan(lane(), nullptr, Deadline::Now()); }
  MagazinesData& magazines() {
    void* area = segment().LaneArea(&lane().data(), shm::ComponentId::kAlloc);
    return *segment().view().At<MagazinesData>(segment().view().OffsetOf(area));
  }
  void Restore() { std::memcpy(base_, snapshot_.data(), kBytes); }

  uint64_t AuditNow() {
    shm::Findings findings;
    AuditHeap(segment(), findings);
    shm::Holders holders;
    shm::CollectLoanHolders(segment(), holders, findings);
    AuditHolders(segment(), holders, findings);
    return findings.count();
  }

  // Every call once or more. What they answer is their business; that they answer is ours.
  void CallEverything(Random& random) {
    for (LoanRef loan : loans_) {
      static_cast<void>(heap().BlockSize(loan->block.load()));
      static_cast<void>(heap().BlockSize(random.Below(kBytes)));
    }
    static_cast<void>(heap().Statistics());
    static_cast<void>(heap().Shrink(lane(), loans_[8], 50, Deadline::Now()));
    const LoanRef fresh = Take();
    for (uint64_t size : {16, 100, 350, 5000, 50000}) {
      fresh->block = 0;
      static_cast<void>(
          heap().AllocateTo(lane(), fresh, size, 16 << random.Below(6), Deadline::Now()));
    }
    for (LoanRef loan : loans_) static_cast<void>(heap().FreeLoan(lane(), loan, Deadline::Now()));
    static_cast<void>(heap().TryFreeLoan(lane(), fresh));
    own_.attachment->loans().Return(fresh);
    EXPECT_EQ(lane().data().log.count.load(), 0u);
    EXPECT_EQ(lane().data().lock.load(), 0u);
  }

  std::byte* base_;
  OwnHeap own_;
  shm::Call call_;
  std::vector<LoanRef> loans_;
  std::vector<std::byte> snapshot_;
};

TEST_P(DamagedHeap, EveryFlippedBitOfTheControlWordsIsFoundOrHarmless) {
  HeapData& data = ControlOf(segment());
  auto* bytes = base_ + segment().view().OffsetOf(&data);
  const auto harmless = [&](uint64_t at) {
    const auto within = [&](uint64_t from, uint64_t size) {
      return at >= from && at < from + size;
    };
    return within(offsetof(HeapData, lock), 64) ||   // somebody may hold it; the rest is reserved
           within(offsetof(HeapData, asked), 64) ||  // any number; the rest is reserved
           within(offsetof(HeapData, peak_and_free), 4) ||  // a higher peak can be
           within(offsetof(HeapData, reserved_too), sizeof data.reserved_too) ||
           within(offsetof(HeapData, reserved_again), sizeof data.reserved_again);
  };
  Random random(1);
  uint64_t found = 0;
  for (uint64_t bit = 0; bit < sizeof(HeapData) * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    const bool seen = AuditNow() != 0;
    found += seen;
    ASSERT_TRUE(seen || harmless(bit / 8)) << "bit " << bit % 8 << " of byte " << bit / 8;
    CallEverything(random);
    ASSERT_FALSE(HasFailure()) << "bit " << bit % 8 << " of byte " << bit / 8;
    Restore();
  }
  EXPECT_GT(found, (sizeof(HeapData) - 3 * 64) * 8);
}

TEST_P(DamagedHeap, EveryFlippedBitOfAHeaderOrALinkIsFoundOrHarmless) {
  Random random(2);
  std::vector<uint64_t> headers;
  ForEachUsedBlock(segment(), [&](uint64_t offset, uint64_t size) {
    headers.push_back(offset - kUnitBytes);
    if (offset + size < kBytes) headers.push_back(offset + size);  // the next block's, FREE or not
  });
  ASSERT_GT(headers.size(), 10u);
  for (uint64_t header : headers) {
    const bool free = heap().BlockSize(header + kUnitBytes) == 0;
    for (uint64_t bit = 0; bit < (free ? 24 : 16) * 8; ++bit) {
      // slot, align and clean say nothing that must be true; spare is spare.
      const bool harmless = (bit >= 36 && bit < 53) || (bit >= 96 && bit < 128);
      base_[header + bit / 8] ^= std::byte{1} << bit % 8;
      const bool seen = AuditNow() != 0;
      ASSERT_TRUE(seen || harmless) << "bit " << bit << " of the header at " << header;
      CallEverything(random);
      ASSERT_FALSE(HasFailure()) << "bit " << bit << " of the header at " << header;
      Restore();
    }
  }
}

TEST_P(DamagedHeap, RandomBytesNeverLeadOutOfTheMapping) {
  const uint64_t control = segment().view().OffsetOf(&ControlOf(segment()));
  const auto blocks = segment().Root(shm::ComponentId::kAlloc, kBlocksRoot);
  Random random(3);
  for (int run = 0; run < 20'000; ++run) {
    const uint64_t words = 1 + random.Below(run % 4 == 0 ? 300 : 6);
    for (uint64_t i = 0; i < words; ++i) {
      const bool in_control = random.Chance(2);
      const uint64_t at = in_control ? control + 64 + random.Below(sizeof(HeapData) - 64) / 4 * 4
                                     : blocks->offset + random.Below(blocks->size_bytes / 4) * 4;
      // Wild values, and values that look right: units of the heap and small sizes.
      const uint64_t wild = random.Next();
      const uint32_t value = static_cast<uint32_t>(random.Chance(2)   ? wild
                                                   : random.Chance(2) ? wild % (kBytes / 16)
                                                                      : wild % 64);
      std::memcpy(base_ + at, &value, sizeof value);
    }
    AuditNow();
    CallEverything(random);
    AuditNow();
    ASSERT_FALSE(HasFailure()) << "run " << run;
    Restore();
  }
}

// The blocks' headers are copies of real ones, with fitting checks, at wrong places: the links
// believe more of this than of random bytes.
TEST_P(DamagedHeap, ShuffledBlocksNeverLeadOutOfTheMapping) {
  const auto blocks = segment().Root(shm::ComponentId::kAlloc, kBlocksRoot);
  Random random(4);
  const uint64_t units = blocks->size_bytes / kUnitBytes;
  for (int run = 0; run < 20'000; ++run) {
    for (int i = 0; i < 8; ++i) {
      const uint64_t unit = blocks->offset / kUnitBytes + random.Below(units);
      const auto size = static_cast<uint32_t>(2 + random.Below(60));
      const auto kind = random.Chance(3) ? BlockKind::kUsed : BlockKind::kFree;
      const HeaderWord word{size, kind, 1, 0, 0, HeaderCheck(static_cast<uint32_t>(unit), size)};
      const uint64_t packed = word.Pack();
      std::memcpy(base_ + unit * kUnitBytes, &packed, sizeof packed);
      if (unit + 1 < blocks->offset / kUnitBytes + units && random.Chance(2)) {
        std::memset(base_ + (unit + 1) * kUnitBytes, 0, 8);  // a link that says: alone in its list
      }
    }
    AuditNow();
    CallEverything(random);
    ASSERT_FALSE(HasFailure()) << "run " << run;
    Restore();
  }
}

// Headers of real blocks with a fitting check, but a size or a predecessor that cannot be.
TEST_P(DamagedHeap, ForgedSizesNeverLeadOutOfTheMapping) {
  std::vector<uint64_t> headers;
  for (LoanRef loan : loans_) {
    if (loan->block.load() != 0) headers.push_back(loan->block.load() - kUnitBytes);
  }
  for (const auto& row : ControlOf(segment()).heads) {
    for (const shm::Word32& head : row) {
      if (head.load() != 0) headers.push_back(head.load() * kUnitBytes);
    }
  }
  ASSERT_GE(headers.size(), 8u);
  Random random(8);
  std::vector<uint32_t> sizes = {0, 1, 2, 3, kBytes / 16, 1u << 20, 1u << 28, 1u << 31, UINT32_MAX};
  for (int i = 0; i < 100; ++i) sizes.push_back(static_cast<uint32_t>(random.Below(kBytes / 16)));
  for (uint64_t at : headers) {
    const auto unit = static_cast<uint32_t>(at / kUnitBytes);
    auto* header = segment().view().At<BlockHeaderData>(at);
    for (uint32_t size : sizes) {
      HeaderWord word = HeaderWord::Unpack(header->word);
      if (word.size == size) continue;
      word.size = size;
      word.check = HeaderCheck(unit, size);
      header->word = word.Pack();
      EXPECT_GT(AuditNow(), 0u) << size << " at " << at;
      CallEverything(random);
      Restore();
      header->prev = size;
      AuditNow();
      CallEverything(random);
      Restore();
    }
  }
  ASSERT_FALSE(HasFailure());
}

TEST_P(DamagedHeap, ALockThatNamesNobodyIsAnAnswerAndNoHang) {
  Random random(5);
  for (uint64_t word : {uint64_t{0xfff}, uint64_t{5}, uint64_t{1} << 12, uint64_t{0xff} << 12 | 1,
                        uint64_t{77} << 32 | 1, ~uint64_t{0}}) {
    ControlOf(segment()).lock.word = word;
    CallEverything(random);
    const BlockResult result = heap().FreeFrom(lane(), loans_[1]->block, 0, Deadline::Now());
    EXPECT_TRUE(result == BlockResult::kCorrupt || result == BlockResult::kBusy) << word;
    Restore();
  }
}

TEST_P(DamagedHeap, MagazinesThatCannotBeAreAnAnswerOrSkipped) {
  Random random(7);
  for (int run = 0; run < 5'000; ++run) {
    for (int i = 0; i < 1 + run % 5; ++i) {
      const uint64_t unit = random.Below(kBytes / kUnitBytes);
      const uint64_t head =
          MagazineHead{static_cast<uint32_t>(unit), static_cast<uint32_t>(random.Below(4))}.Pack();
      magazines().heads[random.Below(kMagazines)] = random.Chance(8) ? random.Next() : head;
      if (random.Chance(4)) magazines().cached = random.Next();
      if (random.Chance(4)) ControlOf(segment()).asked = 1;
    }
    AuditNow();
    CallEverything(random);
    ASSERT_FALSE(HasFailure()) << "run " << run;
    Restore();
  }
}

INSTANTIATE_TEST_SUITE_P(Batch, DamagedHeap, ::testing::Values(0, 1, 8));

// A repair must come to an end whatever the lane of the dead one says.
TEST(DamagedLane, ARepairOfRandomLoansEndsAndFreesTheSlot) {
  Random random(6);
  for (int run = 0; run < 60; ++run) {
    testing::Party survivor(testing::MakeSegment());
    const shm::Segment& segment = survivor.segment();
    {
      testing::Party victim(testing::Reopen(segment), "victim");
      for (int i = 0; i < 20; ++i) victim.Allocate(100);
      shm::LaneData& lane = victim.lane().data();
      const uint64_t size = segment.view().size_bytes();
      for (shm::Word64* word : {&lane.block_intent, &lane.first_chunk, &lane.reserved.block}) {
        if (random.Chance(2)) word->store(random.Chance(2) ? random.Next() : random.Below(size));
      }
      for (int i = 0; i < 10; ++i) {
        lane.loans[random.Below(shm::kInlineLoans)].block =
            random.Chance(2) ? random.Next() : random.Below(size) & ~uint64_t{15};
      }
      victim.call.End();
      EXPECT_TRUE(victim.attachment->Leave(Deadline::Never()).ok());
    }
    shm::Findings findings;
    AuditHeap(segment, findings);
    EXPECT_EQ(findings.ToString(), "none");
    EXPECT_TRUE(survivor.Allocate(100));
  }
}

// The same for what it says of its magazines. Blocks that nothing names any more stay where they
// are, and the audit tells of them.
TEST(DamagedLane, ARepairOfRandomMagazinesEndsAndFreesTheSlot) {
  Random random(9);
  for (int run = 0; run < 60; ++run) {
    testing::Party survivor(testing::MakeSegment());
    {
      testing::Party victim(testing::Reopen(survivor.segment()), "victim");
      for (int i = 0; i < 20; ++i) victim.Free(victim.Allocate(100 + random.Below(300)));
      const shm::Segment& segment = victim.segment();
      void* area = segment.LaneArea(&victim.lane().data(), shm::ComponentId::kAlloc);
      auto* magazines = segment.view().At<MagazinesData>(segment.view().OffsetOf(area));
      for (shm::Word64& head : magazines->heads) {
        if (!random.Chance(3)) continue;
        const uint64_t unit = random.Below(segment.view().size_bytes() / kUnitBytes);
        head = random.Chance(2) ? random.Next() : uint64_t{1 + random.Below(9)} << 32 | unit;
      }
      victim.call.End();
      EXPECT_TRUE(victim.attachment->Leave(Deadline::Never()).ok());
    }
    EXPECT_TRUE(survivor.Allocate(100));
    shm::Findings findings;
    AuditHeap(survivor.segment(), findings);
    for (const shm::Finding& finding : findings.kept()) EXPECT_EQ(finding.invariant, "A9");
  }
}

}  // namespace
}  // namespace thole::alloc
