// What the recorder notes is what the instructions did, whether they are stepped or displaced.
#include "step_recorder.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "displaced_store.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kBytes = 3 * 4096;

class Mapping {
 public:
  Mapping()
      : base_(static_cast<std::byte*>(
            mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Mapping() { munmap(base_, kBytes); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::byte* base() { return base_; }
  std::vector<std::byte> bytes() { return {base_, base_ + kBytes}; }

 private:
  std::byte* base_;
};

/// Stores of all kinds that a compiler makes of atomics and of payloads, `from` on; a sum of what
/// they returned. Never inlined: the same instructions each time.
[[gnu::noinline]] uint64_t StoreMuch(std::byte* from, uint64_t value) {
  uint64_t sum = 0;
  auto* bytes = from;
  // An immediate, a register, each width, with an index, and 12 bytes over the end of a page.
  asm volatile(
      "movq $77, (%[p])\n\t"
      "mov %[v], 8(%[p])\n\t"
      "movl %k[v], 16(%[p])\n\t"
      "movw %w[v], 20(%[p])\n\t"
      "movb %b[v], 22(%[p])\n\t"
      "movq %[v], 24(%[p],%[one],8)\n\t"
      "movq %[v], %%xmm0\n\t"
      "punpcklqdq %%xmm0, %%xmm0\n\t"
      "movups %%xmm0, 4084(%[p])\n\t"
      "movq %[v], 4093(%[p])\n\t"
      "addq $5, 40(%[p])\n\t"
      "lock orq %[v], 48(%[p])\n\t"
      "mov %[p], %%r12\n\t"
      "movq %[v], 64(%%r12)\n\t"
      "mov %[p], %%r13\n\t"
      "movq %[v], (%%r13)\n\t"
      "xor %%r12, %%r13\n\t"
      "add %%r13, %[sum]\n\t"  // 0: both were put back
      : [sum] "+r"(sum)
      : [p] "r"(bytes), [v] "r"(value), [one] "r"(uint64_t{1})
      : "memory", "xmm0", "r12", "r13", "cc");
  // Results and flags.
  uint64_t old = value;
  asm volatile("lock xaddq %[old], 72(%[p])" : [old] "+r"(old) : [p] "r"(bytes) : "memory", "cc");
  sum += old;
  uint64_t expected = old;
  bool equal = false;
  asm volatile("lock cmpxchgq %[v], 80(%[p])"
               : "+a"(expected), "=@cce"(equal)
               : [p] "r"(bytes), [v] "r"(value)
               : "memory");
  sum += equal ? 1000 : 1;
  asm volatile("xchgq %[old], 88(%[p])" : [old] "+r"(old) : [p] "r"(bytes) : "memory");
  // What may not run elsewhere: the base is an operand, and a string operation.
  asm volatile("movq %[p], 96(%[p])" : : [p] "r"(bytes) : "memory");
  std::byte* to = bytes + 104;
  uint64_t count = 8;
  asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  std::memset(from + 200, static_cast<int>(value), 300);
  return sum + static_cast<uint64_t>(to - bytes);
}

struct Recorded {
  std::vector<StepRecorder::Change> changes;
  uint64_t instructions;
  uint64_t displaced;
  uint64_t sum;
  std::vector<std::byte> bytes;
};

Recorded RecordOnce(Mapping& mapping, uint64_t value) {
  std::memset(mapping.base(), 0, kBytes);
  StepRecorder recorder(kBytes, 10000);
  uint64_t sum = 0;
  recorder.Record(mapping.base(), kBytes, [&] { sum = StoreMuch(mapping.base(), value); });
  return {{recorder.changes().begin(), recorder.changes().end()},
          recorder.instructions(),
          recorder.displaced(),
          sum,
          mapping.bytes()};
}

TEST(StepRecorder, NotesTheSameWhetherInstructionsAreSteppedOrDisplaced) {
  Mapping mapping;
  std::memset(mapping.base(), 0, kBytes);
  const uint64_t sum = StoreMuch(mapping.base(), 0x1122334455667788);
  const std::vector<std::byte> bytes = mapping.bytes();
  const Recorded stepped = RecordOnce(mapping, 0x1122334455667788);
  const Recorded displaced = RecordOnce(mapping, 0x1122334455667788);
  EXPECT_EQ(stepped.displaced, 0u) << "none of them was known";
  EXPECT_GE(displaced.displaced, 14u);
  EXPECT_LT(displaced.displaced, displaced.instructions) << "some must always be stepped";
  EXPECT_EQ(stepped.instructions, displaced.instructions);
  for (const Recorded* recorded : {&stepped, &displaced}) {
    EXPECT_EQ(recorded->sum, sum);
    EXPECT_EQ(recorded->bytes, bytes);
  }
  ASSERT_EQ(stepped.changes.size(), displaced.changes.size());
  for (size_t i = 0; i < stepped.changes.size(); ++i) {
    const StepRecorder::Change& a = stepped.changes[i];
    const StepRecorder::Change& b = displaced.changes[i];
    EXPECT_EQ(a.instruction, b.instruction) << i;
    EXPECT_EQ(a.address, b.address) << i;
    EXPECT_EQ(a.word, b.word) << i;
    EXPECT_EQ(a.value, b.value) << i;
  }
}

int BaseOf(std::vector<unsigned char> code) { return BaseOfStore(code.data(), code.size()); }

TEST(DisplacedStores, RefuseWhateverIsNotSurelyAPlainStoreThroughABaseRegister) {
  EXPECT_EQ(BaseOf({0x48, 0x89, 0x10}), 0);                    // mov %rdx,(%rax)
  EXPECT_EQ(BaseOf({0x48, 0xc7, 0x40, 0xe0, 0, 0, 0, 0}), 0);  // movq $0,-0x20(%rax)
  EXPECT_EQ(BaseOf({0x49, 0x89, 0x04, 0x24}), 12);             // mov %rax,(%r12)
  EXPECT_EQ(BaseOf({0xf0, 0x48, 0x0f, 0xb1, 0x11}), 1);        // lock cmpxchg %rdx,(%rcx)
  EXPECT_EQ(BaseOf({0xf3, 0x0f, 0x7f, 0x07}), 7);              // movdqu %xmm0,(%rdi)
  EXPECT_EQ(BaseOf({0x48, 0x89, 0x00}), -1);                   // mov %rax,(%rax)
  EXPECT_EQ(BaseOf({0xf0, 0x48, 0x0f, 0xb1, 0x10}), -1);       // lock cmpxchg %rdx,(%rax)
  EXPECT_EQ(BaseOf({0x48, 0x89, 0x14, 0x00}), -1);             // mov %rdx,(%rax,%rax)
  EXPECT_EQ(BaseOf({0x48, 0x89, 0x15, 0, 0, 0, 0}), -1);       // mov %rdx,0(%rip)
  EXPECT_EQ(BaseOf({0x48, 0x89, 0x44, 0x24, 0x08}), -1);       // mov %rax,8(%rsp)
  EXPECT_EQ(BaseOf({0x48, 0x8b, 0x10}), -1);                   // mov (%rax),%rdx: a load
  EXPECT_EQ(BaseOf({0x88, 0x20}), -1);                         // mov %ah,(%rax)
  EXPECT_EQ(BaseOf({0xff, 0x30}), -1);                         // push (%rax)
  EXPECT_EQ(BaseOf({0xff, 0x10}), -1);                         // call *(%rax)
  EXPECT_EQ(BaseOf({0xf3, 0x48, 0xab}), -1);                   // rep stos
  EXPECT_EQ(BaseOf({0xc5, 0xfa, 0x7f, 0x07}), -1);             // vmovdqu %xmm0,(%rdi)
  EXPECT_EQ(BaseOf({0x48, 0x39, 0x10}), -1);                   // cmp %rdx,(%rax)
  EXPECT_EQ(BaseOf({0x0f, 0xc7, 0x0f}), -1);                   // cmpxchg8b (%rdi)
}

}  // namespace
}  // namespace thole::shm::testing
