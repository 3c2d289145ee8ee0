// OwnHeap: the same heap on memory that the caller mapped, without a segment's name or file.
//
//   #include <thole/alloc/own_heap.h>
//   absl::Status Example(void* base, uint64_t size_bytes) {
//     auto own = thole::alloc::CreateOnMapping(base, size_bytes);
//     if (!own.ok()) return own.status();
//     thole::shm::Call call = own->attachment->Enter(1);
//     // own->heap->AllocateTo(call.lane(), ...)
//     return absl::OkStatus();
//   }
//
// For the threads of one process: there is no file, so the death of another process that maps the
// same memory cannot be seen. The caller keeps the memory mapped until the OwnHeap is gone.
#pragma once

#include <cstdint>
#include <memory>

#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/shm/attachment.h"

namespace thole::alloc {

/// A joined attachment and its heap.
struct OwnHeap {
  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<PersistentTlsfAllocator> heap;
};

/// Formats the memory, which must be zero and page-aligned, and joins. InvalidArgument: too small.
absl::StatusOr<OwnHeap> CreateOnMapping(void* base, uint64_t size_bytes,
                                        const HeapOptions& options = {});
/// Joins a heap that `CreateOnMapping` made on this memory.
absl::StatusOr<OwnHeap> AttachToMapping(void* base, uint64_t size_bytes,
                                        const HeapOptions& options = {});

}  // namespace thole::alloc
