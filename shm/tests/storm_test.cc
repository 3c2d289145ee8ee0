// A storm of real deaths in the midst of transactions, over the shipped code.
#include <sys/mman.h>

#include <thread>

#include "support/test_segment.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/transaction.h"

namespace thole::shm {
namespace {

constexpr uint32_t kLock = 0;
constexpr uint32_t kFirst = 1;   // of the words whose sum stays
constexpr uint32_t kCount = 16;  // of them
constexpr uint64_t kEach = 1000;
constexpr uint32_t kTurns = 21;

OwnerLockData& LockOf(const Segment& segment) {
  return *segment.view().At<OwnerLockData>(segment.view().OffsetOf(WordsOf(segment) + kLock));
}

void MakeWorld(const TestName& name) {
  const Segment segment = MakeSegment(name.place(), SmallOptions(12));
  for (uint32_t i = 0; i < kCount; ++i) Put(WordsOf(segment)[kFirst + i], kEach);
}

uint64_t SumOf(const Segment& segment) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kCount; ++i) sum += Get(WordsOf(segment)[kFirst + i]);
  return sum;
}

// Moves amounts about until it is told to stop, or is killed.
void Work(const TestName& name, uint64_t seed, const std::atomic<uint32_t>& stop) {
  testing::Random random(seed);
  auto attachment = JoinedAttachment(name.place());
  Word64* words = WordsOf(attachment->segment());
  OwnerLockData& lock = LockOf(attachment->segment());
  while (stop == 0) {
    Call call = attachment->Enter(1);
    CHILD_REQUIRE(call);
    CHILD_REQUIRE(Lock(call.lane(), lock, Deadline::Never()) == LockResult::kOk);
    Transaction move(call.lane());
    for (uint64_t i = 1 + random.Below(6); i > 0; --i) {
      Word64& from = words[kFirst + random.Below(kCount)];
      Word64& to = words[kFirst + random.Below(kCount)];
      move.Set(from, Get(from) - 1);
      move.Set(to, Get(to) + 1);
    }
    move.Set(words[kTurns], Get(words[kTurns]) + 1);
    if (random.Chance(4)) {
      move.Rollback();
    } else {
      CHILD_REQUIRE(move.Commit());
    }
    Unlock(call.lane(), lock);
  }
  CHILD_REQUIRE(attachment->Leave(Deadline::Never()).ok());
}

TEST(LogStorm, KeepsTheSumWhateverIsKilled) {
  const TestName name;
  MakeWorld(name);
  auto* stop = new (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
      std::atomic<uint32_t>(0);
  uint64_t seed = 1;
  const auto start = [&] {
    ++seed;
    return std::make_unique<Child>([&](Child&) { Work(name, seed, *stop); });
  };
  std::unique_ptr<Child> workers[] = {start(), start(), start(), start()};
  const Segment segment = OpenSegment(name.place(), true);
  const Word64& turns = WordsOf(segment)[kTurns];
  auto clock = MakeAttachment(name.place());
  const Deadline end = Deadline::In(std::chrono::seconds(3));
  testing::Random random(7);
  uint64_t kills = 0;
  while (!end.PassedAt(clock->platform().NowNs())) {
    // Kill after so much work, so that there always is progress between two deaths.
    const uint64_t until = Get(turns) + random.Below(60);
    while (Get(turns) < until) std::this_thread::yield();
    auto& worker = workers[random.Below(4)];
    ASSERT_EQ(worker->KillAndWait(), "signal 9") << "a worker ended by itself";
    worker = start();
    ++kills;
  }
  const uint64_t at_the_end = Get(turns);
  while (Get(turns) < at_the_end + 100) std::this_thread::yield();  // nobody hangs
  *stop = 1;
  for (auto& worker : workers) EXPECT_EQ(worker->Wait(), "exit 0");
  clock->RepairAll();
  EXPECT_EQ(SumOf(segment), kCount * kEach);
  EXPECT_EQ(SlotsInUse(segment), 0u);
  EXPECT_EQ(Get(LockOf(segment).word), 0u);
  EXPECT_EQ(Audited(segment), "none");
  EXPECT_GT(kills, 20u);
  std::cout << kills << " kills, " << Get(turns) << " transactions, sum kept\n";
  munmap(stop, 4096);
}

}  // namespace
}  // namespace thole::shm
