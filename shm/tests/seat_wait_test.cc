// A seat of the dead is nobody's: who wants to join waits for its repair, and says so if in vain.
#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

constexpr ComponentId kOther = ComponentId::kComm;  // a component with one repair step

class TestPart final : public RepairPart {
 public:
  explicit TestPart(std::function<RepairOutcome()> repair) : repair_(std::move(repair)) {}
  RepairStep step() const override { return RepairStep::kComm; }
  RepairOutcome Repair(DeadParticipant& dead) override {
    return dead.detaching ? RepairOutcome::kDone : repair_();
  }

 private:
  std::function<RepairOutcome()> repair_;
};

std::shared_ptr<Attachment> Knowing(const Place& place, std::function<RepairOutcome()> repair,
                                    std::unique_ptr<Platform> platform = nullptr) {
  auto attachment = MakeAttachment(place, std::move(platform));
  attachment->Register(std::make_shared<TestPart>(std::move(repair)));
  return attachment;
}

struct Hooked {
  std::shared_ptr<Attachment> attachment;
  HookPlatform* platform;
};
Hooked WithHooks(const Place& place, std::function<RepairOutcome()> repair) {
  const Segment segment = OpenSegment(place);
  auto platform = std::make_unique<HookPlatform>(MakeKernelPlatform(segment.file()));
  HookPlatform* const seen = platform.get();
  return {Knowing(place, std::move(repair), std::move(platform)), seen};
}

RepairOutcome Done() { return RepairOutcome::kDone; }

// Two seats: one of the living, one of the dead.
class SeatOfTheDead : public ::testing::Test {
 protected:
  SeatOfTheDead() {
    MakeSegment(name_.place(), SmallOptions(2), kOther);
    living_ = Knowing(name_.place(), Done);
    dead_ = Knowing(name_.place(), Done);
    EXPECT_TRUE(living_->Join("living").ok());
    EXPECT_TRUE(dead_->Join("dead").ok());
    dead_->Abandon();
  }
  TestName name_;
  std::shared_ptr<Attachment> living_;
  std::shared_ptr<Attachment> dead_;
};

TEST_F(SeatOfTheDead, IsTakenOnceItsRepairNeedsNobodyElseAnyMore) {
  int later = 3;  // a live participant holds what the repair needs, for so long
  auto joiner = Knowing(name_.place(),
                        [&] { return later-- > 0 ? RepairOutcome::kLater : RepairOutcome::kDone; });
  const absl::Status joined = joiner->Join("joiner");
  EXPECT_TRUE(joined.ok()) << joined;
  EXPECT_EQ(joiner->slot(), 1u);
}

TEST_F(SeatOfTheDead, IsTakenOnceAnotherOneRepairedIt) {
  Hooked joiner = WithHooks(name_.place(), Done);
  std::atomic<bool> repairing{false};
  auto repairer = Knowing(name_.place(), [&] {
    repairing = true;
    while (joiner.platform->waits == 0) std::this_thread::yield();
    return RepairOutcome::kDone;
  });
  std::thread thread([&] { EXPECT_EQ(repairer->RepairAll(), 1u); });
  while (!repairing) std::this_thread::yield();
  const absl::Status joined = joiner.attachment->Join("joiner");
  joiner.platform->waits += 1;  // in any case: nobody waits for it for ever
  thread.join();
  EXPECT_TRUE(joined.ok()) << joined;
}

TEST_F(SeatOfTheDead, IsGivenUpAtTheDeadlineWithAWordAboutIt) {
  for (const bool knows : {true, false}) {
    auto joiner = knows ? Knowing(name_.place(), [] { return RepairOutcome::kLater; })
                        : MakeAttachment(name_.place());
    const auto before = std::chrono::steady_clock::now();
    const absl::Status now = joiner->Join("joiner", Deadline::Now());
    EXPECT_TRUE(absl::IsResourceExhausted(now)) << now;
    EXPECT_NE(now.message().find("1 of them of the dead"), std::string::npos) << now;
    EXPECT_TRUE(absl::IsResourceExhausted(
        joiner->Join("joiner", Deadline::In(std::chrono::milliseconds(30)))));
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(30));
  }
}

TEST(Seat, OfTheLivingIsNotWaitedFor) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(1));
  auto living = JoinedAttachment(name.place());
  Hooked joiner = WithHooks(name.place(), Done);
  const absl::Status joined = joiner.attachment->Join("joiner", Deadline::Never());
  EXPECT_TRUE(absl::IsResourceExhausted(joined)) << joined;
  EXPECT_EQ(joiner.platform->waits, 0u);
}

}  // namespace
}  // namespace thole::shm
