// DisplacedStores: store instructions that run elsewhere instead of under the trap flag.
//
// A trap costs ten times what a fault does on a virtual machine. So an instruction is stepped once;
// after that it is known where it ends, and if it is a plain store through a base register, it runs
// from a copy: the fault handler moves the base register to a second, writable mapping of the same
// memory, kAliasDistance away, and goes on at
//
//     the instruction, byte for byte
//     lea -kAliasDistance(base), base      no flags change
//     jmp behind the original
//
// Whatever is not surely such a store (vector extensions, string operations, a base register that
// is an operand as well) keeps being stepped.
#pragma once

#include <cstdint>

namespace thole::shm::testing {

inline constexpr int64_t kAliasDistance = -(int64_t{1} << 30);

class DisplacedStores {
 public:
  struct Store {
    uint64_t instruction;  // where the original is; 0 = an empty entry
    uint64_t copy;         // where to go on; 0 = must be stepped
    uint32_t base;         // the number of the register that addresses
  };

  DisplacedStores();
  /// What is known of an instruction; null when it never ran.
  const Store* Find(uint64_t instruction) const;
  /// It was stepped, and the next one was at `next`. Called in signal handlers: allocates nothing.
  void Learn(uint64_t instruction, uint64_t next);

 private:
  static constexpr uint32_t kEntries = 1 << 14;
  static constexpr uint32_t kCopyBytes = 48;
  Store* Entry(uint64_t instruction) const;

  Store* entries_;
  unsigned char* code_;
  uint32_t used_ = 0;
};

/// The number of the base register when the `size` bytes at `code` are a store that may run
/// elsewhere, else -1.
int BaseOfStore(const unsigned char* code, uint64_t size);

}  // namespace thole::shm::testing
