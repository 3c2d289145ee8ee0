// Seats: joining and leaving, clean and dirty, the boot, calls and lanes.
#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

SegmentState StateOf(const Segment& segment) {
  return static_cast<SegmentState>(Get(segment.header().state) & 3);
}

TEST(Seat, MarksTheSegmentDirtyUntilTheLastOneLeaves) {
  const TestName name;
  const Segment segment = MakeSegment(name.place());
  auto one = JoinedAttachment(name.place());
  EXPECT_EQ(StateOf(segment), SegmentState::kDirty);
  auto two = JoinedAttachment(name.place());
  EXPECT_TRUE(one->Leave(Deadline::Never()).ok());
  EXPECT_EQ(StateOf(segment), SegmentState::kDirty);
  two.reset();  // a destructor leaves too
  EXPECT_EQ(StateOf(segment), SegmentState::kClean);
  EXPECT_EQ(Audited(segment), "none");
}

TEST(Seat, SaysWhoSitsThere) {
  const TestName name;
  MakeSegment(name.place());
  auto attachment = MakeAttachment(name.place());
  EXPECT_FALSE(attachment->joined());
  ASSERT_TRUE(attachment->Join("b\xc3\xbcro-7").ok());
  const SlotData& slot = *attachment->segment().Slot(attachment->slot());
  EXPECT_EQ(Get(slot.pid), static_cast<uint32_t>(getpid()));
  EXPECT_EQ(Get(slot.uid), geteuid());
  EXPECT_NE(Get(slot.start_time), 0u);
  EXPECT_NE(Get(slot.pid_namespace), 0u);
  std::string text;
  for (const Word64& word : slot.name) {
    for (int i = 0; i < 8; ++i) text += static_cast<char>(Get(word) >> (8 * i));
  }
  EXPECT_STREQ(text.c_str(), "b\xc3\xbcro-7");
}

TEST(Seat, IsTakenOnceAndForOneTime) {
  const TestName name;
  MakeSegment(name.place());
  auto attachment = MakeAttachment(name.place());
  EXPECT_TRUE(absl::IsFailedPrecondition(attachment->Leave(Deadline::Never())));
  ASSERT_TRUE(attachment->Join("").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(attachment->Join("")));
  EXPECT_TRUE(attachment->Leave(Deadline::Never()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(attachment->Leave(Deadline::Never())));
  EXPECT_TRUE(absl::IsFailedPrecondition(attachment->Join(""))) << "its loans were another seat's";
  EXPECT_FALSE(attachment->Enter(1));
}

TEST(Seat, GenerationGrowsWithEveryOwner) {
  const TestName name;
  MakeSegment(name.place());
  for (uint32_t generation = 1; generation < 5; ++generation) {
    auto attachment = JoinedAttachment(name.place());
    EXPECT_EQ(attachment->slot(), 0u);
    EXPECT_EQ(attachment->generation(), generation);
    EXPECT_EQ(attachment->Probe(0, generation), LifeState::kAlive);
    EXPECT_EQ(attachment->Probe(0, generation - 1), LifeState::kNobody);
  }
}

TEST(Seat, IsNotSeenDeadByAnotherThreadOfItsOwnAttachment) {
  const TestName name;
  MakeSegment(name.place());
  for (int round = 0; round < 200; ++round) {
    auto attachment = MakeAttachment(name.place());
    std::atomic<bool> stop{false};
    uint32_t repaired = 0;
    std::thread other([&] {
      do {
        repaired += attachment->RepairAll();
      } while (!stop);
    });
    ASSERT_TRUE(attachment->Join("mine").ok());
    EXPECT_TRUE(attachment->Leave(Deadline::Never()).ok());
    stop = true;
    other.join();
    EXPECT_EQ(repaired, 0u);
  }
}

TEST(Seat, TakenByOneWhoDiedSinceTheLookIsNotClaimed) {
  const TestName name;
  const Segment segment = MakeSegment(name.place());
  auto kernel = std::make_unique<HookPlatform>(MakeKernelPlatform(segment.file()));
  HookPlatform& hooks = *kernel;
  auto attachment = MakeAttachment(name.place(), std::move(kernel));
  hooks.before_hold = [&](LockByte byte, uint32_t slot) {
    if (byte != LockByte::kLife || slot != 0) return;
    Child quick([&](Child&) {
      auto other = JoinedAttachment(name.place());
      kill(getpid(), SIGKILL);
    });
    ASSERT_EQ(quick.Wait(), "signal 9");
  };
  ASSERT_TRUE(attachment->Join("slow").ok());
  EXPECT_EQ(attachment->slot(), 1u) << "a seat that is not free is repaired, never claimed";
  EXPECT_EQ(WordOf(segment, 0).state, SlotState::kLive);
  EXPECT_EQ(WordOf(segment, 0).generation, 1u);
  hooks.before_hold = nullptr;
  EXPECT_EQ(attachment->RepairAll(), 1u);
}

TEST(Seat, IsNeverInACleanSegment) {
  const TestName name;
  MakeSegment(name.place());
  const auto come_and_go = [&](Child& parent) {
    parent.Hear();
    for (int i = 0; i < 1500; ++i) {
      auto attachment = JoinedAttachment(name.place());
      CHILD_REQUIRE(StateOf(attachment->segment()) == SegmentState::kDirty);
      CHILD_REQUIRE(attachment->Leave(Deadline::Never()).ok());
    }
  };
  Child children[] = {Child(come_and_go), Child(come_and_go), Child(come_and_go)};
  for (Child& child : children) child.Tell('g');
  for (Child& child : children) EXPECT_EQ(child.Wait(), "exit 0");
  EXPECT_EQ(StateOf(OpenSegment(name.place())), SegmentState::kClean);
}

TEST(Seat, AbandonedOneIsRepairedByOthers) {
  const TestName name;
  MakeSegment(name.place());
  auto one = JoinedAttachment(name.place());
  auto two = JoinedAttachment(name.place());
  one->Abandon();
  EXPECT_FALSE(one->joined());
  EXPECT_FALSE(one->Enter(1));
  EXPECT_EQ(two->Probe(one->slot(), one->generation()), LifeState::kDead);
  EXPECT_EQ(two->RepairAll(), 1u);
  EXPECT_EQ(Audited(two->segment()), "none");
}

// Someone joined and died; then the machine seems to have gone down.
void LeaveDirtyWithOtherBoot(const TestName& name) {
  MakeSegment(name.place());
  Child victim([&](Child&) {
    auto attachment = JoinedAttachment(name.place());
    kill(getpid(), SIGKILL);
  });
  ASSERT_EQ(victim.Wait(), "signal 9");
  Segment segment = OpenSegment(name.place());
  Put(segment.header().boot_id[0], Get(segment.header().boot_id[0]) ^ 1);
}

TEST(Boot, DirtySegmentOfAnotherBootIsRefused) {
  const TestName name;
  LeaveDirtyWithOtherBoot(name);
  const auto refused = MakeAttachment(name.place())->Join("late");
  std::cout << "message: " << refused.message() << "\n";
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_EQ(GetErrorKind(refused), ErrorKind::kUncleanShutdown);
  const Segment segment = OpenSegment(name.place(), true);
  EXPECT_EQ(SlotsInUse(segment), 1u) << "what nobody may trust nobody may repair";
}

TEST(Boot, HeldLifeByteProvesTheSameBoot) {
  const TestName name;
  MakeSegment(name.place());
  Child alive([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    parent.Tell('j');
    parent.Hear();
  });
  ASSERT_EQ(alive.Hear(), 'j');
  Segment segment = OpenSegment(name.place());
  Put(segment.header().boot_id[1], uint64_t{0x1234});
  EXPECT_TRUE(MakeAttachment(name.place())->Join("neighbour").ok());
}

TEST(Boot, DirtySegmentOfThisBootIsRepaired) {
  const TestName name;
  MakeSegment(name.place());
  Child victim([&](Child&) {
    auto attachment = JoinedAttachment(name.place());
    kill(getpid(), SIGKILL);
  });
  victim.Wait();
  auto attachment = MakeAttachment(name.place());
  ASSERT_TRUE(attachment->Join("next").ok());
  EXPECT_EQ(attachment->slot(), 0u);
  EXPECT_EQ(attachment->generation(), 2u);
  EXPECT_EQ(Get(attachment->segment().header().recovery_epoch), 1u);
}

TEST(Boot, CleanSegmentOfAnotherBootIsFine) {
  const TestName name;
  Segment segment = MakeSegment(name.place());
  JoinedAttachment(name.place()).reset();
  Put(segment.header().boot_id[0], Get(segment.header().boot_id[0]) ^ 1);
  auto attachment = MakeAttachment(name.place());
  ASSERT_TRUE(attachment->Join("next").ok());
  EXPECT_EQ(Get(segment.header().boot_id[0]), ReadBootId().words[0]);
}

TEST(Boot, RepairWithoutASeatMakesTheSegmentClean) {
  const TestName name;
  Segment segment = MakeSegment(name.place());
  Child victim([&](Child&) {
    auto attachment = JoinedAttachment(name.place());
    kill(getpid(), SIGKILL);
  });
  victim.Wait();
  EXPECT_EQ(StateOf(segment), SegmentState::kDirty);
  EXPECT_EQ(MakeAttachment(name.place())->RepairAll(), 1u);
  EXPECT_EQ(StateOf(segment), SegmentState::kClean);
}

TEST(Call, GetsALaneOfItsOwnWhileThereIsOne) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(2, 4));
  auto attachment = JoinedAttachment(name.place());
  EXPECT_FALSE(Call());
  std::vector<Call> calls;
  for (uint32_t lane : {1u, 2u, 3u, 0u}) {
    calls.push_back(attachment->TryEnter(5));
    ASSERT_TRUE(calls.back());
    EXPECT_EQ(calls.back().lane().index(), lane);
    EXPECT_EQ(calls.back().lane().slot(), attachment->slot());
    EXPECT_EQ(Get(calls.back().lane().data().in_call), 5u);
  }
  std::thread([&] {  // lane 0 belongs to the thread that has it
    EXPECT_FALSE(attachment->TryEnter(5));
    EXPECT_FALSE(attachment->Enter(5, Deadline::In(std::chrono::milliseconds(2))));
  })
      .join();
  LaneData& lane = calls[1].lane().data();
  calls[1].End();
  EXPECT_EQ(Get(lane.in_call), 0u);
  calls[1] = attachment->Enter(6);
  EXPECT_EQ(calls[1].lane().index(), 2u);
}

TEST(Call, InsideKeepsLeaveWaitingUntilItsDeadline) {
  const TestName name;
  MakeSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  for (uint32_t lane : {1u, 0u}) {
    Call other = lane == 0 ? attachment->Enter(1) : Call();
    Call call = attachment->Enter(1);
    ASSERT_EQ(call.lane().index(), lane);
    if (lane == 0) other.End();
    EXPECT_TRUE(absl::IsDeadlineExceeded(attachment->Leave(Deadline::Now())));
    EXPECT_TRUE(attachment->joined());
    EXPECT_EQ(Get(call.lane().data().in_call), 1u);
    call.End();
    EXPECT_TRUE(attachment->Enter(1)) << "a failed Leave changes nothing";
  }
  EXPECT_TRUE(attachment->Leave(Deadline::Now()).ok());
}

TEST(Call, ThatWaitsForALaneGetsNoneAfterLeave) {
  const TestName name;
  MakeSegment(name.place(), SmallOptions(2, 1));
  auto attachment = JoinedAttachment(name.place());
  Call call = attachment->Enter(1);
  std::atomic<bool> got{true};
  std::thread waiter([&] { got = static_cast<bool>(attachment->Enter(2)); });
  std::thread leaver([&] { EXPECT_TRUE(attachment->Leave(Deadline::Never()).ok()); });
  while (attachment->joined()) std::this_thread::yield();
  call.End();
  waiter.join();
  leaver.join();
  EXPECT_FALSE(got);
}

TEST(Pause, KeepsCallsOutUntilTheirDeadlineAndEndsWithADeath) {
  const TestName name;
  Segment segment = MakeSegment(name.place());
  Child asker([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    Put(attachment->segment().header().frozen, attachment->slot() + 1);
    parent.Tell('f');
    parent.Hear();
  });
  ASSERT_EQ(asker.Hear(), 'f');
  auto attachment = JoinedAttachment(name.place());
  EXPECT_FALSE(attachment->Enter(1, Deadline::In(std::chrono::milliseconds(5))));
  EXPECT_EQ(Get(attachment->segment().LaneAt(attachment->slot(), 1)->in_call), 0u);
  asker.KillAndWait();
  EXPECT_TRUE(attachment->Enter(1));
  EXPECT_EQ(Get(segment.header().frozen), 0u);
}

TEST(Pause, OfNobodyIsEnded) {
  const TestName name;
  Segment segment = MakeSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  for (const uint32_t frozen : {5u, 6u, 7u, 4096u, 0xffffffffu}) {
    Put(segment.header().frozen, frozen);
    EXPECT_TRUE(attachment->Enter(1, Deadline::In(std::chrono::seconds(10)))) << frozen;
  }
}

TEST(Pause, EndsAsItsDeadAskerIsRepairedByWhomever) {
  const TestName name;
  Segment segment = MakeSegment(name.place());
  Child asker([&](Child&) {
    auto attachment = JoinedAttachment(name.place());
    Put(attachment->segment().header().frozen, attachment->slot() + 1);
    kill(getpid(), SIGKILL);
  });
  asker.Wait();
  EXPECT_EQ(MakeAttachment(name.place())->RepairAll(), 1u);
  EXPECT_EQ(Get(segment.header().frozen), 0u);
}

}  // namespace
}  // namespace thole::shm
