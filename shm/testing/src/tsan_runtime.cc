// The entry points that gcc and clang call with -fsanitize=thread, instead of libtsan's.
//
// Each access is shown to the simulator before it happens. Atomic operations happen here, one at a
// time, since only one fiber runs. Without a WeakMemory interleavings are sequentially consistent;
// with one, it says what loads return.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "sim_core.h"

namespace {

using thole::shm::testing::sim_arena;
using thole::shm::testing::SimAccess;
using thole::shm::testing::SimCore;
using thole::shm::testing::WeakMemory;

enum class Does { kRead, kWrite, kBoth };

/// What the simulator is told about an access at this offset of its arena.
inline SimAccess AccessOf(uint64_t offset, uint64_t bytes, Does does, bool plain,
                          const void* code = nullptr) {
  return {offset, bytes, does != Does::kWrite, does != Does::kRead, plain, code};
}

// Inlined into the entry points, so that the return address is the place of the access.
#define THOLE_ENTRY [[gnu::always_inline]] inline

THOLE_ENTRY void Show(const volatile void* address, uint64_t bytes, Does does) {
  const uint64_t offset = thole::shm::testing::AddressOf(address) - sim_arena.begin;
  if (offset >= sim_arena.bytes) [[likely]]
    return;
  if (does == Does::kRead && sim_arena.IsQuiet(offset, bytes)) return;
  sim_arena.core->Access(
      AccessOf(offset, bytes, does, /*plain=*/true, __builtin_return_address(0)));
}

inline void Reread(const void* address, uint64_t bytes) {
  const uint64_t offset = thole::shm::testing::AddressOf(address) - sim_arena.begin;
  if (offset < sim_arena.bytes)
    sim_arena.core->RememberAccess(AccessOf(offset, bytes, Does::kRead, /*plain=*/true));
}

/// An atomic access as the simulator sees it.
struct Atomic {
  THOLE_ENTRY Atomic(const volatile void* address, uint32_t size, Does does) : bytes(size) {
    const uint64_t offset = thole::shm::testing::AddressOf(address) - sim_arena.begin;
    if (offset >= sim_arena.bytes || (does == Does::kRead && sim_arena.IsQuiet(offset, bytes))) {
      return;
    }
    SimCore& core = *sim_arena.core;
    core.Access(AccessOf(offset, bytes, does, /*plain=*/false, __builtin_return_address(0)));
    weak = core.weak();
    if (weak == nullptr) return;
    me = core.current();
    at = core.OffsetInImage(offset);
  }
  WeakMemory* weak = nullptr;
  uint32_t me = 0;
  uint64_t at = 0;
  uint32_t bytes;
};

template <typename T>
THOLE_ENTRY T DoLoad(const volatile T* a, int order) {
  const Atomic seen(a, sizeof(T), Does::kRead);
  if (seen.weak == nullptr) return __atomic_load_n(a, __ATOMIC_SEQ_CST);
  return static_cast<T>(seen.weak->Load(seen.me, seen.at, seen.bytes, order));
}

template <typename T>
THOLE_ENTRY void DoStore(volatile T* a, T value, int order) {
  const Atomic seen(a, sizeof(T), Does::kWrite);
  if (seen.weak != nullptr) seen.weak->Stored(seen.me, seen.at, seen.bytes, value, order);
  __atomic_store_n(a, value, __ATOMIC_SEQ_CST);
}

/// `change` performs the operation and returns what the word held before.
template <typename T, typename Change>
THOLE_ENTRY T DoExchange(volatile T* a, int order, Change change) {
  const Atomic seen(a, sizeof(T), Does::kBoth);
  if (seen.weak != nullptr) seen.weak->BeginExchange(seen.at, seen.bytes);
  const T before = change();
  if (seen.weak != nullptr) seen.weak->Exchanged(seen.me, seen.at, seen.bytes, *a, order);
  return before;
}

template <typename T>
THOLE_ENTRY bool DoCompare(volatile T* a, T* expected, T value, bool weak, int order,
                           int failure_order) {
  const Atomic seen(a, sizeof(T), Does::kBoth);
  if (seen.weak != nullptr) {
    seen.weak->BeginExchange(seen.at, seen.bytes);
    uint64_t old = 0;
    if (seen.weak->FailsByOldValue(seen.me, seen.at, seen.bytes, *expected, weak, failure_order,
                                   old)) {
      *expected = static_cast<T>(old);
      return false;
    }
  }
  const bool done =
      __atomic_compare_exchange_n(a, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  if (seen.weak == nullptr) return done;
  if (done) {
    seen.weak->Exchanged(seen.me, seen.at, seen.bytes, value, order);
  } else {
    seen.weak->Compared(seen.me, seen.at, seen.bytes, failure_order);
  }
  return done;
}

}  // namespace

#define THOLE_PLAIN(bytes)                                                               \
  void __tsan_read##bytes(void* a) { Show(a, bytes, Does::kRead); }                      \
  void __tsan_write##bytes(void* a) { Show(a, bytes, Does::kWrite); }                    \
  void __tsan_read##bytes##_pc(void* a, void*) { Show(a, bytes, Does::kRead); }          \
  void __tsan_write##bytes##_pc(void* a, void*) { Show(a, bytes, Does::kWrite); }        \
  void __tsan_unaligned_read##bytes(void* a) { Show(a, bytes, Does::kRead); }            \
  void __tsan_unaligned_write##bytes(void* a) { Show(a, bytes, Does::kWrite); }          \
  void __tsan_volatile_read##bytes(void* a) { Show(a, bytes, Does::kRead); }             \
  void __tsan_volatile_write##bytes(void* a) { Show(a, bytes, Does::kWrite); }           \
  void __tsan_unaligned_volatile_read##bytes(void* a) { Show(a, bytes, Does::kRead); }   \
  void __tsan_unaligned_volatile_write##bytes(void* a) { Show(a, bytes, Does::kWrite); } \
  void __tsan_read_write##bytes(void* a) { Show(a, bytes, Does::kBoth); }                \
  void __tsan_unaligned_read_write##bytes(void* a) { Show(a, bytes, Does::kBoth); }

#define THOLE_FETCH(bits, type, name)                                                     \
  type __tsan_atomic##bits##_##name(volatile type* a, type v, int order) {                \
    return DoExchange(a, order, [=] { return __atomic_##name(a, v, __ATOMIC_SEQ_CST); }); \
  }
#define THOLE_COMPARE(bits, type, name, weak)                                                 \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type* a, type* expected, type v, \
                                                    int order, int failure_order) {           \
    return DoCompare(a, expected, v, weak, order, failure_order);                             \
  }

#define THOLE_ATOMIC(bits, type)                                                                  \
  type __tsan_atomic##bits##_load(const volatile type* a, int order) { return DoLoad(a, order); } \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int order) { DoStore(a, v, order); } \
  type __tsan_atomic##bits##_exchange(volatile type* a, type v, int order) {                      \
    return DoExchange(a, order, [=] { return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST); });     \
  }                                                                                               \
  THOLE_FETCH(bits, type, fetch_add)                                                              \
  THOLE_FETCH(bits, type, fetch_sub)                                                              \
  THOLE_FETCH(bits, type, fetch_and)                                                              \
  THOLE_FETCH(bits, type, fetch_or)                                                               \
  THOLE_FETCH(bits, type, fetch_xor)                                                              \
  THOLE_FETCH(bits, type, fetch_nand)                                                             \
  THOLE_COMPARE(bits, type, strong, false)                                                        \
  THOLE_COMPARE(bits, type, weak, true)                                                           \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* a, type expected, type v,        \
                                                  int order, int failure_order) {                 \
    DoCompare(a, &expected, v, false, order, failure_order);                                      \
    return expected;                                                                              \
  }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_vptr_update(void** a, void*) { Show(a, sizeof(void*), Does::kWrite); }
void __tsan_vptr_read(void** a) { Show(a, sizeof(void*), Does::kRead); }
void __tsan_read_range(void* a, size_t bytes) { Show(a, bytes, Does::kRead); }
void __tsan_write_range(void* a, size_t bytes) { Show(a, bytes, Does::kWrite); }
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
  Show(from, bytes, Does::kRead);
  Show(to, bytes, Does::kWrite);
  Reread(from, bytes);  // others may have run since it was shown
  return __real_memmove(to, from, bytes);
}
void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  return __wrap_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int value, size_t bytes) {
  if (bytes == 0) return to;
  Show(to, bytes, Does::kWrite);
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
