// What a survivor does about a participant that was killed, from the moment it knows of the death.
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "thole.h"
#include "thole/shm/transaction.h"

namespace thole::bench {
namespace {

using shm::Deadline;

constexpr uint32_t kBytesMin = 32;
constexpr uint32_t kBytesMax = 256;
constexpr int kAttemptsMax = 10'000;  // to kill inside of a move

/// What the victim tells before it is killed.
struct Victim {
  std::atomic<uint32_t> ready{0};
  std::atomic<uint32_t> moves{0};
  uint32_t slot = 0;
};

/// A heap with so many blocks in use and about as many free ones between them.
class Graveyard {
 public:
  explicit Graveyard(uint32_t blocks)
      : system_({.batch = 0}, (64 + uint64_t{blocks} * 2 * kBytesMax / kMiB) * kMiB),
        survivor_(system_, 0),
        ns_per_tick_(NsPerTick()),
        random_(blocks) {
    for (uint32_t i = 0; i < 2 * blocks; ++i) {
      const uint64_t bytes = kBytesMin + random_.Below(kBytesMax - kBytesMin);
      Check(survivor_.Allocate(0, bytes) != nullptr, "the heap is too small for its blocks");
      given_.push_back(survivor_.Give(0));
    }
    for (uint32_t i = 0; i < 2 * blocks; i += 2) {
      survivor_.Accept(0, given_[i]);
      survivor_.Free(0);
    }
  }

  /// Rolls back one move that a kill cut off.
  double RollbackNs() {
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
      Kill(0, true);
      shm::LaneData* lane = LaneInsideAMove();
      const uint64_t began = Ticks();
      if (lane != nullptr) shm::RollBack(survivor_.attachment()->view(), lane->log);
      const uint64_t ticks = Ticks() - began;
      RepairNs();
      if (lane != nullptr) return static_cast<double>(ticks) * ns_per_tick_;
    }
    Fail("no kill fell into a move");
  }
  /// Repairs somebody who held so many blocks and was in no move.
  double RepairOfHolderNs(uint32_t held) {
    Kill(held, false);
    return RepairNs();
  }

 private:
  // Starts a victim, which holds some blocks and then allocates and frees for ever or sleeps.
  void Kill(uint32_t held, bool moving) {
    victim_->ready.store(0, std::memory_order_relaxed);  // nobody else is there
    victim_->moves.store(0, std::memory_order_relaxed);  // nobody else is there
    const pid_t child = fork();
    Check(child >= 0, "fork failed");
    if (child == 0) Live(held, moving);
    while (victim_->ready.load(std::memory_order_acquire) == 0) {  // Live
      Check(waitpid(child, nullptr, WNOHANG) == 0, "the victim ended before it was killed");
      sched_yield();
    }
    const uint32_t moves = moving ? 100 + random_.Below(100) : 0;
    while (victim_->moves.load(std::memory_order_relaxed) < moves) {  // only paces the killer
      sched_yield();
    }
    kill(child, SIGKILL);
    Check(waitpid(child, nullptr, 0) == child, "the victim cannot be waited for");
  }
  [[noreturn]] void Live(uint32_t held, bool moving) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Thole::Worker worker(system_, 1);
    shm::Attachment& attachment = *worker.attachment();
    for (uint32_t i = 0; i < held; ++i) {
      const auto loan = attachment.TakeLoan(worker.lane(), worker.heap().get(), Deadline::Never());
      Check(loan && worker.heap()->AllocateTo(worker.lane(), loan, 100, 16, Deadline::Never()) ==
                        shm::BlockResult::kOk,
            "the heap is too small for what a victim holds");
    }
    victim_->slot = attachment.slot();
    victim_->ready.store(1, std::memory_order_release);  // Kill
    for (uint32_t i = 0;; ++i) {
      if (!moving) pause();
      worker.Allocate(0, kBytesMin + i % kBytesMax);
      worker.Free(0);
      victim_->moves.fetch_add(1, std::memory_order_relaxed);  // only paces the killer
    }
  }
  shm::LaneData* LaneInsideAMove() const {
    const shm::Segment& segment = survivor_.attachment()->segment();
    for (uint32_t i = 0; i < segment.lanes_per_participant(); ++i) {
      shm::LaneData* lane = segment.LaneAt(victim_->slot, i);
      if (lane->log.count.load(std::memory_order_acquire) != 0) return lane;  // the victim's
    }
    return nullptr;
  }
  double RepairNs() {
    const uint64_t began = Ticks();
    const auto verdict = survivor_.attachment()->RepairSlot(victim_->slot);
    const uint64_t ticks = Ticks() - began;
    Check(verdict == shm::RepairVerdict::kRepaired, "the dead were not repaired");
    // In one kill of many the victim has a block in its own loan: nobody repairs those.
    if (const uint64_t left = LoanOfTheVictim(); left != 0) {
      survivor_.Accept(1, left);
      survivor_.Free(1);
    }
    return static_cast<double>(ticks) * ns_per_tick_;
  }
  uint64_t LoanOfTheVictim() { return Thole::Worker(system_, 1).Give(0); }

  Thole system_;
  Thole::Worker survivor_;
  double ns_per_tick_;
  Random random_;
  std::vector<uint64_t> given_;
  Victim* victim_ = NewShared<Victim>();
};

}  // namespace

void Thole::Recover(const Options& options) {
  const int kills = options.quick ? 2 : 20;
  for (const uint32_t blocks : {1'000u, options.quick ? 10'000u : 1'000'000u}) {
    Graveyard graveyard(blocks);
    std::vector<double> rollbacks;
    for (int i = 0; i < kills; ++i) rollbacks.push_back(graveyard.RollbackNs());
    const std::string in = " in a heap of " + std::to_string(blocks) + " blocks";
    Report(("rollback" + in).c_str(), "ns", rollbacks);
    for (const uint32_t held : {0u, 1'000u, 10'000u}) {
      std::vector<double> repairs;
      for (int i = 0; i < kills; ++i) repairs.push_back(graveyard.RepairOfHolderNs(held));
      const std::string whose = "repair of who held " + std::to_string(held) + in;
      Report(whose.c_str(), "ns", repairs);
    }
  }
}

}  // namespace thole::bench
