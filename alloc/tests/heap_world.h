// The world of the stepper and the simulator: a small heap, with kept loans beside it.
#pragma once

#include <memory>
#include <utility>

#include "kept.h"
#include "shapes.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc::testing {

/// The kept loan that an operation works on, unless it is a block.
inline constexpr uint32_t kResult = 14;

class HeapProcess final : public shm::testing::Process {
 public:
  HeapProcess(std::shared_ptr<shm::Attachment> attachment,
              std::shared_ptr<PersistentTlsfAllocator> heap)
      : Process(std::move(attachment)), heap_(std::move(heap)) {}
  PersistentTlsfAllocator& heap() { return *heap_; }
  const shm::Segment& segment() { return attachment().segment(); }
  shm::LoanRef Kept(uint32_t index) { return KeptLoan(segment(), index); }
  shm::LoanRef Take(shm::Call& call) {
    return attachment().TakeLoan(call.lane(), heap_.get(), shm::Deadline::Never());
  }

 private:
  std::shared_ptr<PersistentTlsfAllocator> heap_;
};

inline HeapProcess& Of(shm::testing::Process& process) {
  return static_cast<HeapProcess&>(process);
}

/// As if its holder were in the middle of a step: freeing it empties these words, too.
inline void Busy(shm::LoanRef loan) {
  loan->ticket.store(shm::PackTicket(shm::LoanKind::kReceive, 5),
                     std::memory_order_release);     // a store that a death may come before
  loan->where.store(77, std::memory_order_release);  // likewise
  loan->lease.store(78, std::memory_order_release);  // likewise
}

class HeapWorld : public shm::testing::World {
 public:
  explicit HeapWorld(const HeapOptions& options = {.batch = 0}) : options_(options) {}
  uint64_t segment_bytes() const override { return 96 << 10; }
  std::vector<shm::RootRequest> Roots() const override {
    auto roots = PersistentTlsfAllocator::Roots();
    roots.insert(roots.begin() + 1, KeptRoot());
    return roots;
  }
  std::unique_ptr<shm::testing::Process> MakeProcess(
      std::shared_ptr<shm::Attachment> attachment) override {
    auto heap = PersistentTlsfAllocator::Open(attachment, options_);
    if (!heap.ok()) return nullptr;
    return std::make_unique<HeapProcess>(std::move(attachment), *std::move(heap));
  }
  void Audit(shm::testing::Process& survivor, shm::Findings& findings) override {
    HeapProcess& me = Of(survivor);
    AuditWhole(me.segment(), findings);
    if (findings.count() != 0) return;
    // The heap still works: what is free can be had, and comes back.
    const uint64_t used = me.heap().Statistics().used_bytes;
    const uint64_t largest = me.heap().Statistics().largest_free_bytes;
    {
      shm::Call call = me.attachment().Enter(1);
      const shm::LoanRef loan =
          me.attachment().TakeLoan(call.lane(), nullptr, shm::Deadline::Now());
      const uint64_t size = largest < 64 ? 0 : largest - 16;
      if (size != 0) {
        if (me.heap().AllocateTo(call.lane(), loan, size, 16, shm::Deadline::Now()) !=
            shm::BlockResult::kOk) {
          findings.Add("works", 0, "the largest free block cannot be allocated");
        } else if (me.heap().FreeLoan(call.lane(), loan, shm::Deadline::Now()) !=
                   shm::BlockResult::kOk) {
          findings.Add("works", 0, "a block cannot be freed");
        }
      }
      me.attachment().loans().Return(loan);
    }
    if (me.heap().Statistics().used_bytes != used) findings.Add("works", 0, "used bytes changed");
    AuditWhole(me.segment(), findings);
  }

 private:
  HeapOptions options_;
};

/// Every call goes to the lists.
inline std::unique_ptr<shm::testing::World> MakeHeapWorld() {
  return std::make_unique<HeapWorld>();
}
/// Magazines of at most four blocks, so that few calls fill and empty them.
inline std::unique_ptr<shm::testing::World> MakeMagazineWorld() {
  return std::make_unique<HeapWorld>(HeapOptions{.batch = 2});
}

}  // namespace thole::alloc::testing
