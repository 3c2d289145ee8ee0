// Any bytes: the audit and the repair end with a verdict, and stay inside.
#include <cstring>

#include "support/test_segment.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/transaction.h"

namespace thole::shm {
namespace {

void FlipBit(std::byte* memory, uint64_t bit) {
  memory[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
}

// Everything that looks at a segment without a seat.
uint64_t LookAtAll(const Segment& segment) {
  Findings findings;
  Holders holders;
  AuditSegment(segment, findings);
  CollectLoanHolders(segment, holders, findings);
  (void)findings.ToString();
  return findings.count();
}

class EveryBit : public ::testing::Test {
 protected:
  static constexpr uint64_t kBytes = 16 << 10;
  void SetUp() override {
    segment_ = std::make_unique<Segment>(MakeSegment(place_, SmallOptions(2, 1)));
    attachment_ = JoinedAttachment(place_);  // slot 0 is live, slot 1 free
    const LaneData* last = segment_->LaneAt(1, 0);
    table_bytes_ = segment_->view().OffsetOf(last) + sizeof(LaneData);
  }
  alignas(4096) static inline std::byte memory_[kBytes];
  const Place place_ = Place::Memory(memory_, kBytes);
  std::unique_ptr<Segment> segment_;
  std::shared_ptr<Attachment> attachment_;
  uint64_t table_bytes_ = 0;
};

TEST_F(EveryBit, OfHeaderSlotsAndLanesMayBeWrong) {
  ASSERT_EQ(LookAtAll(*segment_), 0u);
  uint64_t found = 0;
  uint64_t refused = 0;
  for (uint64_t bit = 0; bit < table_bytes_ * 8; ++bit) {
    FlipBit(memory_, bit);
    found += LookAtAll(*segment_) != 0;
    const auto opened = Segment::Open(place_, {});
    refused += !opened.ok();
    if (opened.ok()) (void)LookAtAll(*opened);
    FlipBit(memory_, bit);
  }
  EXPECT_EQ(LookAtAll(*segment_), 0u);
  // Line 0 (512 bits), the checksum, the table, the lane areas and the roots are covered by it.
  EXPECT_GE(refused, 512u + 64 + 192 + 512 + 32 * 56 * 8);
  EXPECT_GE(found, refused);
  std::cout << table_bytes_ * 8 << " bits: " << refused << " refused at open, " << found
            << " found by the audit\n";
}

TEST_F(EveryBit, OfAFreeLaneThatMattersIsFound) {
  LaneData& lane = *segment_->LaneAt(1, 0);
  const Word64* words[] = {&lane.in_call,        &lane.log.count,      &lane.lock,
                           &lane.block_intent,   &lane.intent.word,    &lane.first_chunk,
                           &lane.reserved.block, &lane.loans[0].block, &lane.loans[63].block,
                           &lane.loans[5].ticket};
  for (const Word64* word : words) {
    for (uint64_t bit = 0; bit < 64; ++bit) {
      const uint64_t at = segment_->view().OffsetOf(word) * 8 + bit;
      FlipBit(memory_, at);
      EXPECT_NE(LookAtAll(*segment_), 0u) << "byte " << at / 8 << " bit " << bit;
      FlipBit(memory_, at);
    }
  }
  EXPECT_EQ(LookAtAll(*segment_), 0u);
}

TEST(HostileBytes, InSlotsAndLanesAreRepairedOrReportedAlways) {
  const TestName name;
  Segment segment = MakeSegment(name.place(), SmallOptions(6, 2));
  const uint64_t from = segment.view().OffsetOf(segment.Slot(0));
  const uint64_t words =
      (segment.view().OffsetOf(segment.LaneAt(5, 1)) + sizeof(LaneData) - from) / 8;
  Word64* table = segment.view().Array<Word64>(from, words);
  const uint64_t root = segment.Root(ComponentId::kShm, kWordsKind)->offset;
  auto* lock = segment.view().At<OwnerLockData>(root);
  testing::Random random(11);
  uint64_t joined = 0;
  for (int round = 0; round < 150; ++round) {
    const uint64_t spread = random.Below(3);
    for (uint64_t i = 0; i < words; ++i) {
      // Mostly zeros, offsets that could be, or anything.
      const uint64_t kind = random.Below(3 + 10 * spread);
      const uint64_t value = kind == 0 ? random.Next() : kind == 1 ? random.Below(1 << 24) : 0;
      Put(table[i], value);
    }
    Put(segment.header().frozen, static_cast<uint32_t>(random.Chance(3) ? random.Next() : 0));
    (void)LookAtAll(segment);
    auto attachment = MakeAttachment(name.place());
    (void)attachment->RepairAll();
    if (!attachment->Join("after").ok()) continue;  // every seat is in another state
    ++joined;
    Call call = attachment->Enter(1, Deadline::In(std::chrono::milliseconds(20)));
    if (!call) continue;
    Put(lock->word, random.Chance(2) ? random.Next() : OwnerId{1, 0, 3}.Pack());
    const LockResult result = Lock(call.lane(), *lock, Deadline::In(std::chrono::milliseconds(2)));
    if (result == LockResult::kOk) Unlock(call.lane(), *lock);
    call.End();
    EXPECT_TRUE(attachment->Leave(Deadline::In(std::chrono::seconds(5))).ok());
  }
  EXPECT_GT(joined, 50u);
}

TEST(HostileBytes, NeverChangeWhatALiveHandleBelievesAboutTheLayout) {
  alignas(4096) static std::byte memory[16 << 10];
  const Place place = Place::Memory(memory, sizeof memory);
  const Segment segment = MakeSegment(place, SmallOptions(2, 1));
  auto attachment = JoinedAttachment(place);
  std::memset(memory, 0xff, sizeof(SegmentHeaderData));
  EXPECT_EQ(segment.participants_max(), 2u);
  EXPECT_EQ(segment.Slot(2), nullptr);
  EXPECT_NE(segment.LaneAt(1, 0), nullptr);
  EXPECT_EQ(segment.Roots().size(), 1u);
  EXPECT_NE(LookAtAll(segment), 0u);
  EXPECT_TRUE(attachment->Enter(1, Deadline::In(std::chrono::seconds(5))))
      << "a pause that nobody asked for";
  EXPECT_TRUE(attachment->Leave(Deadline::In(std::chrono::seconds(5))).ok());
}

TEST(AuditTest, SeesRootsThatOverlapTheTablesOrEachOther) {
  // With the right checksum: only the audit can know.
  alignas(4096) static std::byte memory[64 << 10];
  const Place place = Place::Memory(memory, sizeof memory);
  const std::vector<RootRequest> roots{WordsRoot(), WordsRoot(ComponentId::kComm)};
  ASSERT_TRUE(Segment::Create(place, SmallOptions(2, 1), roots).ok());
  const auto with_offset = [&](uint64_t offset) {
    SegmentHeaderData& header = OpenSegment(place).header();
    const uint64_t before = header.roots[1].offset;
    const uint64_t sum = header.static_check;
    header.roots[1].offset = offset;
    header.static_check = StaticCheckOf(header);
    const std::string found = Audited(OpenSegment(place));
    header.roots[1].offset = before;
    header.static_check = sum;
    return found;
  };
  const Segment segment = OpenSegment(place);
  EXPECT_NE(with_offset(segment.view().OffsetOf(segment.LaneAt(1, 0))).find("S3"),
            std::string::npos);
  EXPECT_NE(with_offset(segment.view().OffsetOf(segment.Slot(0))).find("S3"), std::string::npos);
  EXPECT_NE(with_offset(segment.Root(ComponentId::kShm, kWordsKind)->offset).find("S3"),
            std::string::npos);
  EXPECT_EQ(Audited(segment), "none");
}

}  // namespace
}  // namespace thole::shm
