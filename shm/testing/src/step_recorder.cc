#include "step_recorder.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" const char __executable_start;  // of the linker

namespace thole::shm::testing {
namespace {

// A signal handler gets no argument of ours: the one recorder that is running.
StepRecorder* active = nullptr;

void* MapMemory(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the stepper");
    std::abort();
  }
  return memory;
}

#if defined(__x86_64__)
// The flags go over the stack: step over the red zone first.
[[gnu::always_inline]] inline void SetTrapFlag() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
          : "memory", "cc");
}
[[gnu::always_inline]] inline void ClearTrapFlag() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
          : "memory", "cc");
}
uint64_t InstructionAddress(const void* context) {
  const auto* user = static_cast<const ucontext_t*>(context);
  return static_cast<uint64_t>(user->uc_mcontext.gregs[REG_RIP]);
}
#else
void SetTrapFlag() {}
void ClearTrapFlag() {}
uint64_t InstructionAddress(const void*) { return 0; }
#endif

}  // namespace

/// Installs the two handlers, on a stack of their own, for as long as it lives.
struct StepSignals {
  StepSignals() {
    stack_.ss_sp = MapMemory(kStackBytes);
    stack_.ss_size = kStackBytes;
    sigaltstack(&stack_, &old_stack_);
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
      StepRecorder::OnTrap(signal, info, context);
    };
    sigaction(SIGTRAP, &action, &old_trap_);
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      if (!StepRecorder::OnFault(info->si_addr)) signal(SIGSEGV, SIG_DFL);  // it faults again
    };
    sigaction(SIGSEGV, &action, &old_fault_);
  }
  ~StepSignals() {
    sigaction(SIGTRAP, &old_trap_, nullptr);
    sigaction(SIGSEGV, &old_fault_, nullptr);
    if (old_stack_.ss_sp == nullptr) old_stack_.ss_flags = SS_DISABLE;
    sigaltstack(&old_stack_, nullptr);
    munmap(stack_.ss_sp, kStackBytes);
  }
  static constexpr uint64_t kStackBytes = 128 << 10;
  stack_t stack_{};
  stack_t old_stack_{};
  struct sigaction old_trap_{};
  struct sigaction old_fault_{};
};

StepRecorder::StepRecorder(uint64_t bytes_max, uint64_t changes_max)
    : bytes_max_(bytes_max), changes_max_(changes_max) {
  mirror_ = static_cast<std::byte*>(MapMemory(bytes_max));
  changes_ = static_cast<Change*>(MapMemory(changes_max * sizeof(Change)));
  watched_ = static_cast<uint32_t*>(MapMemory((bytes_max / kPage + 1) * sizeof(uint32_t)));
}

StepRecorder::~StepRecorder() {
  munmap(mirror_, bytes_max_);
  munmap(changes_, changes_max_ * sizeof(Change));
  munmap(watched_, (bytes_max_ / kPage + 1) * sizeof(uint32_t));
}

void StepRecorder::Protect(int protection) const { mprotect(base_, bytes_, protection); }

void StepRecorder::Record(std::byte* base, uint64_t bytes, const std::function<void()>& work) {
  if (bytes > bytes_max_ || active != nullptr) std::abort();
  base_ = base;
  bytes_ = bytes;
  change_count_ = watched_count_ = instructions_ = 0;
  overflowed_ = false;
  std::memcpy(mirror_, base, bytes);
  const StepSignals signals;
  active = this;
  Protect(PROT_READ);
  SetTrapFlag();
  work();
  ClearTrapFlag();
  Protect(PROT_READ | PROT_WRITE);
  active = nullptr;
}

void StepRecorder::OnTrap(int, void*, void* context) {
  if (active == nullptr) return;
  ++active->instructions_;
  const uint64_t address =
      InstructionAddress(context) -
      static_cast<uint64_t>(&__executable_start - static_cast<const char*>(nullptr));
  for (uint64_t i = 0; i < active->watched_count_; ++i) {
    active->ComparePage(active->watched_[i], address);
  }
}

bool StepRecorder::OnFault(void* address) {
  if (active == nullptr) return false;
  const auto* at = static_cast<std::byte*>(address);
  if (at < active->base_ || at >= active->base_ + active->bytes_) return false;
  const uint64_t page = static_cast<uint64_t>(at - active->base_) / kPage;
  for (uint64_t i = 0; i < active->watched_count_; ++i) {
    if (active->watched_[i] == page) return false;  // writable already: a fault of another kind
  }
  active->Watch(page);
  return true;
}

void StepRecorder::Watch(uint64_t page) {
  watched_[watched_count_++] = static_cast<uint32_t>(page);
  mprotect(base_ + page * kPage, kPage, PROT_READ | PROT_WRITE);
}

void StepRecorder::ComparePage(uint64_t page, uint64_t address) {
  std::byte* now = base_ + page * kPage;
  std::byte* before = mirror_ + page * kPage;
  if (std::memcmp(now, before, kPage) == 0) return;
  for (uint64_t at = 0; at < kPage; at += 8) {
    uint64_t value = 0;
    uint64_t old = 0;
    std::memcpy(&value, now + at, 8);
    std::memcpy(&old, before + at, 8);
    if (value == old) continue;
    std::memcpy(before + at, &value, 8);
    if (change_count_ == changes_max_) {
      overflowed_ = true;
      continue;
    }
    changes_[change_count_++] = {instructions_, address,
                                 static_cast<uint32_t>((page * kPage + at) / 8), 0, value};
  }
}

}  // namespace thole::shm::testing
