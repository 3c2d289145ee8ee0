// Sleepers and their wake-ups, over the kernel's real futexes.
#include "thole/shm/wait_list.h"

#include <array>
#include <thread>

#include "support/hook_platform.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

constexpr int64_t kNever = INT64_MAX;

struct WaitWorld {
  WaitListData list;
  Word32 value;
};

WaitWorld& WorldOf(const Segment& segment) {
  return *segment.view().At<WaitWorld>(segment.view().OffsetOf(WordsOf(segment)));
}

// Waits without any limit until the value is wanted: a lost wake-up is a test that does not end.
template <class Wanted>
void WaitUntil(Platform& platform, WaitListData& list, uint32_t slot, Wanted wanted) {
  while (!wanted()) {
    const WaitTicket ticket = Enlist(list, slot);
    if (wanted()) return;
    Sleep(platform, list, ticket, kNever);
  }
}

TEST(WaitList, CostsNoSystemCallWhenNobodyWaits) {
  HookPlatform platform(MakePrivatePlatform());
  WaitListData list{};
  for (int i = 0; i < 1000; ++i) NotifyOne(platform, list);
  EXPECT_EQ(platform.wakes + platform.waits, 0u);
  EXPECT_EQ(Get(list.sequence), 0u);
  Enlist(list, 3);
  NotifyOne(platform, list);
  EXPECT_EQ(platform.wakes, 1u);
  NotifyOne(platform, list);
  EXPECT_EQ(platform.wakes, 1u) << "the bit is a hint that is used up";
}

TEST(WaitList, NotifyBetweenEnlistAndSleepIsNotMissed) {
  HookPlatform platform(MakePrivatePlatform());
  WaitListData list{};
  const WaitTicket ticket = Enlist(list, 40);
  EXPECT_EQ(ticket.bit, uint32_t{1} << 8);
  NotifyOne(platform, list);
  Sleep(platform, list, ticket, kNever);  // returns at once, or the test hangs
  const WaitTicket again = Enlist(list, 40);
  NotifyAll(platform, list);
  Sleep(platform, list, again, kNever);
  EXPECT_EQ(Get(list.waiters), 0u);
}

TEST(WaitList, SleepEndsAtItsTime) {
  auto platform = MakePrivatePlatform();
  WaitListData list{};
  const int64_t until = platform->NowNs() + 5'000'000;
  while (platform->NowNs() < until) Sleep(*platform, list, Enlist(list, 1), until);
  Sleep(*platform, list, Enlist(list, 1), 0);  // long past
  Sleep(*platform, list, Enlist(list, 1), -1);
}

TEST(WaitList, LosesNoWakeUpInAHundredThousandPingPongs) {
  constexpr uint32_t kTurns = 100'000;
  const TestName name;
  const Segment segment = MakeSegment(name.place());
  WaitWorld& world = WorldOf(segment);
  const auto play = [&](Platform& platform, WaitWorld& mine, uint32_t slot) {
    for (uint32_t turn = slot; turn < kTurns; turn += 2) {
      WaitUntil(platform, mine.list, slot, [&] { return Get(mine.value) == turn; });
      Put(mine.value, turn + 1);
      NotifyOne(platform, mine.list);
    }
  };
  Child other([&](Child&) {
    const Segment opened = OpenSegment(name.place());
    play(*MakeKernelPlatform(opened.file()), WorldOf(opened), 1);
  });
  HookPlatform platform(MakeKernelPlatform(segment.file()));
  play(platform, world, 0);
  EXPECT_EQ(other.Wait(), "exit 0");
  EXPECT_EQ(Get(world.value), kTurns);
  std::cout << kTurns << " turns, " << platform.waits << " sleeps and " << platform.wakes
            << " wake-ups on our side\n";
}

// One token for one wake-up: whoever wakes the wrong one, or none, leaves a token and a sleeper.
void RunTokens(const std::array<uint32_t, 3>& slots) {
  constexpr uint32_t kTokens = 30'000;
  auto platform = MakePrivatePlatform();
  WaitListData list{};
  Word32 tokens{0};
  Word32 left{kTokens};
  std::vector<std::thread> consumers;
  for (const uint32_t slot : slots) {
    consumers.emplace_back([&, slot] {
      for (;;) {
        bool got = false;
        WaitUntil(*platform, list, slot, [&] {
          uint32_t seen = Get(tokens);
          while (seen != 0 && !(got = tokens.compare_exchange_weak(seen, seen - 1))) {
          }
          return got || Get(left) == 0;
        });
        if (got && left.fetch_sub(1) == 1) NotifyAll(*platform, list);
        if (Get(left) == 0) return;
      }
    });
  }
  for (uint32_t i = 0; i < kTokens; ++i) {
    tokens.fetch_add(1);
    NotifyOne(*platform, list);
    if (i % 3 == 0) std::this_thread::yield();
  }
  for (std::thread& consumer : consumers) consumer.join();
  EXPECT_EQ(Get(left), 0u);
  EXPECT_EQ(Get(tokens), 0u);
}

TEST(WaitList, WakesSomebodyForEveryTokenWithBitsOfTheirOwn) { RunTokens({1, 2, 3}); }
TEST(WaitList, WakesSomebodyForEveryTokenWithOneBitForAll) { RunTokens({5, 37, 69}); }

TEST(WaitList, NotifyAllWakesEverybody) {
  auto platform = MakePrivatePlatform();
  WaitListData list{};
  Word32 open{0};
  std::vector<std::thread> sleepers;
  for (uint32_t slot = 0; slot < 8; ++slot) {
    sleepers.emplace_back(
        [&, slot] { WaitUntil(*platform, list, slot, [&] { return Get(open) != 0; }); });
  }
  while (Get(list.waiters) != 0xff) std::this_thread::yield();
  Put(open, 1u);
  NotifyAll(*platform, list);
  for (std::thread& sleeper : sleepers) sleeper.join();
}

TEST(WaitList, EndsAlsoWhenSomebodyKeepsSettingBits) {
  class Hostile final : public Platform {
   public:
    explicit Hostile(WaitListData& list) : Platform(&canary_), list_(list) {}
    int64_t NowNs() override { return 0; }
    void WaitWord(Word32&, uint32_t, uint32_t, int64_t) override {}
    int WakeWord(Word32&, int, uint32_t) override {
      Put(list_.waiters, ~0u);
      return 0;
    }
    void Relax() override {}
    bool TryHold(LockByte, uint32_t) override { return false; }
    void Drop(LockByte, uint32_t) override {}
    bool IsHeld(LockByte, uint32_t) override { return true; }
    ProcessIdentity Self() override { return {}; }
    std::optional<uint64_t> StartTimeOf(uint32_t) override { return std::nullopt; }

   private:
    const unsigned char canary_ = 1;
    WaitListData& list_;
  };
  WaitListData list{};
  Hostile platform(list);
  Put(list.waiters, ~0u);
  NotifyOne(platform, list);
  EXPECT_LE(Get(list.sequence), 32u);
}

}  // namespace
}  // namespace thole::shm
