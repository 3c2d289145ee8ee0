// The work queue: one process, nobody waits.
#include "bench_segment.h"
#include "thole/queue/queue_factory.h"

namespace thole::bench {
namespace {

using queue::PopResult;
using queue::PushResult;
using queue::QueueFactory;

template <size_t bytes>
struct Element {
  uint64_t words[bytes / 8];
};

/// A queue that was laid out with its segment.
template <class T>
class BenchQueue {
 public:
  explicit BenchQueue(uint32_t capacity)
      : attachment_(NewAttachment(
            {Must(QueueFactory::Root("bench", QueueFactory::For<T>({.capacity = capacity})))})),
        names_(attachment_->segment(), shm::ComponentId::kQueue),
        factory_(attachment_, names_, nullptr) {
    Must(attachment_->Join("bench"));
    queue_ = Must(factory_.template Connect<T>("bench"));
  }
  queue::PersistentQueue<T>& operator*() { return queue_; }

 private:
  std::shared_ptr<shm::Attachment> attachment_;
  shm::RootNames names_;
  QueueFactory factory_;
  queue::PersistentQueue<T> queue_;
};

// One element in, one out. The size in bytes decides how many cache lines a cell has.
template <size_t bytes>
void BM_Queue_PushPop(benchmark::State& state) {
  BenchQueue<Element<bytes>> queue(1024);
  Element<bytes> element{};
  for (auto _ : state) {
    Must((*queue).TryPush(element) == PushResult::kOk);
    Must((*queue).TryPop(element) == PopResult::kOk);
  }
}
BENCHMARK(BM_Queue_PushPop<8>);
BENCHMARK(BM_Queue_PushPop<56>);
BENCHMARK(BM_Queue_PushPop<120>);
BENCHMARK(BM_Queue_PushPop<248>);

// The ring filled to its last cell, then drained: every cell is touched once in each direction.
void BM_Queue_FillAndDrain(benchmark::State& state) {
  const auto capacity = static_cast<uint32_t>(state.range(0));
  BenchQueue<Element<56>> queue(capacity);
  Element<56> element{};
  for (auto _ : state) {
    for (uint32_t i = 0; i < capacity; ++i) Must((*queue).TryPush(element) == PushResult::kOk);
    for (uint32_t i = 0; i < capacity; ++i) Must((*queue).TryPop(element) == PopResult::kOk);
  }
  state.SetItemsProcessed(state.iterations() * capacity);
}
BENCHMARK(BM_Queue_FillAndDrain)->Arg(8)->Arg(1024)->Arg(65536);

// The answer of an empty queue: what one turn of a polling consumer costs.
void BM_Queue_Empty(benchmark::State& state) {
  BenchQueue<Element<56>> queue(1024);
  Element<56> element{};
  for (auto _ : state) Must((*queue).TryPop(element) == PopResult::kEmpty);
}
BENCHMARK(BM_Queue_Empty);

}  // namespace
}  // namespace thole::bench
