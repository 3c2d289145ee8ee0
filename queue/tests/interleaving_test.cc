// Interleavings that luck seldom meets, made at a crash point: there another participant acts.
#include <functional>
#include <string_view>

#include "support/party.h"
#include "thole/shm/testing/crash_test.h"

namespace thole::queue {
namespace {

using shm::testing::RunAndDieAt;
using testing::Blocks;
using testing::Inline;
using testing::MakeSegment;
using testing::Party;
using testing::PopOne;
using testing::PushOne;
using testing::QueueShape;
using testing::Return;

/// While it lives, `act` runs once, the first time this process comes by `point`.
class OnceAt {
 public:
  OnceAt(std::string_view point, std::function<void()> act) : act_(std::move(act)) {
    point_ = point;
    armed_ = this;
    shm::crash_point_hook = [](const char* step) {
      if (armed_ == nullptr || step != point_) return;
      const OnceAt* self = armed_;
      armed_ = nullptr;  // what acts comes by crash points as well
      self->act_();
    };
  }
  ~OnceAt() { shm::crash_point_hook = nullptr; }
  OnceAt(const OnceAt&) = delete;
  OnceAt& operator=(const OnceAt&) = delete;
  bool happened() const { return armed_ == nullptr; }

 private:
  static inline std::string_view point_;
  static inline const OnceAt* armed_ = nullptr;
  std::function<void()> act_;
};

TEST(Interleaving, EmptyIsNotSaidWhenAMessageCameBackWhileTheRingWasLookedAt) {
  const std::vector<QueueShape> shapes{{"jobs", Blocks(4, true)}};
  const shm::Segment segment = MakeSegment(shapes);
  Party a(segment.file(), shapes);
  Party b(segment.file(), shapes);
  ASSERT_EQ(PushOne(*a, 7), PushResult::kOk);
  uint64_t id = 0;
  PopInfo info;
  shm::LoanRef lease;
  ASSERT_EQ(PopOne(*b, id, info, 0, &lease), PopResult::kOk);
  // The list was empty when `a` looked at it; the ring is empty when it gets there.
  const OnceAt back("queue.pop.1", [&] { EXPECT_EQ(Return(*b, lease), ReturnResult::kOk); });
  EXPECT_EQ(PopOne(*a, id, info), PopResult::kOk) << "it was never nowhere";
  EXPECT_TRUE(back.happened());
  EXPECT_EQ(id, 7u);
  EXPECT_EQ(info.attempts, 1u);
  EXPECT_EQ(a.AuditText(), "none");
}

TEST(Interleaving, HeadMayLagLapsBehindTailWhenOnlyProducersDied) {
  const std::vector<QueueShape> shapes{{"jobs", Inline(1)}};
  const shm::Segment segment = MakeSegment(shapes);
  for (int death = 0; death < 3; ++death) {
    const auto end = RunAndDieAt("queue.push.2", 1, [&] {
      Party victim(segment.file(), shapes);  // repairs the one before it
      (void)PushOne(*victim, 1);
    });
    ASSERT_TRUE(end) << end.ToString();
  }
  Party survivor(segment.file(), shapes);
  ASSERT_EQ(PushOne(*survivor, 9), PushResult::kOk);
  const SharedQueueData& data = survivor->handle().ring().data();
  EXPECT_GT(TicketDistance(data.tail, data.head), 2)
      << "more than a lap of tickets without a message";
  uint64_t id = 0;
  PopInfo info;
  EXPECT_EQ(PopOne(*survivor, id, info), PopResult::kOk);
  EXPECT_EQ(id, 9u);
  EXPECT_EQ(survivor.AuditText(), "none");
}

}  // namespace
}  // namespace thole::queue
