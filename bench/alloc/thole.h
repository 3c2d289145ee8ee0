// thole's heap: processes share it, each block has a loan in the segment that survives its holder.
#pragma once

#include <memory>

#include "program.h"
#include "thole/alloc/persistent_tlsf_allocator.h"

namespace thole::bench {

class Thole {
 public:
  static constexpr bool kProcesses = true;

  Thole(const Options& options, uint64_t heap_bytes);

  /// A participant, through one lane. One call lasts as long as the worker.
  class Worker {
   public:
    Worker(const Thole& system, uint32_t index);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    std::byte* Allocate(uint32_t place, uint64_t bytes) {
      const shm::LoanRef loan(&loans_[place], 0, 0);
      if (heap_->AllocateTo(*lane_, loan, bytes, 16, shm::Deadline::Never()) !=
          shm::BlockResult::kOk) {
        return nullptr;
      }
      return attachment_->view().Bytes(loan->block.load(std::memory_order_relaxed), bytes);  // own
    }
    void Free(uint32_t place) {
      Check(heap_->FreeLoan(*lane_, shm::LoanRef(&loans_[place], 0, 0), shm::Deadline::Never()) ==
                shm::BlockResult::kOk,
            "a block could not be freed");
    }
    uint64_t Give(uint32_t place) {
      const uint64_t block = loans_[place].block.load(std::memory_order_relaxed);  // own loan
      loans_[place].block.store(0, std::memory_order_relaxed);                     // own loan
      return block;
    }
    void Accept(uint32_t place, uint64_t given) {
      loans_[place].block.store(given, std::memory_order_relaxed);  // own loan
    }

    const std::shared_ptr<shm::Attachment>& attachment() const { return attachment_; }
    const std::shared_ptr<alloc::PersistentTlsfAllocator>& heap() const { return heap_; }
    shm::Lane& lane() { return *lane_; }

   private:
    std::shared_ptr<shm::Attachment> attachment_;
    std::shared_ptr<alloc::PersistentTlsfAllocator> heap_;
    shm::LoanData* loans_;
    shm::Call call_;
    shm::Lane* lane_;
  };

  /// What a survivor does about the dead: see recovery.cc.
  static void Recover(const Options& options);

 private:
  shm::Segment segment_;
  alloc::HeapOptions heap_options_;
  int file_;  // a forked worker opens the segment again
};

}  // namespace thole::bench
