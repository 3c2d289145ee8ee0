#include "run_heap.h"

#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace thole::shm::testing {

constinit thread_local bool inside_run_heap = false;

namespace {

constexpr uint64_t kRoomBytes = uint64_t{1} << 30;  // of addresses; only what is used costs memory

// Not an object with a constructor: `operator new` runs before those of any file.
std::byte* base = nullptr;
uint64_t bytes_used = 0;
uint64_t marked_bytes = 0;
std::byte* marked = nullptr;

std::byte* Map(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) return static_cast<std::byte*>(memory);
  std::perror("no memory for the heap of a run");
  std::abort();
}

}  // namespace

void RunHeap::Clear() {
  if (base == nullptr) base = Map(kRoomBytes);
  bytes_used = 0;
}

void RunHeap::Mark() {
  if (marked != nullptr) munmap(marked, marked_bytes);
  marked_bytes = bytes_used;
  marked = Map(marked_bytes + 1);
  std::memcpy(marked, base, marked_bytes);
}

void RunHeap::Rewind() { Restore({marked, marked_bytes}); }

std::span<std::byte> RunHeap::used() { return {base, bytes_used}; }

void RunHeap::Restore(std::span<const std::byte> copy) {
  std::memcpy(base, copy.data(), copy.size());
  bytes_used = copy.size();
}

bool RunHeap::Contains(uint64_t address) {
  return base != nullptr && address - std::bit_cast<uint64_t>(base) < kRoomBytes;
}

const void* RunHeap::FindAddress(const void* begin, const void* end) {
  const auto* at = static_cast<const std::byte*>(begin);
  for (; at + sizeof(uint64_t) <= end; at += sizeof(uint64_t)) {
    uint64_t value = 0;
    std::memcpy(&value, at, sizeof(value));
    if (Contains(value) && at != static_cast<const void*>(&base)) return at;
  }
  return nullptr;
}

void* RunHeap::Allocate(size_t bytes, size_t align) {
  const uint64_t at = (bytes_used + align - 1) & ~(uint64_t{align} - 1);
  if (base == nullptr || at + bytes > kRoomBytes) return nullptr;
  bytes_used = at + bytes;
  return base + at;
}

}  // namespace thole::shm::testing

namespace {

constexpr size_t kAlign = 16;

void* Allocate(size_t bytes, size_t align) {
  using thole::shm::testing::RunHeap;
  if (thole::shm::testing::inside_run_heap) {
    if (void* memory = RunHeap::Allocate(bytes, align); memory != nullptr) return memory;
  }
  const size_t rounded = (bytes + align - 1) / align * align;
  void* memory = align <= kAlign ? std::malloc(bytes) : std::aligned_alloc(align, rounded);
  if (memory == nullptr) std::abort();
  return memory;
}

void Free(void* memory) {
  const auto address = std::bit_cast<uint64_t>(memory);
  if (!thole::shm::testing::RunHeap::Contains(address)) std::free(memory);
}

}  // namespace

// All other forms of new and delete call these.
void* operator new(size_t bytes) { return Allocate(bytes, kAlign); }
void* operator new(size_t bytes, std::align_val_t align) {
  return Allocate(bytes, static_cast<size_t>(align));
}
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
