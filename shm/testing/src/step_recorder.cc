#include "step_recorder.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "displaced_store.h"

extern "C" const char __executable_start;  // of the linker

namespace thole::shm::testing {
namespace {

// A signal handler gets no argument of ours: the one recorder that is running.
StepRecorder* active = nullptr;

// Of the code of this process, for all recorders.
DisplacedStores& Stores() {
  static DisplacedStores stores;
  return stores;
}

// Where a store to `address` may have changed something: it is 16 bytes at most, and where it
// crosses a page the address may be that of its second half.
constexpr uint64_t kStoreBytesMax = 16;

void* MapMemory(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the stepper");
    std::abort();
  }
  return memory;
}

greg_t* Registers(void* context) { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs; }

uint64_t InstructionAddress(void* context) {
  return static_cast<uint64_t>(Registers(context)[REG_RIP]);
}
// Whether the interrupted code shall run one instruction alone.
void SetTrapFlag(void* context, bool on) {
  constexpr greg_t kTrapFlag = 0x100;
  greg_t& flags = Registers(context)[REG_EFL];
  flags = on ? flags | kTrapFlag : flags & ~kTrapFlag;
}
void GoToCopy(void* context, const DisplacedStores::Store& store) {
  constexpr int kByNumber[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};
  Registers(context)[kByNumber[store.base]] += kAliasDistance;
  Registers(context)[REG_RIP] = static_cast<greg_t>(store.copy);
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
      const uint64_t instruction = InstructionAddress(context);
      switch (active->OnFault(static_cast<std::byte*>(info->si_addr), instruction)) {
        case StepRecorder::Fault::kStep:
          SetTrapFlag(context, true);
          break;
        case StepRecorder::Fault::kDisplaced:
          GoToCopy(context, *Stores().Find(instruction));
          break;
        case StepRecorder::Fault::kForeign:
          signal(SIGSEGV, SIG_DFL);  // it faults again, and that is the end
      }
    };
    sigaction(SIGSEGV, &action, &old_fault_);
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
      SetTrapFlag(context, false);
      active->OnTrap(InstructionAddress(context));
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
  Stores();
}

StepRecorder::~StepRecorder() {
  munmap(mirror_, bytes_max_);
  munmap(changes_, changes_max_ * sizeof(Change));
}

void StepRecorder::Record(std::byte* base, uint64_t bytes, const std::function<void()>& work) {
  if (bytes > bytes_max_ || active != nullptr) std::abort();
  base_ = base;
  bytes_ = bytes;
  change_count_ = instructions_ = displaced_ = open_count_ = 0;
  overflowed_ = pending_ = false;
  std::memcpy(mirror_, base, bytes);
  alias_ = MapAlias();
  const StepSignals signals;
  active = this;
  mprotect(base, bytes, PROT_READ);
  work();
  mprotect(base, bytes, PROT_READ | PROT_WRITE);
  active = nullptr;
  ComparePending();
  if (alias_) munmap(base + kAliasDistance, bytes);
}

/// The same memory once more, where displaced stores look for it.
bool StepRecorder::MapAlias() {
  std::byte* const wanted = base_ + kAliasDistance;
  void* const free = mmap(wanted, bytes_, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (free != wanted) {
    if (free != MAP_FAILED) munmap(free, bytes_);
    return false;
  }
  // An old size of 0 makes a second mapping of shared memory.
  if (mremap(base_, 0, bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, wanted) == wanted) return true;
  munmap(wanted, bytes_);
  return false;
}

StepRecorder::Fault StepRecorder::OnFault(const std::byte* address, uint64_t instruction) {
  if (address < base_ || address >= base_ + bytes_) return Fault::kForeign;
  ComparePending();
  const auto at = static_cast<uint64_t>(address - base_);
  const DisplacedStores::Store* known = alias_ ? Stores().Find(instruction) : nullptr;
  if (known != nullptr && known->copy != 0 && open_count_ == 0) {
    ++instructions_;
    ++displaced_;
    pending_ = true;
    pending_at_ = at;
    pending_instruction_ = instruction;
    return Fault::kDisplaced;
  }
  const uint64_t page = at / kPage;
  for (uint32_t i = 0; i < open_count_; ++i) {
    if (open_[i] == page) return Fault::kForeign;  // writable already: a fault of another kind
  }
  if (open_count_ == kOpenMax) return Fault::kForeign;
  open_[open_count_++] = page;
  instruction_ = instruction;
  return mprotect(base_ + page * kPage, kPage, PROT_READ | PROT_WRITE) == 0 ? Fault::kStep
                                                                            : Fault::kForeign;
}

void StepRecorder::OnTrap(uint64_t next) {
  ++instructions_;
  for (uint32_t i = 0; i < open_count_; ++i) {
    ComparePage(open_[i]);
    mprotect(base_ + open_[i] * kPage, kPage, PROT_READ);
  }
  if (open_count_ == 1) Stores().Learn(instruction_, next);
  open_count_ = 0;
}

void StepRecorder::ComparePending() {
  if (!pending_) return;
  pending_ = false;
  const uint64_t from = pending_at_ < kStoreBytesMax ? 0 : pending_at_ - kStoreBytesMax;
  const uint64_t to = std::min(pending_at_ + kStoreBytesMax, bytes_);
  for (uint64_t at = from / 8 * 8; at < to; at += 8) CompareWord(at, pending_instruction_);
}

void StepRecorder::ComparePage(uint64_t page) {
  if (std::memcmp(base_ + page * kPage, mirror_ + page * kPage, kPage) == 0) return;
  for (uint64_t at = page * kPage; at < (page + 1) * kPage; at += 8) CompareWord(at, instruction_);
}

void StepRecorder::CompareWord(uint64_t at, uint64_t address) {
  uint64_t value = 0;
  uint64_t old = 0;
  std::memcpy(&value, base_ + at, 8);
  std::memcpy(&old, mirror_ + at, 8);
  if (value == old) return;
  std::memcpy(mirror_ + at, &value, 8);
  if (change_count_ == changes_max_) {
    overflowed_ = true;
    return;
  }
  changes_[change_count_++] = {instructions_,
                               address - std::bit_cast<uint64_t>(&__executable_start),
                               static_cast<uint32_t>(at / 8), 0, value};
}

}  // namespace thole::shm::testing
