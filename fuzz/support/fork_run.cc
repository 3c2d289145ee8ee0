#include "fork_run.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "thole/shm/crash_point.h"

// The counters of all instrumented code, where there is any: the linker makes these names.
extern "C" {
extern uint8_t counters_begin __asm__("__start___sancov_cntrs") __attribute__((weak));
extern char __data_start;
extern char _end;
extern uint8_t counters_end __asm__("__stop___sancov_cntrs") __attribute__((weak));
}

namespace thole::fuzz {
namespace {

constexpr uint32_t kDeathMask = 0x1ff;  // crash points by which a child can come before it dies
constexpr unsigned kHangSeconds = 10;

std::span<uint8_t> Counters() {
  if (&counters_begin == nullptr) return {};
  return {&counters_begin, static_cast<size_t>(&counters_end - &counters_begin)};
}

// What a child reached and how it ended; the child's fork of these is only read.
struct Board {
  std::atomic<uint32_t> died_there{0};
  uint8_t* counters = nullptr;
};

Board* BoardOf(uint32_t child) {
  static Board* boards = [] {
    auto* all = static_cast<Board*>(NewSharedMemory(sizeof(Board) * ForkRun::kChildrenMax));
    const size_t bytes = Counters().size();
    for (uint32_t i = 0; i < ForkRun::kChildrenMax; ++i) {
      new (all + i) Board;
      if (bytes != 0) all[i].counters = static_cast<uint8_t*>(NewSharedMemory(bytes));
    }
    return all;
  }();
  return boards + child;
}

// Of the child that this process is.
Board* my_board = nullptr;
uint32_t points_left = 0;  // until it dies; 0 = it does not

void HandOverCounters() {
  const std::span<uint8_t> counters = Counters();
  if (!counters.empty()) std::memcpy(my_board->counters, counters.data(), counters.size());
}

/// libFuzzer's tables are most of the memory of the parent, no child needs them, and copying their
/// page tables is most of what a fork costs.
void KeepTablesOutOfChildren() {
  if (Counters().empty()) return;  // a replay has no such tables
  constexpr size_t kLarge = size_t{4} << 20;
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  if (maps == nullptr) return;
  char line[512];
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char access[5] = "";
    char name[256] = "";
    if (std::sscanf(line, "%lx-%lx %4s %*s %*s %*s %255s", &begin, &end, access, name) < 3)
      continue;
    const bool unnamed_and_private = std::strcmp(access, "rw-p") == 0 && name[0] == 0;
    const bool of_program =
        begin < std::bit_cast<uint64_t>(&_end) && end > std::bit_cast<uint64_t>(&__data_start);
    if (!unnamed_and_private || of_program || end - begin < kLarge) continue;
    // At its end may lie what was mapped before it: the variables of the thread.
    madvise(std::bit_cast<void*>(begin), end - begin - kLarge / 4, MADV_DONTFORK);
  }
  std::fclose(maps);
}

void DieThere(const char*) {
  if (points_left == 0 || --points_left != 0) return;
  HandOverCounters();
  my_board->died_there.store(1, std::memory_order_release);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

}  // namespace

void Broken(const std::string& what) {
  std::fprintf(stderr, "BROKEN: %s\n", what.c_str());
  std::abort();
}

void ExpectNone(const shm::Findings& findings, const char* after) {
  if (!findings.empty()) Broken(std::string(after) + ": " + findings.ToString());
}

void* NewSharedMemory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Broken("no shared memory for the harness");
  return memory;
}

shm::Segment NewForkSegment(std::span<const shm::RootRequest> roots) {
  auto made =
      shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = shm::kSegmentBytesMin}, roots);
  if (!made.ok()) Broken("no segment: " + made.status().ToString());
  return *std::move(made);
}

void ForkRun::Start(uint32_t index, uint32_t death, ByteSource program, const Body& body) {
  BoardOf(index)->died_there.store(0, std::memory_order_relaxed);  // before the child exists
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process < 0) Broken("fork failed");
  if (process > 0) {
    children_[index].process = process;
    return;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  signal(SIGALRM, SIG_DFL);  // the fuzzer's own means something else
  alarm(kHangSeconds);
  my_board = BoardOf(index);
  points_left = death;
  shm::crash_point_hook = DieThere;
  body(index, program);
  HandOverCounters();
  _exit(0);  // no destructor: it is simply gone
}

void ForkRun::Wait(uint32_t index) {
  Child& child = children_[index];
  int status = 0;
  while (waitpid(child.process, &status, 0) < 0) {
  }
  Board* board = BoardOf(index);
  const std::span<uint8_t> counters = Counters();
  for (size_t i = 0; i < counters.size(); ++i) {
    counters[i] = std::max(counters[i], board->counters[i]);
  }
  child.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
                 board->died_there.load(std::memory_order_acquire) != 0;  // it is gone
  if (child.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return;
  const std::string who = "child " + std::to_string(index);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) Broken(who + " hangs");
  Broken(who + (WIFSIGNALED(status) ? " ended by signal " + std::to_string(WTERMSIG(status))
                                    : " left with " + std::to_string(WEXITSTATUS(status))));
}

ForkRun ForkRun::Run(ByteSource input, const Body& body) {
  static const bool once = (KeepTablesOutOfChildren(), true);
  (void)once;
  ForkRun run;
  run.children_.resize(1 + input.Below(kChildrenMax));
  const bool together = input.Chance(4);
  uint32_t deaths[kChildrenMax];
  for (uint32_t& death : deaths) death = input.Number<uint16_t>() & kDeathMask;
  for (uint32_t i = 0; i < run.children(); ++i) {
    run.Start(i, deaths[i], ByteSource(input.Bytes(input.left() / (run.children() - i))), body);
    if (!together) run.Wait(i);
  }
  for (uint32_t i = 0; together && i < run.children(); ++i) run.Wait(i);
  return run;
}

}  // namespace thole::fuzz
