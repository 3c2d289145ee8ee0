#include "fiber.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef THOLE_FIBER_IS_UCONTEXT
// System V ABI: these six registers belong to the caller; everything else is saved by it.
extern "C" void thole_switch_stack(void** save, void* load);
asm(R"(
.text
.globl thole_switch_stack
.type thole_switch_stack, @function
thole_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size thole_switch_stack, . - thole_switch_stack
)");
#endif

namespace thole::shm::testing {

Fiber::Fiber() {
  constexpr size_t kGuardBytes = 4096;
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    std::perror("no memory for a fiber");
    std::abort();
  }
  stack_ = static_cast<char*>(memory);
}

Fiber::~Fiber() { munmap(stack_, kStackBytes); }

#ifdef THOLE_FIBER_IS_UCONTEXT

void SwitchFiber(FiberPlace& from, FiberPlace& to) { swapcontext(&from.context, &to.context); }

void Fiber::Start(void (*entry)()) {
  getcontext(&place_.context);
  place_.context.uc_stack.ss_sp = stack_;
  place_.context.uc_stack.ss_size = kStackBytes;
  place_.context.uc_link = nullptr;
  makecontext(&place_.context, entry, 0);
}

#else

void SwitchFiber(FiberPlace& from, FiberPlace& to) {
  thole_switch_stack(&from.stack_pointer, to.stack_pointer);
}

void Fiber::Start(void (*entry)()) {
  constexpr size_t kSavedRegisters = 6;
  char* at = stack_ + kStackBytes - 64;  // 16-byte aligned; a null return address ends backtraces
  std::memset(at, 0, 64);
  at -= 8;
  std::memset(at, 0, 8);
  at -= 8;
  std::memcpy(at, &entry, sizeof(entry));
  at -= kSavedRegisters * 8;
  std::memset(at, 0, kSavedRegisters * 8);
  place_.stack_pointer = at;
}

#endif

}  // namespace thole::shm::testing
