// Who may repair the dead: one at a time, and nobody who comes too late.
#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

constexpr ComponentId kOther = ComponentId::kComm;  // a component with one repair step

// The step of kOther; calls what the test wants.
class TestPart final : public RepairPart {
 public:
  explicit TestPart(std::function<RepairOutcome(DeadParticipant&)> repair)
      : repair_(std::move(repair)) {}
  RepairStep step() const override { return RepairStep::kComm; }
  RepairOutcome Repair(DeadParticipant& dead) override { return repair_(dead); }

 private:
  std::function<RepairOutcome(DeadParticipant&)> repair_;
};

// A participant that does nothing until it is killed.
void SitStill(const TestName& name, Child& parent) {
  auto attachment = JoinedAttachment(name.place());
  parent.Tell('j');
  parent.Hear();
}

// --- Trap: threads share one description, and the kernel gives it the same byte twice. ---

TEST(RepairRight, IsHeldByOneThreadOfAnAttachmentAtATime) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(), kOther);
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.KillAndWait();

  constexpr int kThreads = 8;
  constexpr int kRounds = 100;
  auto survivor = MakeAttachment(name.place());
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> outside{0};  // threads whose turn of this round is over
  std::atomic<int> repaired{0};
  std::atomic<int> entries{0};
  survivor->Register(std::make_shared<TestPart>([&](DeadParticipant&) {
    const int now = ++inside;
    if (now > most) most = now;
    // The others are done with this round, or wrongly in here: so nobody is missed by chance.
    while (outside + inside < kThreads) std::this_thread::yield();
    ++entries;
    --inside;
    return RepairOutcome::kLater;
  }));
  std::atomic<int> round{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, turn = 0]() mutable {
      for (; turn < kRounds; ++turn) {
        while (round < turn) std::this_thread::yield();
        repaired += survivor->RepairSlot(0) == RepairVerdict::kRepaired;
        if (++outside == kThreads) {
          outside = 0;
          ++round;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1) << "threads were in one repair at once";
  EXPECT_EQ(repaired, 0);
  EXPECT_GE(entries, kRounds);
  std::cout << kThreads << " threads, " << kRounds << " rounds, " << entries << " entries, at most "
            << most << " inside\n";
}

TEST(RepairRight, IsHeldByOneProcessAtATime) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(), kOther);
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.KillAndWait();

  Child repairer([&](Child& parent) {
    auto attachment = MakeAttachment(name.place());
    attachment->Register(std::make_shared<TestPart>([&](DeadParticipant&) {
      parent.Tell('i');  // inside
      parent.Hear();
      return RepairOutcome::kDone;
    }));
    attachment->RepairAll();
  });
  ASSERT_EQ(repairer.Hear(), 'i');
  auto survivor = MakeAttachment(name.place());
  int entries = 0;
  survivor->Register(std::make_shared<TestPart>([&](DeadParticipant&) {
    ++entries;
    return RepairOutcome::kDone;
  }));
  EXPECT_EQ(survivor->RepairSlot(0), RepairVerdict::kTaken);
  EXPECT_EQ(entries, 0);
  EXPECT_EQ(WordOf(survivor->segment(), 0).state, SlotState::kRepair);
  repairer.Stop();  // stopped is not dead
  EXPECT_EQ(survivor->RepairSlot(0), RepairVerdict::kTaken);
  repairer.KillAndWait();  // but now the kernel hands the right on
  EXPECT_EQ(survivor->RepairSlot(0), RepairVerdict::kRepaired);
  EXPECT_EQ(entries, 1);
}

// --- Trap: between looking and having the right, somebody else repaired and a third moved in. ---

TEST(RepairRight, OfALateRepairerDoesNotTouchWhoLivesThereNow) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(), kOther);
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.KillAndWait();

  const auto part = [](int& entries) {
    return std::make_shared<TestPart>([&entries](DeadParticipant&) {
      ++entries;
      return RepairOutcome::kDone;
    });
  };
  int early_entries = 0;
  int late_entries = 0;
  auto early = MakeAttachment(name.place());
  early->Register(part(early_entries));
  auto kernel = std::make_unique<HookPlatform>(MakeKernelPlatform(early->segment().file()));
  HookPlatform& hooks = *kernel;
  auto late = MakeAttachment(name.place(), std::move(kernel));
  late->Register(part(late_entries));
  std::shared_ptr<Attachment> next;
  hooks.before_hold = [&](LockByte byte, uint32_t slot) {
    ASSERT_EQ(byte, LockByte::kRepair);
    ASSERT_EQ(slot, 0u);
    ASSERT_EQ(early->RepairSlot(0), RepairVerdict::kRepaired);
    next = MakeAttachment(name.place());
    ASSERT_TRUE(next->Join("next").ok());
    ASSERT_EQ(next->slot(), 0u);
  };
  EXPECT_NE(late->RepairSlot(0), RepairVerdict::kRepaired);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(early_entries, 1);
  EXPECT_EQ(late_entries, 0);
  EXPECT_EQ(WordOf(next->segment(), 0).state, SlotState::kLive);
  EXPECT_EQ(WordOf(next->segment(), 0).generation, next->generation());
  EXPECT_EQ(Get(next->segment().Slot(0)->pid), static_cast<uint32_t>(getpid()));
  hooks.before_hold = nullptr;
  EXPECT_EQ(late->RepairSlot(0), RepairVerdict::kNothing);
}

TEST(RepairRight, IsGivenBackByWhoHasNothingToDo) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(), kOther);
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.KillAndWait();
  auto unlinked = MakeAttachment(name.place());
  EXPECT_EQ(unlinked->RepairSlot(0), RepairVerdict::kLater) << "the step of a missing component";
  EXPECT_EQ(WordOf(unlinked->segment(), 0).state, SlotState::kRepair);
  EXPECT_EQ(WordOf(unlinked->segment(), 0).pending, StepsOf(kOther));
  auto linked = MakeAttachment(name.place());
  linked->Register(
      std::make_shared<TestPart>([](DeadParticipant&) { return RepairOutcome::kDone; }));
  EXPECT_EQ(linked->RepairSlot(0), RepairVerdict::kRepaired);
}

}  // namespace
}  // namespace thole::shm
