// Real processes, really killed, as fast as it goes; a ledger of every message.
#include <sys/mman.h>

#include <atomic>
#include <new>
#include <thread>

#include "support/party.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using shm::LoanRef;
using shm::testing::Random;
using std::chrono::milliseconds;
using testing::Blocks;
using testing::Inline;
using testing::Item;
using testing::MakeSegment;
using testing::Party;
using testing::QueueShape;

constexpr uint32_t kWorkers = 4;  // two producers, then two consumers
constexpr uint32_t kIdsMax = 4'000'000;
constexpr auto kStorm = std::chrono::milliseconds(4000);
constexpr uint8_t kTried = 1;
constexpr uint8_t kAccepted = 2;

/// Outside of the segment; written by the workers, one byte per message.
struct Ledger {
  std::atomic<uint32_t> next_id;
  std::atomic<uint32_t> stop;
  std::atomic<uint8_t> pushed[kIdsMax];
  std::atomic<uint8_t> done[kIdsMax];        // deliveries, or acks
  std::atomic<uint8_t> maybe_done[kIdsMax];  // leased: its worker was in the ack
  std::atomic<uint32_t> in_pop[kWorkers];
  std::atomic<uint64_t> again;  // deliveries with attempts
};

class Storm : public ::testing::TestWithParam<QueueOptions> {
 protected:
  Storm() : shapes_{{"jobs", GetParam()}}, segment_(MakeSegment(shapes_)) {
    void* bytes = mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED) std::abort();
    ledger_ = new (bytes) Ledger;
  }
  ~Storm() override { munmap(static_cast<void*>(ledger_), sizeof(Ledger)); }

  PushResult PushId(Party& party, uint32_t id) {
    QueueWait wait(party->handle(), WaitSide::kPush, Deadline::In(milliseconds(200)));
    for (;;) {
      const PushResult result = PushOne(*party, id);
      if (!MayChange(result)) return result;
      if (!wait.Next(result == PushResult::kPending, kNobody)) return PushResult::kTimeout;
    }
  }
  int Produce() {
    Party party(segment_.file(), shapes_);
    while (ledger_->stop == 0) {
      const uint32_t id = ledger_->next_id.fetch_add(1);
      if (id >= kIdsMax) break;  // the storm ends then
      ledger_->pushed[id] = kTried;
      PushResult result;
      while ((result = PushId(party, id)) == PushResult::kTimeout && ledger_->stop == 0) {
      }
      if (result == PushResult::kOk) ledger_->pushed[id] = kAccepted;
      if (result == PushResult::kCorrupt || result == PushResult::kClosed) return 3;
    }
    while (ledger_->stop == 0) std::this_thread::yield();  // may still be chosen as the victim
    return 0;
  }
  int Consume(uint32_t worker) {
    Party party(segment_.file(), shapes_);
    Random random(worker);
    while (ledger_->stop == 0) {
      uint64_t id = 0;
      PopInfo info;
      LoanRef loan;
      ledger_->in_pop[worker] = 1;
      QueueWait wait(party->handle(), WaitSide::kPop, Deadline::In(milliseconds(200)));
      PopResult result;
      while (MayChange(result = PopOne(*party, id, info, 0, &loan)) &&
             wait.Next(result == PopResult::kPending, info.stalled_on)) {
      }
      if (result == PopResult::kOk && id >= kIdsMax) return 4;  // torn
      if (result == PopResult::kOk && info.attempts != 0) ++ledger_->again;
      if (result == PopResult::kOk && !GetParam().leased) ++ledger_->done[id];
      ledger_->in_pop[worker] = 0;
      if (result == PopResult::kCorrupt || result == PopResult::kClosed) return 3;
      if (result != PopResult::kOk || !loan) continue;
      if (!GetParam().leased) {
        Free(*party, loan);
      } else if (random.Chance(8)) {
        if (Return(*party, loan) != ReturnResult::kOk) return 5;
      } else {
        ledger_->maybe_done[id] = 1;
        Free(*party, loan);
        ++ledger_->done[id];
        ledger_->maybe_done[id] = 0;
      }
    }
    return 0;
  }
  pid_t Start(uint32_t worker) {
    return testing::Fork([&] { return worker < 2 ? Produce() : Consume(worker); });
  }
  void RunStorm();
  void CheckLedger();

  const std::vector<QueueShape> shapes_;
  shm::Segment segment_;
  Ledger* ledger_;
  uint32_t kills_ = 0;
  uint32_t killed_in_pop_ = 0;
};

void Storm::RunStorm() {
  pid_t workers[kWorkers];
  for (uint32_t i = 0; i < kWorkers; ++i) workers[i] = Start(i);
  Random random(7);
  const auto end = std::chrono::steady_clock::now() + kStorm;
  while (std::chrono::steady_clock::now() < end && ledger_->next_id < kIdsMax) {
    // Paced by what was pushed: a worker lives for some messages.
    const uint32_t wanted = ledger_->next_id + 1 + static_cast<uint32_t>(random.Below(400));
    const auto patience = std::chrono::steady_clock::now() + milliseconds(8);
    while (ledger_->next_id < wanted && std::chrono::steady_clock::now() < patience) {
      std::this_thread::yield();
    }
    const auto victim = static_cast<uint32_t>(random.Below(kWorkers));
    kill(workers[victim], SIGKILL);
    ASSERT_EQ(testing::WaitFor(workers[victim]), -SIGKILL) << "worker " << victim;
    ++kills_;
    if (victim >= 2 && ledger_->in_pop[victim].exchange(0) != 0) ++killed_in_pop_;
    workers[victim] = Start(victim);
  }
  ledger_->stop = 1;
  for (const pid_t worker : workers) EXPECT_EQ(testing::WaitFor(worker), 0);
}

void Storm::CheckLedger() {
  Party survivor(segment_.file(), shapes_);
  survivor.attachment().RepairAll();
  EXPECT_EQ(survivor.AuditText(), "none");
  uint64_t id = 0;
  PopInfo info;
  PopResult result;
  while ((result = PopOne(*survivor, id, info)) == PopResult::kOk) {
    ASSERT_LT(id, kIdsMax);
    ++ledger_->done[id];
  }
  EXPECT_EQ(result, PopResult::kEmpty);
  EXPECT_EQ(survivor->pool().free_count(), 64u);
  EXPECT_EQ(survivor.AuditText(), "none");
  uint64_t accepted = 0;
  uint64_t lost = 0;
  uint64_t twice = 0;
  const uint32_t ids = std::min(ledger_->next_id.load(), kIdsMax);
  for (uint32_t i = 0; i < ids; ++i) {
    const uint32_t done = ledger_->done[i];
    if (done > 1) ++twice;
    if (ledger_->pushed[i] != kAccepted) continue;
    ++accepted;
    if (done == 0 && ledger_->maybe_done[i] == 0) ++lost;
  }
  std::printf(
      "  %u kills (%u in a pop), %llu accepted, %llu offered again, %llu taken along by the "
      "dead, %llu twice\n",
      kills_, killed_in_pop_, static_cast<unsigned long long>(accepted),
      static_cast<unsigned long long>(ledger_->again.load()), static_cast<unsigned long long>(lost),
      static_cast<unsigned long long>(twice));
  EXPECT_EQ(twice, 0u);
  EXPECT_GT(accepted, 100u);
  EXPECT_GT(kills_, 50u);
  if (GetParam().leased) {
    EXPECT_EQ(lost, 0u);
    EXPECT_GT(ledger_->again, 0u);
  } else {
    EXPECT_LE(lost, killed_in_pop_);
  }
}

TEST_P(Storm, LosesNothingAndDeliversNothingTwice) {
  RunStorm();
  if (!HasFatalFailure()) CheckLedger();
}

std::string StormName(const ::testing::TestParamInfo<QueueOptions>& info) {
  return std::string(info.param.leased        ? "Leased"
                     : info.param.descriptors ? "Blocks"
                                              : "Items") +
         std::to_string(info.param.capacity);
}
INSTANTIATE_TEST_SUITE_P(Queues, Storm,
                         ::testing::Values(Inline(1), Inline(16), Blocks(4, false),
                                           Blocks(8, true)),
                         StormName);

TEST(Processes, TwoProducersAndTwoConsumersKeepTheOrderOfEachProducer) {
  constexpr uint64_t kEach = 60'000;
  const std::vector<QueueShape> shapes = {{"jobs", Inline(64)}};
  const shm::Segment segment = MakeSegment(shapes);
  std::vector<pid_t> producers;
  std::vector<pid_t> consumers;
  for (uint64_t p = 0; p < 2; ++p) {
    producers.push_back(testing::Fork([&, p] {
      Party party(segment.file(), shapes);
      const auto queue = party->items();
      for (uint64_t i = 0; i < kEach; ++i) {
        if (queue.Push(Item::Of(p << 32 | i), Deadline::In(std::chrono::seconds(30))) !=
            PushResult::kOk) {
          return 1;
        }
      }
      return 0;
    }));
  }
  int counts[2];
  ASSERT_EQ(pipe(counts), 0);
  for (int c = 0; c < 2; ++c) {
    consumers.push_back(testing::Fork([&] {
      Party party(segment.file(), shapes);
      const auto queue = party->items();
      uint64_t next[2] = {0, 0};
      uint64_t count = 0;
      Item item;
      PopResult result;
      while ((result = queue.Pop(item, Deadline::In(std::chrono::seconds(30)))) == PopResult::kOk) {
        const uint64_t producer = item.id >> 32;
        const uint64_t number = item.id & 0xffff'ffff;
        if (!item.intact() || producer > 1 || number < next[producer]) return 1;
        next[producer] = number + 1;
        ++count;
      }
      if (result != PopResult::kClosed) return 2;
      return write(counts[1], &count, sizeof(count)) == sizeof(count) ? 0 : 3;
    }));
  }
  for (const pid_t producer : producers) EXPECT_EQ(testing::WaitFor(producer), 0);
  Party party(segment.file(), shapes);
  party->items().Close();
  uint64_t total = 0;
  for (const pid_t consumer : consumers) {
    ASSERT_EQ(testing::WaitFor(consumer), 0);
    uint64_t count = 0;
    ASSERT_EQ(read(counts[0], &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    total += count;
  }
  EXPECT_EQ(total, 2 * kEach);
  close(counts[0]);
  close(counts[1]);
  party.attachment().RepairAll();
  EXPECT_EQ(party.AuditText(), "none");
}

}  // namespace
}  // namespace thole::queue
