// The heap: allocating and freeing, nobody else in it.
#include "bench_segment.h"
#include "thole/alloc/persistent_tlsf_allocator.h"

namespace thole::bench {
namespace {

using alloc::PersistentTlsfAllocator;
using shm::BlockResult;
using shm::Deadline;

/// A heap and a lane to work in it.
class BenchHeap {
 public:
  shm::LoanRef TakeLoan() {
    return attachment_->TakeLoan(call_.lane(), heap_.get(), Deadline::Never());
  }
  void Allocate(shm::LoanRef loan, uint64_t bytes) {
    Must(heap_->AllocateTo(call_.lane(), loan, bytes, 64, Deadline::Never()) == BlockResult::kOk);
  }
  void Free(shm::LoanRef loan) {
    Must(heap_->FreeLoan(call_.lane(), loan, Deadline::Never()) == BlockResult::kOk);
  }
  void Shrink(shm::LoanRef loan, uint64_t bytes) {
    Must(heap_->Shrink(call_.lane(), loan, bytes, Deadline::Never()) == BlockResult::kOk);
  }

 private:
  std::shared_ptr<shm::Attachment> attachment_ = NewAttachment(PersistentTlsfAllocator::Roots());
  std::shared_ptr<PersistentTlsfAllocator> heap_ = Must(PersistentTlsfAllocator::Open(attachment_));
  shm::Call call_ = Joined(*attachment_).Enter(1);

  static shm::Attachment& Joined(shm::Attachment& attachment) {
    Must(attachment.Join("bench"));
    return attachment;
  }
};

// A block taken and given back at once; the argument is its size in bytes.
void BM_Alloc_AllocateAndFree(benchmark::State& state) {
  BenchHeap heap;
  const shm::LoanRef loan = heap.TakeLoan();
  for (auto _ : state) {
    heap.Allocate(loan, static_cast<uint64_t>(state.range(0)));
    heap.Free(loan);
  }
}
BENCHMARK(BM_Alloc_AllocateAndFree)->Arg(64)->Arg(1024)->Arg(65536)->Arg(1 << 20);

// Sixty blocks taken, then given back in another order: splits, joins and lists of every kind.
void BM_Alloc_SixtyBlocksOfManySizes(benchmark::State& state) {
  constexpr size_t kBlocks = 60;
  BenchHeap heap;
  std::vector<shm::LoanRef> loans;
  for (size_t i = 0; i < kBlocks; ++i) loans.push_back(heap.TakeLoan());
  for (auto _ : state) {
    for (size_t i = 0; i < kBlocks; ++i) heap.Allocate(loans[i], 32 + i * i * 17 % 9000);
    for (size_t i = 0; i < kBlocks; ++i) heap.Free(loans[i * 7 % kBlocks]);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBlocks));
}
BENCHMARK(BM_Alloc_SixtyBlocksOfManySizes);

// What a message that turned out shorter than reserved costs in addition.
void BM_Alloc_ShrinkToAHalf(benchmark::State& state) {
  BenchHeap heap;
  const shm::LoanRef loan = heap.TakeLoan();
  for (auto _ : state) {
    heap.Allocate(loan, 8192);
    heap.Shrink(loan, 4096);
    heap.Free(loan);
  }
}
BENCHMARK(BM_Alloc_ShrinkToAHalf);

}  // namespace
}  // namespace thole::bench
