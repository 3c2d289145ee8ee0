#include "step_recorder.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <bit>
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

// Where the interrupted code stands, and whether it shall run one instruction alone.
uint64_t InstructionAddress(const void* context) {
  const auto* user = static_cast<const ucontext_t*>(context);
  return static_cast<uint64_t>(user->uc_mcontext.gregs[REG_RIP]);
}
void SetTrapFlag(void* context, bool on) {
  constexpr greg_t kTrapFlag = 0x100;
  greg_t& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
  flags = on ? flags | kTrapFlag : flags & ~kTrapFlag;
}

}  // namespace

/// Installs the two handlers, on a stack of their own, for as long as it lives.
struct StepSignals {
  StepSignals() {
    stack_.ss_sp = MapMemory(kStackBytes);
    stack_.ss_size = kStackBytes;
    sigaltstack(&stack_, &old_stack_);
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = [](int, siginfo_t* info, void* context) {
      if (active->OnFault(static_cast<std::byte*>(info->si_addr), InstructionAddress(context))) {
        SetTrapFlag(context, true);
      } else {
        signal(SIGSEGV, SIG_DFL);  // it faults again, and that is the end
      }
    };
    sigaction(SIGSEGV, &action, &old_fault_);
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
      SetTrapFlag(context, false);
      active->OnTrap();
    };
    sigaction(SIGTRAP, &action, &old_trap_);
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
}

StepRecorder::~StepRecorder() {
  munmap(mirror_, bytes_max_);
  munmap(changes_, changes_max_ * sizeof(Change));
}

void StepRecorder::Record(std::byte* base, uint64_t bytes, const std::function<void()>& work) {
  if (bytes > bytes_max_ || active != nullptr) std::abort();
  base_ = base;
  bytes_ = bytes;
  change_count_ = instructions_ = open_count_ = 0;
  overflowed_ = false;
  std::memcpy(mirror_, base, bytes);
  const StepSignals signals;
  active = this;
  mprotect(base, bytes, PROT_READ);
  work();
  mprotect(base, bytes, PROT_READ | PROT_WRITE);
  active = nullptr;
}

bool StepRecorder::OnFault(const std::byte* address, uint64_t instruction) {
  if (address < base_ || address >= base_ + bytes_) return false;
  const uint64_t page = static_cast<uint64_t>(address - base_) / kPage;
  for (uint32_t i = 0; i < open_count_; ++i) {
    if (open_[i] == page) return false;  // writable already: a fault of another kind
  }
  if (open_count_ == kOpenMax) return false;
  open_[open_count_++] = page;
  address_ = instruction - std::bit_cast<uint64_t>(&__executable_start);
  return mprotect(base_ + page * kPage, kPage, PROT_READ | PROT_WRITE) == 0;
}

void StepRecorder::OnTrap() {
  ++instructions_;
  for (uint32_t i = 0; i < open_count_; ++i) {
    ComparePage(open_[i]);
    mprotect(base_ + open_[i] * kPage, kPage, PROT_READ);
  }
  open_count_ = 0;
}

void StepRecorder::ComparePage(uint64_t page) {
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
    changes_[change_count_++] = {instructions_, address_,
                                 static_cast<uint32_t>((page * kPage + at) / 8), 0, value};
  }
}

}  // namespace thole::shm::testing
