#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "test_heap.h"
#include "thole/alloc/own_heap.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::LoanRef;
using testing::AuditText;
using testing::ControlOf;
using testing::MakeSegment;
using testing::Party;

class Allocator : public ::testing::Test {
 protected:
  // Whatever a test leaves behind, the heap must be whole.
  void TearDown() override { EXPECT_EQ(AuditText(party_.segment()), "none"); }
  HeapStatistics Now() const { return party_.heap->Statistics(); }

  // What the lists do; what the magazines do before: magazine_test.cc.
  Party party_{MakeSegment(), "party", testing::kNoMagazines};
};

TEST(SizeClasses, EverySizeOfAClassRoundedUpFitsARequest) {
  for (uint64_t units = 2; units < (uint64_t{1} << 32); units += 1 + units / 97) {
    const uint64_t rounded = RoundUpToClass(units);
    ASSERT_GE(rounded, units);
    ASSERT_LE(rounded - units, units / 32);
    if (rounded > UINT32_MAX) continue;
    const SizeClass list = ClassOf(static_cast<uint32_t>(rounded));
    ASSERT_LT(list.row, kRows);
    ASSERT_LT(list.column, kColumns);
    // One unit less belongs to another list: `rounded` is the least size of its own.
    ASSERT_FALSE(ClassOf(static_cast<uint32_t>(rounded) - 1) == list);
  }
}

TEST(HeaderCheck, AnyFlippedBitOfASizeIsSeen) {
  for (uint32_t size : {2u, 3u, 64u, 4095u, 1u << 20, 0xfffffff0u}) {
    for (int bit = 0; bit < 32; ++bit) {
      EXPECT_NE(HeaderCheck(77, size), HeaderCheck(77, size ^ 1u << bit)) << size << " " << bit;
    }
  }
}

TEST_F(Allocator, RefusesSizeZeroAndAlignmentsThatAreNoPowerOfTwo) {
  EXPECT_FALSE(party_.Allocate(0));
  EXPECT_EQ(party_.last, BlockResult::kInvalid);
  for (uint64_t align : {0, 3, 24, 4097}) {
    EXPECT_FALSE(party_.Allocate(8, align));
    EXPECT_EQ(party_.last, BlockResult::kInvalid);
  }
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Allocator, RefusesALoanThatHoldsSomething) {
  const LoanRef loan = party_.Allocate(100);
  const uint64_t used = Now().used_bytes;
  EXPECT_EQ(party_.heap->AllocateTo(party_.lane(), loan, 8, 16, Deadline::Now()),
            BlockResult::kInvalid);
  EXPECT_EQ(Now().used_bytes, used);
}

TEST_F(Allocator, SaysTooLargeOnlyForWhatCanNeverFit) {
  const uint64_t whole = Now().heap_bytes - kUnitBytes;
  for (uint64_t size : {whole + 1, whole * 2, uint64_t{1} << 40, UINT64_MAX - 15, UINT64_MAX}) {
    EXPECT_FALSE(party_.Allocate(size));
    EXPECT_EQ(party_.last, BlockResult::kTooLarge) << size;
  }
  for (uint64_t align : {uint64_t{1} << 20, uint64_t{1} << 36, uint64_t{1} << 63}) {
    EXPECT_FALSE(party_.Allocate(1, align));
    EXPECT_EQ(party_.last, BlockResult::kTooLarge) << align;
  }
  EXPECT_FALSE(party_.Allocate(whole, 4096));
  EXPECT_EQ(party_.last, BlockResult::kTooLarge);
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Allocator, GivesTheWholeHeapInOnePieceAndTakesItBack) {
  const HeapStatistics before = Now();
  ASSERT_EQ(before.largest_free_bytes, before.heap_bytes);
  const LoanRef loan = party_.Allocate(before.heap_bytes - kUnitBytes);
  ASSERT_TRUE(loan);
  EXPECT_EQ(Now().free_bytes, 0u);
  EXPECT_EQ(Now().blocks_free, 0u);
  EXPECT_FALSE(party_.Allocate(1));
  EXPECT_EQ(party_.last, BlockResult::kFull);
  std::memset(party_.Bytes(loan), 0xff, before.heap_bytes - kUnitBytes);
  EXPECT_EQ(party_.Free(loan), BlockResult::kOk);
  EXPECT_EQ(Now().free_bytes, before.free_bytes);
  EXPECT_EQ(Now().largest_free_bytes, before.heap_bytes);
  EXPECT_EQ(Now().peak_bytes, before.heap_bytes);
}

TEST_F(Allocator, GivesAtLeastWhatWasAskedForAndWastesLittle) {
  for (uint64_t size = 1; size < 200'000; size += 1 + size / 7) {
    const LoanRef loan = party_.Allocate(size);
    ASSERT_TRUE(loan);
    const uint64_t usable = party_.heap->BlockSize(loan->block.load());
    EXPECT_GE(usable, size);
    EXPECT_LE(usable, size + size / 32 + 2 * kUnitBytes);
    EXPECT_EQ(loan->block.load() % kUnitBytes, 0u);
    ASSERT_EQ(party_.Free(loan), BlockResult::kOk);
  }
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Allocator, HonoursEveryAlignmentWhereverTheHeapBegins) {
  for (uint64_t align = 1; align <= uint64_t{1} << 18; align *= 2) {
    for (uint64_t odd = 1; odd < 200; odd += 31) {  // shifts where the free range begins
      const LoanRef before = party_.Allocate(odd);
      const LoanRef loan = party_.Allocate(100, align);
      ASSERT_TRUE(before && loan) << align;
      EXPECT_EQ(loan->block.load() % std::max<uint64_t>(align, 16), 0u);
      EXPECT_EQ(AuditText(party_.segment()), "none");
      party_.Free(before);
      party_.Free(loan);
      ASSERT_EQ(Now().blocks_free, 1u);
    }
  }
}

TEST_F(Allocator, FindsAnAlignedPlaceInABlockThatJustHoldsIt) {
  // All used but one block that fits the aligned request exactly.
  std::vector<LoanRef> loans;
  while (const LoanRef loan = party_.Allocate(4096 - 16, 4096)) loans.push_back(loan);
  ASSERT_GT(loans.size(), 3u);
  while (party_.Allocate(1)) continue;
  party_.Free(loans[1]);
  const LoanRef again = party_.Allocate(4096 - 16, 4096);
  EXPECT_TRUE(again);
}

TEST_F(Allocator, JoinsNeighboursInEveryOrderOfFreeing) {
  std::vector<int> order(4);
  std::iota(order.begin(), order.end(), 0);
  do {
    std::vector<LoanRef> loans;
    for (int i = 0; i < 4; ++i) loans.push_back(party_.Allocate(100 + 50 * i));
    for (int i : order) {
      ASSERT_EQ(party_.Free(loans[i]), BlockResult::kOk);
      ASSERT_EQ(AuditText(party_.segment()), "none");
    }
    ASSERT_EQ(Now().blocks_free, 1u);
    ASSERT_EQ(Now().largest_free_bytes, Now().heap_bytes);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(Allocator, CountsAreExactAndReturnToNothing) {
  std::vector<LoanRef> loans;
  uint64_t sum = 0;
  for (uint64_t size : {1, 16, 17, 500, 5000, 50000}) {
    loans.push_back(party_.Allocate(size));
    sum += party_.heap->BlockSize(loans.back()->block.load()) + kUnitBytes;
    EXPECT_EQ(Now().used_bytes, sum);
    EXPECT_EQ(Now().blocks_used, loans.size());
  }
  EXPECT_EQ(Now().free_bytes + Now().used_bytes, Now().heap_bytes);
  for (LoanRef loan : loans) party_.Free(loan);
  EXPECT_EQ(Now().used_bytes, 0u);
  EXPECT_EQ(Now().blocks_used, 0u);
  EXPECT_EQ(Now().peak_bytes, sum);
  EXPECT_EQ(Now().fragmentation, 0);
}

TEST_F(Allocator, SaysFullAndStaysAsItWas) {
  std::vector<LoanRef> loans;
  while (const LoanRef loan = party_.Allocate(1000)) loans.push_back(loan);
  EXPECT_EQ(party_.last, BlockResult::kFull);
  const HeapStatistics full = Now();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(party_.Allocate(1000, 1 << i));
  EXPECT_EQ(Now().used_bytes, full.used_bytes);
  EXPECT_GT(loans.size(), 200u);
  // Every other one free: half the heap, and no two pieces side by side.
  for (size_t i = 0; i < loans.size(); i += 2) party_.Free(loans[i]);
  EXPECT_GT(Now().fragmentation, 0.9);
  EXPECT_FALSE(party_.Allocate(3000));
  EXPECT_TRUE(party_.Allocate(1000));
}

TEST_F(Allocator, FindsABlockAgainThatTheSameRequestLeft) {
  // A full heap, one hole: only a block that kept its rounded size answers the same request.
  for (uint64_t size : {33, 999, 12345}) {
    std::vector<LoanRef> loans;
    while (const LoanRef loan = party_.Allocate(size)) loans.push_back(loan);
    party_.Free(loans[loans.size() / 2]);
    loans[loans.size() / 2] = party_.Allocate(size);
    ASSERT_TRUE(loans[loans.size() / 2]) << size;
    for (LoanRef loan : loans) party_.Free(loan);
  }
}

TEST_F(Allocator, RefusesASecondFreeAndWhatIsNoBlock) {
  const LoanRef first = party_.Allocate(100);
  const LoanRef second = party_.Allocate(100);
  const LoanRef third = party_.Allocate(100);
  const uint64_t gone = second->block.load();
  party_.Free(first);
  party_.Free(second);  // joined with its predecessor: its header lies inside of a free block
  const uint64_t used = Now().used_bytes;
  shm::Word64 holder = 0;
  const uint64_t blocks_end = party_.attachment->view().size_bytes();
  for (uint64_t offset : std::initializer_list<uint64_t>{
           0, 1, 8, 16, gone, gone + 16, third->block.load() + 16, blocks_end, blocks_end - 16,
           uint64_t{1} << 36, UINT64_MAX - 15, UINT64_MAX}) {
    EXPECT_EQ(party_.heap->BlockSize(offset), 0u) << offset;
    holder = offset;
    EXPECT_EQ(party_.heap->FreeFrom(party_.lane(), holder, 0, Deadline::Now()),
              BlockResult::kInvalid)
        << offset;
    EXPECT_EQ(holder.load(), offset);
  }
  EXPECT_EQ(Now().used_bytes, used);
}

TEST_F(Allocator, BelievesNoHeaderInTheMiddleOfAPayload) {
  const LoanRef loan = party_.Allocate(4096);
  // A perfect copy of the header, one block further in.
  std::byte* bytes = party_.Bytes(loan);
  std::memcpy(bytes + 48, bytes - 16, 16);
  EXPECT_EQ(party_.heap->BlockSize(loan->block.load() + 64), 0u);
}

TEST_F(Allocator, FreeLoanClearsTheWholeLoanInOneStep) {
  const LoanRef loan = party_.Allocate(64);
  loan->ticket = shm::PackTicket(shm::LoanKind::kReceive, 7);
  loan->where = 99;
  loan->lease = 98;
  ASSERT_EQ(party_.heap->FreeLoan(party_.lane(), loan, Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(loan->block.load() | loan->ticket.load() | loan->where.load() | loan->lease.load(), 0u);
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Allocator, FreeFromMovesAHolderOnToTheNext) {
  const LoanRef loan = party_.Allocate(64);
  const LoanRef next = party_.Allocate(64);
  const uint64_t second = next->block.load();
  next->block = 0;  // the chain holds it now
  ASSERT_EQ(party_.heap->FreeFrom(party_.lane(), loan->block, second, Deadline::Now()),
            BlockResult::kOk);
  EXPECT_EQ(loan->block.load(), second);
  EXPECT_EQ(Now().blocks_used, 1u);
}

TEST_F(Allocator, ShrinkGivesTheTailBackAndKeepsTheRest) {
  const LoanRef loan = party_.Allocate(10'000);
  const LoanRef behind = party_.Allocate(100);
  std::byte* bytes = party_.Bytes(loan);
  for (int i = 0; i < 10'000; ++i) bytes[i] = static_cast<std::byte>(i);
  const uint64_t used = Now().used_bytes;
  uint64_t at = loan->block.load();
  ASSERT_EQ(party_.heap->Shrink(party_.lane(), loan, 3'000, Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(loan->block.load(), at);
  EXPECT_LT(party_.heap->BlockSize(at), 3'200u);
  EXPECT_LT(Now().used_bytes, used - 6'500);
  EXPECT_EQ(Now().blocks_free, 2u);
  for (int i = 0; i < 3'000; ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(i));
  party_.Free(behind);  // now the tail's successor is free
  ASSERT_EQ(party_.heap->Shrink(party_.lane(), loan, 1, Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(Now().blocks_free, 1u);
  EXPECT_EQ(party_.heap->BlockSize(at), 16u);
}

TEST_F(Allocator, ShrinkRefusesToGrowAndKeepsWhatIsTooLittleToGiveBack) {
  const LoanRef loan = party_.Allocate(100);
  const uint64_t usable = party_.heap->BlockSize(loan->block.load());
  const uint64_t used = Now().used_bytes;
  for (uint64_t size : {uint64_t{0}, usable + 1, UINT64_MAX}) {
    EXPECT_EQ(party_.heap->Shrink(party_.lane(), loan, size, Deadline::Now()),
              BlockResult::kInvalid);
  }
  EXPECT_EQ(party_.heap->Shrink(party_.lane(), loan, usable - 16, Deadline::Now()),
            BlockResult::kOk);
  EXPECT_EQ(Now().used_bytes, used);
  const LoanRef empty = party_.Take();
  EXPECT_EQ(party_.heap->Shrink(party_.lane(), empty, 1, Deadline::Now()), BlockResult::kInvalid);
}

TEST_F(Allocator, GrowTakesTheFreeRoomBehindAndKeepsTheContents) {
  const LoanRef loan = party_.Allocate(1'000);
  const uint64_t at = loan->block.load();
  std::byte* bytes = party_.Bytes(loan);
  for (int i = 0; i < 1'000; ++i) bytes[i] = static_cast<std::byte>(i);
  ASSERT_EQ(party_.heap->Grow(party_.lane(), loan, 5'000, Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(loan->block.load(), at);
  EXPECT_GE(party_.heap->BlockSize(at), 5'000u);
  EXPECT_EQ(Now().blocks_free, 1u);
  for (int i = 0; i < 1'000; ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(i));
  const uint64_t rest = Now().free_bytes;
  ASSERT_EQ(
      party_.heap->Grow(party_.lane(), loan, party_.heap->BlockSize(at) + rest, Deadline::Now()),
      BlockResult::kOk);  // to the last byte: nothing is left behind it
  EXPECT_EQ(Now().blocks_free, 0u);
  EXPECT_EQ(Now().free_bytes, 0u);
  party_.Free(loan);
  EXPECT_EQ(Now().used_bytes, 0u);
}

// The rest of the free block then begins on the link of the free block that was.
TEST_F(Allocator, GrowByOneUnitLeavesAWholeList) {
  for (uint64_t units = 2; units < 40; ++units) {
    const LoanRef loan = party_.Allocate(units * 16);
    const LoanRef hole = party_.Allocate(64);
    const LoanRef behind = party_.Allocate(64);
    party_.Free(hole);
    const uint64_t wanted = party_.heap->BlockSize(loan->block.load()) + 16;
    ASSERT_EQ(party_.heap->Grow(party_.lane(), loan, wanted, Deadline::Now()), BlockResult::kOk);
    ASSERT_EQ(testing::AuditText(party_.segment()), "none");
    party_.Free(behind);
    party_.Free(loan);
  }
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Allocator, GrowRefusesWhatIsNotFreeBehindAndChangesNothing) {
  const LoanRef loan = party_.Allocate(100);
  const uint64_t usable = party_.heap->BlockSize(loan->block.load());
  const LoanRef behind = party_.Allocate(100);
  const uint64_t used = Now().used_bytes;
  const auto grow = [&](LoanRef of, uint64_t size) {
    return party_.heap->Grow(party_.lane(), of, size, Deadline::Now());
  };
  EXPECT_EQ(grow(loan, usable), BlockResult::kOk);
  EXPECT_EQ(grow(loan, 1), BlockResult::kOk) << "it is that long already";
  EXPECT_EQ(grow(loan, usable + 1), BlockResult::kFull);
  EXPECT_EQ(grow(loan, Now().heap_bytes), BlockResult::kTooLarge);
  EXPECT_EQ(grow(loan, UINT64_MAX), BlockResult::kTooLarge);
  EXPECT_EQ(grow(loan, 0), BlockResult::kInvalid);
  EXPECT_EQ(grow(party_.Take(), 100), BlockResult::kInvalid);
  EXPECT_EQ(Now().used_bytes, used);
  EXPECT_EQ(testing::AuditText(party_.segment()), "none");
  party_.Free(behind);
}

TEST_F(Allocator, WaitsForALiveHolderOfTheLockOnlyUntilTheDeadline) {
  const LoanRef loan = party_.Allocate(100);
  const LoanRef empty = party_.Take();
  const uint64_t used = Now().used_bytes;
  shm::Call other = party_.attachment->Enter(2);
  shm::OwnerLockData& lock = ControlOf(party_.segment()).lock;
  ASSERT_EQ(shm::TryLock(other.lane(), lock), shm::LockResult::kOk);
  const auto start = std::chrono::steady_clock::now();
  const auto soon = [] { return Deadline::In(std::chrono::milliseconds(5)); };
  EXPECT_EQ(party_.heap->AllocateTo(party_.lane(), empty, 8, 16, soon()), BlockResult::kBusy);
  EXPECT_EQ(party_.heap->FreeLoan(party_.lane(), loan, soon()), BlockResult::kBusy);
  EXPECT_EQ(party_.heap->Shrink(party_.lane(), loan, 8, soon()), BlockResult::kBusy);
  EXPECT_EQ(party_.heap->Grow(party_.lane(), loan, 800, soon()), BlockResult::kBusy);
  EXPECT_EQ(party_.heap->TryFreeLoan(party_.lane(), loan), BlockResult::kBusy);
  EXPECT_GT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(15));
  EXPECT_EQ(Now().used_bytes, used);
  EXPECT_NE(loan->block.load(), 0u);
  shm::Unlock(other.lane(), lock);
  EXPECT_EQ(party_.heap->TryFreeLoan(party_.lane(), loan), BlockResult::kOk);
  EXPECT_EQ(Now().used_bytes, 0u);
}

// Nanoseconds of an allocation and its free, the quickest of many: interruptions do not count.
int64_t QuickestPair(Party& party, LoanRef loan) {
  int64_t quickest = INT64_MAX;
  for (int i = 0; i < 3'000; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (party.heap->AllocateTo(party.lane(), loan, 40, 16, Deadline::Now()) != BlockResult::kOk ||
        party.heap->FreeLoan(party.lane(), loan, Deadline::Now()) != BlockResult::kOk) {
      return INT64_MAX;
    }
    quickest = std::min<int64_t>(quickest, (std::chrono::steady_clock::now() - start).count());
  }
  return quickest;
}

TEST(AllocatorCost, DoesNotGrowWithTheNumberOfFreeBlocks) {
  constexpr uint32_t kBlocks = 40'000;
  Party party(MakeSegment({.size_bytes = 8 << 20}), "party", testing::kNoMagazines);
  const LoanRef table = party.Allocate(kBlocks * sizeof(shm::LoanData));
  const LoanRef loan = party.Take();
  ASSERT_TRUE(table && loan);
  const int64_t alone = QuickestPair(party, loan);
  auto* loans = party.attachment->view().Array<shm::LoanData>(table->block, kBlocks);
  for (uint32_t i = 0; i < kBlocks; ++i) {
    loans[i].block = loans[i].ticket = loans[i].where = loans[i].lease = 0;
    ASSERT_EQ(party.heap->AllocateTo(party.lane(), LoanRef(&loans[i], 0, 0), 16 + i % 4 * 16, 16,
                                     Deadline::Now()),
              BlockResult::kOk);
  }
  for (uint32_t i = 0; i < kBlocks; i += 2) {  // no two are neighbours: none is joined
    ASSERT_EQ(party.heap->FreeFrom(party.lane(), loans[i].block, 0, Deadline::Now()),
              BlockResult::kOk);
  }
  ASSERT_GT(party.heap->Statistics().blocks_free, kBlocks / 2 - 1);
  // A walk over a tenth of the blocks would take a thousand times as long.
  EXPECT_LT(QuickestPair(party, loan), 20 * alone + 1'000);
}

TEST(AllocatorOpen, NeedsAHeapOfThisLayout) {
  auto bare = shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = 1 << 20}, {});
  ASSERT_TRUE(bare.ok());
  auto attachment = shm::Attachment::Make(*std::move(bare));
  ASSERT_TRUE(attachment.ok());
  EXPECT_TRUE(absl::IsNotFound(PersistentTlsfAllocator::Open(*attachment).status()));

  shm::Segment other = MakeSegment();
  ControlOf(other).layout += 1;
  shm::Findings findings;
  AuditHeap(other, findings);
  EXPECT_FALSE(findings.empty());
  attachment = shm::Attachment::Make(std::move(other));
  ASSERT_TRUE(attachment.ok());
  const absl::Status refused = PersistentTlsfAllocator::Open(*attachment).status();
  EXPECT_TRUE(absl::IsUnimplemented(refused)) << refused;
  EXPECT_EQ(GetErrorKind(refused), ErrorKind::kOtherVersion);
  EXPECT_TRUE(absl::IsInvalidArgument(PersistentTlsfAllocator::Open(nullptr).status()));
}

TEST(AllocatorOpen, KeepsNoAttachmentAlive) {
  std::weak_ptr<shm::Attachment> attachment;
  {
    Party party(MakeSegment());
    attachment = party.attachment;
    ASSERT_FALSE(attachment.expired());
  }
  EXPECT_TRUE(attachment.expired());
}

TEST(AllocatorOpen, GivesEverythingBackWhenTheParticipantLeaves) {
  shm::Segment segment = MakeSegment();
  Party stays(testing::Reopen(segment));
  {
    Party leaves(testing::Reopen(segment));
    for (int i = 0; i < 500; ++i) {  // more than the inline loans of both lanes
      ASSERT_TRUE(leaves.Allocate(100));
    }
    EXPECT_GT(stays.used(), 50'000u);
    leaves.call.End();
    EXPECT_TRUE(leaves.attachment->Leave(Deadline::Never()).ok());
  }
  EXPECT_EQ(stays.used(), 0u);
  EXPECT_EQ(AuditText(segment), "none");
}

class OnMapping : public ::testing::Test {
 protected:
  static constexpr uint64_t kBytes = uint64_t{256} << 10;
  OnMapping() : memory_(std::aligned_alloc(4096, kBytes)) { std::memset(memory_, 0, kBytes); }
  ~OnMapping() override { std::free(memory_); }
  void* memory_;
};

TEST_F(OnMapping, AHeapLivesInMemoryOfTheCallersAndOutlivesItsHandle) {
  {
    auto own = CreateOnMapping(memory_, kBytes);
    ASSERT_TRUE(own.ok()) << own.status();
    shm::Call call = own->attachment->Enter(1);
    const LoanRef loan = own->attachment->TakeLoan(call.lane(), nullptr, Deadline::Now());
    ASSERT_EQ(own->heap->AllocateTo(call.lane(), loan, 1000, 64, Deadline::Now()),
              BlockResult::kOk);
    EXPECT_GT(own->heap->Statistics().heap_bytes, kBytes / 2);
    EXPECT_GT(own->heap->Statistics().used_bytes, 1000u);
  }
  auto again = AttachToMapping(memory_, kBytes);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->heap->Statistics().used_bytes, 0u);
  EXPECT_EQ(AuditText(again->attachment->segment()), "none");
}

TEST_F(OnMapping, SaysSoWhenTheMemoryIsTooSmallOrNoHeap) {
  EXPECT_TRUE(absl::IsInvalidArgument(CreateOnMapping(memory_, 4096).status()));
  std::memset(memory_, 0x5a, kBytes);
  EXPECT_FALSE(AttachToMapping(memory_, kBytes).ok());
}

}  // namespace
}  // namespace thole::alloc
