// Who is dead. Each test stands for a trap: without its cure somebody alive is buried, or somebody
// dead is waited for.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

// A participant that does nothing until it is killed.
void SitStill(const TestName& name, Child& parent) {
  auto attachment = JoinedAttachment(name.place());
  parent.Tell('j');
  parent.Hear();
}

TEST(Death, IsSeenAsSoonAsTheProcessIsGoneAndRepairedOnce) {
  const TestName name;
  MakeSegment(name.place());
  auto survivor = JoinedAttachment(name.place());
  for (int round = 0; round < 50; ++round) {
    Child victim([&](Child& parent) { SitStill(name, parent); });
    ASSERT_EQ(victim.Hear(), 'j');
    const uint32_t generation = WordOf(survivor->segment(), 1).generation;
    EXPECT_EQ(survivor->Probe(1, generation), LifeState::kAlive);
    EXPECT_EQ(survivor->RepairSlot(1), RepairVerdict::kNothing);
    victim.KillAndWait();
    EXPECT_EQ(survivor->Probe(1, generation), LifeState::kDead);
    EXPECT_EQ(survivor->RepairSlot(1), RepairVerdict::kRepaired);
    EXPECT_EQ(survivor->RepairSlot(1), RepairVerdict::kNothing);
    EXPECT_EQ(survivor->Probe(1, generation), LifeState::kNobody);
  }
  EXPECT_EQ(survivor->repairs_done(), 50u);
  EXPECT_EQ(Audited(survivor->segment()), "none");
}

TEST(Death, OfAZombieIsDeath) {
  const TestName name;
  MakeSegment(name.place());
  auto survivor = JoinedAttachment(name.place());
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  victim.Kill();
  victim.WaitForZombie();
  EXPECT_EQ(survivor->platform().StartTimeOf(static_cast<uint32_t>(victim.pid())), 0u);
  EXPECT_EQ(survivor->Probe(1, 1), LifeState::kDead);
}

TEST(Death, OfAnExecIsDeath) {
  const TestName name;
  MakeSegment(name.place());
  auto survivor = JoinedAttachment(name.place());
  Child victim([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    parent.Tell('j');
    execl("/bin/cat", "cat", nullptr);  // lives on, with the same pid
  });
  ASSERT_EQ(victim.Hear(), 'j');
  EXPECT_EQ(victim.Hear(), '\0') << "the line closes with the exec";
  // The kernel closes one file after the other.
  const Deadline soon = Deadline::In(std::chrono::seconds(20));
  while (survivor->Probe(1, 1) == LifeState::kAlive &&
         !soon.PassedAt(survivor->platform().NowNs())) {
    std::this_thread::yield();
  }
  EXPECT_EQ(survivor->Probe(1, 1), LifeState::kDead);
  EXPECT_EQ(kill(victim.pid(), 0), 0) << "the test is about a process that lives on";
}

TEST(Death, IsNotToBeStopped) {
  const TestName name;
  MakeSegment(name.place());
  auto survivor = JoinedAttachment(name.place());
  Child victim([&](Child& parent) { SitStill(name, parent); });
  ASSERT_EQ(victim.Hear(), 'j');
  for (int trial = 0; trial < 300; ++trial) {
    victim.Stop();
    ASSERT_EQ(survivor->Probe(1, 1), LifeState::kAlive);
    ASSERT_EQ(survivor->RepairAll(), 0u);
    victim.Continue();
    ASSERT_EQ(survivor->Probe(1, 1), LifeState::kAlive);
  }
}

TEST(Death, IsNotTheEndOfTheFirstThread) {
  const TestName name;
  MakeSegment(name.place());
  auto survivor = JoinedAttachment(name.place());
  Child victim([&](Child& parent) {
    const auto attachment = new std::shared_ptr<Attachment>(JoinedAttachment(name.place()));
    // The kernel clears this word when the first thread is gone, and wakes who sleeps on it.
    // (The thread sanitizer has no record of the first thread that pthread_join could use.)
    auto* const first = new std::atomic<uint32_t>(1);
    std::thread([&parent, first] {
      while (first->load() != 0) syscall(SYS_futex, first, FUTEX_WAIT, 1, nullptr, nullptr, 0);
      parent.Tell('1');  // only this thread is left
      parent.Hear();
      _exit(0);
    }).detach();
    (void)attachment;
    syscall(SYS_set_tid_address, first);
    syscall(SYS_exit, 0);  // the thread alone, without unwinding the test
  });
  ASSERT_EQ(victim.Hear(), '1');
  for (int trial = 0; trial < 100; ++trial) {
    ASSERT_EQ(survivor->Probe(1, 1), LifeState::kAlive);
    ASSERT_EQ(survivor->RepairAll(), 0u);
  }
  victim.Tell('x');
  EXPECT_EQ(victim.Wait(), "exit 0");
  EXPECT_EQ(survivor->Probe(1, 1), LifeState::kDead);
}

// --- Trap: a slot that is being claimed, or given back, looks dead. ---

TEST(Claiming, NeverLooksDeadToBusyProbers) {
  const TestName name;
  MakeSegment(name.place());
  constexpr int kAttaches = 1500;
  Child owner([&](Child& parent) {
    parent.Hear();
    for (int i = 0; i < kAttaches; ++i) {
      auto attachment = JoinedAttachment(name.place());
      CHILD_REQUIRE(attachment->slot() == 0);
      CHILD_REQUIRE(attachment->Leave(Deadline::Never()).ok());
    }
    parent.Tell('d');
    parent.Hear();
  });
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> probes{0};
  std::atomic<uint64_t> dead{0};
  const auto probe = [&] {
    auto prober = MakeAttachment(name.place());
    while (!stop) {
      const SlotWord word = WordOf(prober->segment(), 0);
      dead += prober->Probe(0, word.generation) == LifeState::kDead;
      ++probes;
    }
  };
  std::thread one(probe);
  std::thread two(probe);
  owner.Tell('g');
  EXPECT_EQ(owner.Hear(), 'd');
  stop = true;
  one.join();
  two.join();
  EXPECT_EQ(dead, 0u);
  std::cout << kAttaches << " attaches, " << probes << " probes, " << dead << " false verdicts\n";
}

// The same without luck: the slot changes hands between the two looks of one probe.
TEST(Claiming, BetweenTheTwoLooksOfAProbeSaysNothingAboutTheFormerOwner) {
  const TestName name;
  MakeSegment(name.place());
  auto owner = JoinedAttachment(name.place());
  auto kernel = std::make_unique<HookPlatform>(MakeKernelPlatform(owner->segment().file()));
  HookPlatform& hooks = *kernel;
  auto prober = MakeAttachment(name.place(), std::move(kernel));
  ASSERT_EQ(prober->Probe(0, 1), LifeState::kAlive);
  hooks.before_look = [&](LockByte, uint32_t) {
    EXPECT_TRUE(owner->Leave(Deadline::Never()).ok());
  };
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kNobody);

  // Claimed again, up to the pid, after the look at the byte and before the second look.
  owner = MakeAttachment(name.place());
  hooks.before_look = nullptr;
  SlotData& slot = *prober->segment().Slot(0);
  Put(slot.word, (SlotWord{2, 0, SlotState::kLive}.Pack()));
  bool first = true;
  hooks.before_look = [&](LockByte, uint32_t) {
    if (!first) return;
    first = false;
    Put(slot.word, (SlotWord{2, 0, SlotState::kFree}.Pack()));
    EXPECT_TRUE(owner->Join("next").ok());
  };
  EXPECT_EQ(prober->Probe(0, 2), LifeState::kNobody);
  EXPECT_EQ(prober->Probe(0, 3), LifeState::kAlive);
}

TEST(Claiming, WithAnotherPidSinceTheFirstLookIsAlive) {
  const TestName name;
  MakeSegment(name.place());
  auto owner = JoinedAttachment(name.place());
  auto kernel = std::make_unique<HookPlatform>(MakeKernelPlatform(owner->segment().file()));
  HookPlatform& hooks = *kernel;
  auto prober = MakeAttachment(name.place(), std::move(kernel));
  // The pid that the prober read first is that of somebody gone: as if it read half a claim.
  SlotData& slot = *prober->segment().Slot(0);
  const uint32_t pid = Get(slot.pid);
  Child gone([](Child&) {});
  const auto stale = static_cast<uint32_t>(gone.pid());
  gone.Wait();
  Put(slot.pid, stale);
  hooks.before_look = [&](LockByte, uint32_t) { Put(slot.pid, pid); };
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kAlive);
  hooks.before_look = nullptr;
  Put(slot.pid, stale);
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kDead) << "the control: byte held, process gone";
  Put(slot.pid, uint32_t{0});
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kAlive) << "pid 0 is unknown, that is, alive";
  Put(slot.pid, pid);
  Put(slot.start_time, Get(slot.start_time) + 1);
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kDead) << "another process has the number now";
  Put(slot.start_time, uint64_t{0});
  EXPECT_EQ(prober->Probe(0, 1), LifeState::kAlive) << "start time 0 is unknown";
}

// --- Trap: a forked child has a copy of the description, and with it the locks. ---

// A process that nobody waits for: it goes with the test, however that ends.
struct Stray {
  ~Stray() {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  pid_t pid = 0;
};

TEST(LeakedLock, IsClosedByTheForkHandlers) {
  const TestName name;
  MakeSegment(name.place());
  Child victim([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    if (fork() == 0) {
      const pid_t self = getpid();  // after the handlers
      parent.TellBytes(&self, sizeof self);
      for (;;) pause();
    }
    for (;;) pause();
  });
  Stray grandchild;
  ASSERT_TRUE(victim.HearBytes(&grandchild.pid, sizeof grandchild.pid));
  auto survivor = MakeAttachment(name.place());
  EXPECT_TRUE(survivor->platform().IsHeld(LockByte::kLife, 0));
  victim.KillAndWait();
  EXPECT_FALSE(survivor->platform().IsHeld(LockByte::kLife, 0));
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kDead);
  EXPECT_EQ(kill(grandchild.pid, 0), 0) << "the test is about a child that lives on";
}

TEST(LeakedLock, PastTheForkHandlersDoesNotHideADeath) {
  const TestName name;
  MakeSegment(name.place());
  Child victim([&](Child& parent) {
    auto attachment = JoinedAttachment(name.place());
    const auto grandchild =
        static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (grandchild == 0) {
      for (;;) pause();
    }
    parent.TellBytes(&grandchild, sizeof grandchild);
    parent.Hear();
  });
  Stray grandchild;
  ASSERT_TRUE(victim.HearBytes(&grandchild.pid, sizeof grandchild.pid));
  auto survivor = MakeAttachment(name.place());
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kAlive);
  victim.Kill();
  victim.WaitForZombie();
  EXPECT_TRUE(survivor->platform().IsHeld(LockByte::kLife, 0)) << "the lock must have leaked";
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kDead) << "as a zombie";
  victim.Wait();
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kDead) << "and gone";
  EXPECT_EQ(survivor->RepairSlot(0), RepairVerdict::kRepaired);
  auto next = JoinedAttachment(name.place());
  EXPECT_EQ(next->slot(), 1u) << "the byte of slot 0 is still locked by the grandchild";
}

TEST(LeakedLock, FallsWhenItsOwnerGivesUpWithoutDying) {
  const TestName name;
  MakeSegment(name.place());
  auto owner = JoinedAttachment(name.place());
  Stray child;
  child.pid = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (child.pid == 0) {
    for (;;) pause();
  }
  auto survivor = MakeAttachment(name.place());
  Call inside = owner->Enter(1);  // so that the destructor cannot leave
  EXPECT_TRUE(absl::IsDeadlineExceeded(owner->Leave(Deadline::Now())));
  inside = Call();
  owner->Abandon();
  owner.reset();
  EXPECT_EQ(survivor->Probe(0, 1), LifeState::kDead);
}

// --- Trap: pids of another namespace. ---

// Runs `body` as process 1 of a new pid namespace; false when that is not allowed.
bool InAnotherPidNamespace(const std::function<void()>& body) {
  if (unshare(CLONE_NEWPID) != 0) return false;
  const pid_t inner = fork();
  if (inner == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(inner, &status, 0);
  return status == 0;
}

TEST(PidNamespace, ParticipantWithAPidOfOursIsNotConfused) {
  const TestName name;
  MakeSegment(name.place());
  Child outer([&](Child& parent) {
    const bool done = InAnotherPidNamespace([&] {
      auto attachment = JoinedAttachment(name.place());
      CHILD_REQUIRE(Get(attachment->segment().Slot(0)->pid) == 1);
      parent.Tell('j');
      parent.Hear();
    });
    if (!done) parent.Tell('n');
  });
  if (outer.Hear() == 'n')
    GTEST_SKIP() << "needs the right to make a pid namespace: run it as root";
  auto survivor = MakeAttachment(name.place());
  ASSERT_NE(survivor->platform().StartTimeOf(1), Get(survivor->segment().Slot(0)->start_time))
      << "our process 1 must be another one, or this test says nothing";
  for (int trial = 0; trial < 20; ++trial) EXPECT_EQ(survivor->Probe(0, 1), LifeState::kAlive);
  EXPECT_EQ(survivor->RepairAll(), 0u);
  outer.Tell('x');
  EXPECT_EQ(outer.Wait(), "exit 0");
}

TEST(PidNamespace, ParticipantsOfOneSeeEachOtherThroughAnotherProc) {
  const TestName name;
  MakeSegment(name.place());
  Child outer([&](Child& parent) {
    const bool done = InAnotherPidNamespace([&] {
      auto attachment = JoinedAttachment(name.place());
      const uint64_t start_time = Get(attachment->segment().Slot(0)->start_time);
      CHILD_REQUIRE(start_time == 0 || attachment->platform().StartTimeOf(1) == start_time);
      Child second([&](Child&) {
        auto other = JoinedAttachment(name.place());
        CHILD_REQUIRE(other->Probe(0, 1) == LifeState::kAlive);
        CHILD_REQUIRE(other->RepairAll() == 0);
      });
      CHILD_REQUIRE(second.Wait() == "exit 0");
      parent.Tell('o');
    });
    if (!done) parent.Tell('n');
  });
  const char answer = outer.Hear();
  if (answer == 'n' && geteuid() != 0) GTEST_SKIP() << "needs the right to make a pid namespace";
  EXPECT_EQ(answer, 'o');
}

}  // namespace
}  // namespace thole::shm
