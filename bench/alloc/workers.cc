#include "workers.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace thole::bench {

int64_t Ring::Push(uint64_t number, uint64_t value) {
  int64_t waited = 0;
  if (number - popped_seen_ >= kCells) {
    waited = -CpuNs();
    do {
      popped_seen_ = popped_.load(std::memory_order_acquire);  // Pop
      Relax();
    } while (number - popped_seen_ > kEnough);
    waited += CpuNs();
  }
  cells_[number % kCells] = value;
  pushed_.store(number + 1, std::memory_order_release);  // Pop
  return waited;
}

int64_t Ring::Pop(uint64_t number, uint64_t numbers, uint64_t& value) {
  int64_t waited = 0;
  if (number >= pushed_seen_) {
    waited = -CpuNs();
    const uint64_t enough = std::min(number + kEnough, numbers);
    do {
      pushed_seen_ = pushed_.load(std::memory_order_acquire);  // Push
      Relax();
    } while (pushed_seen_ < enough);
    waited += CpuNs();
  }
  value = cells_[number % kCells];
  popped_.store(number + 1, std::memory_order_release);  // Push
  return waited;
}

void Meeting::Wait(uint32_t workers) {
  arrived.fetch_add(1, std::memory_order_acq_rel);                     // the other's Wait
  while (arrived.load(std::memory_order_acquire) != workers) Relax();  // the other's Wait
}

namespace {

void RunForked(const std::function<void(uint32_t)>& work, int processor) {
  std::fflush(nullptr);
  const pid_t child = fork();
  Check(child >= 0, "fork failed");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Check(PinTo(processor), "cannot run on that processor");
    work(1);
    _exit(EXIT_SUCCESS);
  }
  work(0);
  int status = 0;
  Check(waitpid(child, &status, 0) == child && status == 0, "the other worker failed");
}

}  // namespace

void RunWorkers(uint32_t workers, bool processes, const std::function<void(uint32_t)>& work) {
  const std::vector<int> processors = Processors();
  Check(processors.size() >= workers, "there are fewer processors than workers");
  // The last one: the first has most interrupts, so it is the second worker's.
  Check(PinTo(processors.back()), "cannot run on that processor");
  if (workers == 1) return work(0);
  if (processes) {
    EndWithThePeer();
    RunForked(work, processors[0]);
  } else {
    std::thread other([&] {
      Check(PinTo(processors[0]), "cannot run on that processor");
      work(1);
    });
    work(0);
    other.join();
  }
  cpu_set_t all;
  CPU_ZERO(&all);
  for (const int processor : processors) CPU_SET(processor, &all);
  sched_setaffinity(0, sizeof all, &all);
}

}  // namespace thole::bench
