// The entry points that gcc and clang call with -fsanitize=thread, instead of libtsan's.
//
// Each access is shown to the simulator before it happens. Atomic operations happen here, one at a
// time, since only one fiber runs: interleavings are sequentially consistent.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "sim_core.h"

namespace {

using thole::shm::testing::sim_arena;

inline void Show(const volatile void* address, uint64_t bytes, bool write) {
  const uint64_t offset = thole::shm::testing::AddressOf(address) - sim_arena.begin;
  if (offset < sim_arena.bytes) [[unlikely]]
    sim_arena.core->Access(offset, bytes, write);
}

}  // namespace

#define THOLE_PLAIN(bytes)                                                       \
  void __tsan_read##bytes(void* a) { Show(a, bytes, false); }                    \
  void __tsan_write##bytes(void* a) { Show(a, bytes, true); }                    \
  void __tsan_read##bytes##_pc(void* a, void*) { Show(a, bytes, false); }        \
  void __tsan_write##bytes##_pc(void* a, void*) { Show(a, bytes, true); }        \
  void __tsan_unaligned_read##bytes(void* a) { Show(a, bytes, false); }          \
  void __tsan_unaligned_write##bytes(void* a) { Show(a, bytes, true); }          \
  void __tsan_volatile_read##bytes(void* a) { Show(a, bytes, false); }           \
  void __tsan_volatile_write##bytes(void* a) { Show(a, bytes, true); }           \
  void __tsan_unaligned_volatile_read##bytes(void* a) { Show(a, bytes, false); } \
  void __tsan_unaligned_volatile_write##bytes(void* a) { Show(a, bytes, true); } \
  void __tsan_read_write##bytes(void* a) { Show(a, bytes, true); }               \
  void __tsan_unaligned_read_write##bytes(void* a) { Show(a, bytes, true); }

#define THOLE_FETCH(bits, type, name)                                \
  type __tsan_atomic##bits##_##name(volatile type* a, type v, int) { \
    Show(a, bits / 8, true);                                         \
    return __atomic_##name(a, v, __ATOMIC_SEQ_CST);                  \
  }
#define THOLE_COMPARE(bits, type, name)                                                            \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type* a, type* expected, type v, int, \
                                                    int) {                                         \
    Show(a, bits / 8, true);                                                                       \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }

#define THOLE_ATOMIC(bits, type)                                                                \
  type __tsan_atomic##bits##_load(const volatile type* a, int) {                                \
    Show(a, bits / 8, false);                                                                   \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                \
  }                                                                                             \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int) {                             \
    Show(a, bits / 8, true);                                                                    \
    __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                             \
  type __tsan_atomic##bits##_exchange(volatile type* a, type v, int) {                          \
    Show(a, bits / 8, true);                                                                    \
    return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST);                                         \
  }                                                                                             \
  THOLE_FETCH(bits, type, fetch_add)                                                            \
  THOLE_FETCH(bits, type, fetch_sub)                                                            \
  THOLE_FETCH(bits, type, fetch_and)                                                            \
  THOLE_FETCH(bits, type, fetch_or)                                                             \
  THOLE_FETCH(bits, type, fetch_xor)                                                            \
  THOLE_FETCH(bits, type, fetch_nand)                                                           \
  THOLE_COMPARE(bits, type, strong)                                                             \
  THOLE_COMPARE(bits, type, weak)                                                               \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* a, type expected, type v, int, \
                                                  int) {                                        \
    Show(a, bits / 8, true);                                                                    \
    __atomic_compare_exchange_n(a, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
    return expected;                                                                            \
  }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_vptr_update(void** a, void*) { Show(a, sizeof(void*), true); }
void __tsan_vptr_read(void** a) { Show(a, sizeof(void*), false); }
void __tsan_read_range(void* a, size_t bytes) { Show(a, bytes, false); }
void __tsan_write_range(void* a, size_t bytes) { Show(a, bytes, true); }
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

THOLE_PLAIN(1)
THOLE_PLAIN(2)
THOLE_PLAIN(4)
THOLE_PLAIN(8)
THOLE_PLAIN(16)
THOLE_ATOMIC(8, uint8_t)
THOLE_ATOMIC(16, uint16_t)
THOLE_ATOMIC(32, uint32_t)
THOLE_ATOMIC(64, uint64_t)

// clang calls the first three of these, gcc the C library: the linker wraps those calls.
void* __real_memcpy(void* to, const void* from, size_t bytes);
void* __real_memmove(void* to, const void* from, size_t bytes);
void* __real_memset(void* to, int value, size_t bytes);

void* __wrap_memmove(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return to;
  Show(from, bytes, false);
  Show(to, bytes, true);
  return __real_memmove(to, from, bytes);
}
void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  return __wrap_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int value, size_t bytes) {
  if (bytes == 0) return to;
  Show(to, bytes, true);
  return __real_memset(to, value, bytes);
}
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  return __wrap_memmove(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  return __wrap_memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) { return __wrap_memset(to, value, bytes); }

}  // extern "C"
