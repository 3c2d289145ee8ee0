#include "peer.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace thole::bench {
namespace {

// A word of control: turn of the conversation : 24 | phase : 8, so that each phase can come again.
constexpr uint32_t kPhaseBits = 8;
constexpr uint32_t kEnd = (1u << kPhaseBits) - 1;

}  // namespace

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

std::vector<int> Processors() {
  cpu_set_t allowed;
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return processors;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) processors.push_back(cpu);
  }
  return processors;
}

bool PinTo(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  return sched_setaffinity(0, sizeof one, &one) == 0;
}

void EndWithThePeer() {
  struct sigaction action{};
  action.sa_flags = SA_NOCLDSTOP;
  action.sa_handler = [](int) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (info.si_code == CLD_EXITED && info.si_status == EXIT_SUCCESS) return;
    constexpr char kWhat[] = "the peer died, so there is nothing to report\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kWhat, sizeof kWhat - 1);
    _exit(EXIT_FAILURE);
  };
  sigaction(SIGCHLD, &action, nullptr);
}

Peer::Peer(Control& control, int processor, const std::function<absl::Status(uint32_t)>& work)
    : control_(control) {
  std::fflush(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!PinTo(processor)) _exit(EXIT_FAILURE);
  for (uint32_t seen = 0;;) {
    const uint32_t wanted = control_.wanted.load(std::memory_order_acquire);  // Begin
    if (wanted == seen) {
      Relax();
      continue;
    }
    seen = wanted;
    const uint32_t phase = wanted & kEnd;
    if (phase == kEnd) _exit(EXIT_SUCCESS);
    if (const absl::Status done = work(phase); !done.ok()) {
      std::fprintf(stderr, "peer: %s\n", done.ToString().c_str());
      _exit(EXIT_FAILURE);
    }
    control_.reached.store(wanted, std::memory_order_release);  // Finish
  }
}

Peer::~Peer() {
  if (pid_ <= 0) return;
  Begin(kEnd);
  waitpid(pid_, nullptr, 0);
}

void Peer::Begin(uint32_t phase) {
  control_.wanted.store(++turn_ << kPhaseBits | phase, std::memory_order_release);  // the peer
}

bool Peer::Finish() {
  const uint32_t wanted = control_.wanted.load(std::memory_order_relaxed);  // own store
  while (control_.reached.load(std::memory_order_acquire) != wanted) {      // the peer
    if (pid_ <= 0 || waitpid(pid_, nullptr, WNOHANG) != 0) {
      pid_ = 0;
      return false;
    }
    Relax();
  }
  return true;
}

void BarePing(Control& control, uint64_t rounds) {
  for (uint64_t i = 1; i <= rounds; ++i) {
    control.ping.store(i, std::memory_order_release);                   // BarePong
    while (control.pong.load(std::memory_order_acquire) != i) Relax();  // BarePong
  }
}

void BarePong(Control& control, uint64_t rounds) {
  for (uint64_t i = 1; i <= rounds; ++i) {
    while (control.ping.load(std::memory_order_acquire) != i) Relax();  // BarePing
    control.pong.store(i, std::memory_order_release);                   // BarePing
  }
}

void* NewSharedBytes(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace thole::bench
