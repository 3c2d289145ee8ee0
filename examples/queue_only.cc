// The queue alone: thole::queue and what is under it, no heap, no names, no channels.
//
// The queue is laid out when the segment is made, as one of its roots, and its elements lie in its
// cells. Two processes; the segment is a memfd that the child inherits.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "thole/queue/queue_factory.h"

namespace {

namespace shm = thole::shm;
using thole::queue::PopResult;
using thole::queue::PushResult;
using thole::queue::QueueFactory;
using thole::queue::QueueOptions;

struct Sample {
  uint64_t number;
  double value;
};
constexpr uint64_t kSamples = 100'000;

absl::StatusOr<shm::Segment> MakeSegment() {
  QueueOptions options = QueueFactory::For<Sample>({.capacity = 256});
  auto root = QueueFactory::Root("samples", options);
  if (!root.ok()) return root.status();
  const std::vector<shm::RootRequest> roots = {*root};
  return shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = uint64_t{1} << 20}, roots);
}

// Takes a seat, finds the queue and hands it to `use`.
template <class Use>
absl::Status WithQueue(shm::Segment segment, const char* name, Use use) {
  auto attachment = shm::Attachment::Make(std::move(segment));
  if (!attachment.ok()) return attachment.status();
  shm::RootNames names((*attachment)->segment(), shm::ComponentId::kQueue);
  QueueFactory factory(*attachment, names, nullptr);  // before Join: it brings what repairs queues
  if (auto joined = (*attachment)->Join(name); !joined.ok()) return joined;
  auto queue = factory.Connect<Sample>("samples");
  if (!queue.ok()) return queue.status();
  if (auto used = use(*queue); !used.ok()) return used;
  return (*attachment)->Leave(shm::Deadline::Never());
}

absl::Status Produce(shm::Segment segment) {
  return WithQueue(std::move(segment), "producer", [](const auto& queue) -> absl::Status {
    for (uint64_t i = 0; i < kSamples; ++i) {
      const Sample sample{i, static_cast<double>(i) / 2};
      if (queue.Push(sample, shm::Deadline::In(std::chrono::seconds(10))) != PushResult::kOk) {
        return absl::InternalError("a push failed");
      }
    }
    queue.Close();  // no more; what is in it can still be taken
    return absl::OkStatus();
  });
}

absl::Status Consume(shm::Segment segment) {
  return WithQueue(std::move(segment), "consumer", [](const auto& queue) -> absl::Status {
    uint64_t expected = 0;
    Sample sample;
    for (;;) {
      const PopResult result = queue.Pop(sample, shm::Deadline::In(std::chrono::seconds(10)));
      if (result == PopResult::kClosed) break;
      if (result != PopResult::kOk) return absl::InternalError("a pop failed");
      if (sample.number != expected++) return absl::DataLossError("a sample is missing");
    }
    std::printf("%llu samples in order\n", static_cast<unsigned long long>(expected));
    return expected == kSamples ? absl::OkStatus() : absl::DataLossError("samples are missing");
  });
}

int Report(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() {
  auto segment = MakeSegment();
  if (!segment.ok()) return Report(segment.status());
  const int file = segment->file();
  const pid_t producer = fork();
  if (producer == 0) {
    // The parent's mapping is not here; the descriptor is.
    auto mine = shm::Segment::Open(shm::Place::Descriptor(file), {});
    _exit(Report(mine.ok() ? Produce(*std::move(mine)) : mine.status()));
  }
  const int consumed = Report(Consume(*std::move(segment)));
  int produced = 0;
  waitpid(producer, &produced, 0);
  return produced == 0 ? consumed : EXIT_FAILURE;
}
