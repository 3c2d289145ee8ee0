#include "displaced_store.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace thole::shm::testing {
namespace {

constexpr int kNo = -1;
constexpr uint32_t kRax = 0;
constexpr uint32_t kRsp = 4;

void* MapMemory(uint64_t bytes, int protection) {
  void* memory =
      mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the stepper");
    std::abort();
  }
  return memory;
}

template <size_t n>
bool OneOf(unsigned char value, const std::array<unsigned char, n>& list) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// One-byte opcodes that store to a memory operand. `extension`: the middle field of ModRM.
bool StoresToMemory(unsigned char opcode, uint32_t extension) {
  if (opcode < 0x38) return (opcode & 7) < 2;                       // add or adc sbb and sub xor
  if (OneOf<3>(opcode, {0x80, 0x81, 0x83})) return extension != 7;  // 7 compares
  if (opcode == 0xf6 || opcode == 0xf7) return extension == 2 || extension == 3;  // not neg
  if (opcode == 0xfe || opcode == 0xff) return extension < 2;                     // inc dec
  return OneOf<6>(opcode, {0x86, 0x87, 0x88, 0x89, 0xc6, 0xc7});                  // xchg mov
}

/// The same behind 0x0f: conditions, cmpxchg and xadd, movnti, and the stores of SSE.
bool StoresToMemory0f(unsigned char opcode) {
  if (opcode >= 0x90 && opcode <= 0x9f) return true;
  return OneOf<13>(opcode,
                   {0xb0, 0xb1, 0xc0, 0xc1, 0xc3, 0x11, 0x13, 0x17, 0x29, 0x2b, 0x7f, 0xd6, 0xe7});
}

}  // namespace

int BaseOfStore(const unsigned char* code, uint64_t size) {
  uint64_t at = 0;
  while (at < size && OneOf<4>(code[at], {0x66, 0xf0, 0xf2, 0xf3})) ++at;
  const bool repeated = at > 0 && (code[at - 1] & 0xfe) == 0xf2;
  unsigned char rex = 0;
  if (at < size && (code[at] & 0xf0) == 0x40) rex = code[at++];
  if (at + 2 > size) return kNo;
  const bool long_opcode = code[at] == 0x0f;
  if (long_opcode) ++at;
  if (at + 2 > size || (repeated && !long_opcode)) return kNo;
  const unsigned char opcode = code[at++];
  const uint32_t mode = code[at] >> 6;
  const uint32_t middle = code[at] >> 3 & 7;
  const uint32_t low = code[at] & 7;
  ++at;
  if (mode == 3) return kNo;  // no memory operand
  if (!(long_opcode ? StoresToMemory0f(opcode) : StoresToMemory(opcode, middle))) return kNo;
  // The middle field is a register, or a part of the opcode where an immediate follows.
  const bool immediate = !long_opcode && opcode >= 0x80 &&
                         OneOf<3>(opcode & 0xf0, {0x80, 0xc0, 0xf0}) &&
                         !OneOf<4>(opcode, {0x86, 0x87, 0x88, 0x89});
  // Without a REX prefix 4..7 may be the high bytes of other registers.
  if (!immediate && rex == 0 && middle >= 4 && (opcode & 1) == 0) return kNo;
  uint32_t base = low | (rex & 1) << 3;
  if (low == kRsp) {  // a SIB byte follows
    if (at >= size) return kNo;
    const uint32_t index = (code[at] >> 3 & 7) | (rex & 2) << 2;
    base = (code[at] & 7) | (rex & 1) << 3;
    if ((code[at] & 7) == 5 && mode == 0) return kNo;  // no base
    if (index == base && index != kRsp) return kNo;
  } else if (low == 5 && mode == 0) {
    return kNo;  // relative to the instruction
  }
  const uint32_t operand = middle | (rex & 4) << 1;
  const bool exchanges = long_opcode && (opcode == 0xb0 || opcode == 0xb1);
  if ((!immediate && base == operand) || base == kRsp || (exchanges && base == kRax)) return kNo;
  return static_cast<int>(base);
}

DisplacedStores::DisplacedStores()
    : entries_(static_cast<Store*>(MapMemory(kEntries * sizeof(Store), PROT_READ | PROT_WRITE))),
      code_(static_cast<unsigned char*>(
          MapMemory(kEntries * kCopyBytes, PROT_READ | PROT_WRITE | PROT_EXEC))) {}

DisplacedStores::Store* DisplacedStores::Entry(uint64_t instruction) const {
  for (uint64_t i = instruction * 0x9e3779b97f4a7c15 >> 50;; i = (i + 1) % kEntries) {
    if (entries_[i].instruction == instruction || entries_[i].instruction == 0) return &entries_[i];
  }
}

const DisplacedStores::Store* DisplacedStores::Find(uint64_t instruction) const {
  const Store* entry = Entry(instruction);
  return entry->instruction == 0 ? nullptr : entry;
}

void DisplacedStores::Learn(uint64_t instruction, uint64_t next) {
  constexpr uint64_t kLongest = 15;
  Store* entry = Entry(instruction);
  if (entry->instruction != 0 || used_ == kEntries / 2) return;
  entry->instruction = instruction;
  unsigned char* copy = code_ + uint64_t{used_++} * kCopyBytes;
  const uint64_t size = next - instruction;
  if (size == 0 || size > kLongest) return;  // a repeated string operation
  const auto* original = reinterpret_cast<const unsigned char*>(instruction);
  const int base = BaseOfStore(original, size);
  if (base == kNo) return;
  entry->base = static_cast<uint32_t>(base);
  entry->copy = reinterpret_cast<uint64_t>(copy);
  std::memcpy(copy, original, size);
  copy += size;
  const auto number = static_cast<unsigned char>(base);
  *copy++ = static_cast<unsigned char>(0x48 | (number >> 3) | (number >> 3) << 2);  // REX.W R B
  *copy++ = 0x8d;                                                                   // lea
  *copy++ = static_cast<unsigned char>(0x80 | (number & 7) << 3 | (number & 7));
  if ((number & 7) == kRsp) *copy++ = 0x24;  // r12 needs a SIB byte
  const auto back = static_cast<int32_t>(-kAliasDistance);
  std::memcpy(copy, &back, 4);
  copy += 4;
  *copy++ = 0xff;  // jmp *0(%rip)
  *copy++ = 0x25;
  std::memset(copy, 0, 4);
  std::memcpy(copy + 4, &next, 8);
}

}  // namespace thole::shm::testing
