// thole_bench: what a message, an element of a queue and a block of the heap cost, beside the bare
// cache line of the same machine in the same run. README.md says what that does and does not mean.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "peer.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/queue/queue_factory.h"

namespace thole::bench {
namespace {

constexpr int kRepetitions = 9;
constexpr uint64_t kBareRounds = 20'000;
constexpr uint64_t kMessageRounds = 5'000;
constexpr uint64_t kElements = 200'000;
constexpr uint64_t kBlocks = 50'000;
constexpr uint64_t kBlockBytes = 256;

enum Phase : uint32_t { kBare = 1, kSmall, kLarge, kQueue, kHeap, kPhases };
constexpr uint64_t MessageBytes(Phase phase) { return phase == kSmall ? 64 : 64 << 10; }

struct Element {
  uint64_t words[7];
};

// Errors end the measurement: there is nothing to report then.
template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "thole_bench: %s\n", value.status().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return *std::move(value);
}

/// Messages: two plain channels, both sides spin.
class Messages {
 public:
  explicit Messages(int file) : system_(Must(Open(file))) {
    // Not acknowledged: whoever receives a message has it for good.
    const ChannelOptions plain{.capacity = 64, .acknowledged = false};
    ping_.emplace(Must(system_.CreateChannel("ping", plain)));
    pong_.emplace(Must(system_.CreateChannel("pong", plain)));
  }
  int file() const { return system_.attachment()->segment().file(); }

  void Ping(uint64_t bytes) {
    for (uint64_t i = 0; i < kMessageRounds; ++i) {
      Send(*ping_, bytes, i);
      Receive(*pong_);
    }
  }
  void Pong(uint64_t bytes) {
    for (uint64_t i = 0; i < kMessageRounds; ++i) Send(*pong_, bytes, Receive(*ping_));
  }

 private:
  static absl::StatusOr<UnifiedCommunicationSystem> Open(int file) {
    auto segment = file < 0 ? shm::Segment::Create(shm::Place::Descriptor(), {},
                                                   UnifiedCommunicationSystem::Roots({}))
                            : shm::Segment::Open(shm::Place::Descriptor(file), {});
    return UnifiedCommunicationSystem::OpenOn(Must(shm::Attachment::Make(Must(std::move(segment)))),
                                              "bench");
  }
  // The first eight bytes are written and read; the others are room that changes hands.
  static void Send(Channel& channel, uint64_t bytes, uint64_t number) {
    auto writer = Must(channel.SendZeroCopy(1, bytes, Deadline::Never()));
    std::memcpy(writer.bytes().data(), &number, sizeof number);  // payload
    Must(writer.Commit(Deadline::Never()));
  }
  static uint64_t Receive(Channel& channel) {
    for (;;) {
      auto message = channel.TryReceive();
      if (message.ok()) return message->ReadPrefix<uint64_t>().value_or(0);
      Relax();
    }
  }
  UnifiedCommunicationSystem system_;
  std::optional<Channel> ping_;
  std::optional<Channel> pong_;
};

/// Elements of a queue, one way; both sides spin.
class Elements {
 public:
  explicit Elements(int file)
      : attachment_(Must(shm::Attachment::Make(Must(OpenSegment(file))))),
        names_(attachment_->segment(), shm::ComponentId::kQueue),
        factory_(attachment_, names_, nullptr) {
    if (!attachment_->Join("bench").ok()) std::exit(EXIT_FAILURE);
    queue_ = Must(factory_.Connect<Element>("elements"));
  }
  int file() const { return attachment_->segment().file(); }
  void Push() {
    Element element{};
    for (; element.words[0] < kElements; ++element.words[0]) {
      while (queue_.TryPush(element) != queue::PushResult::kOk) Relax();
    }
  }
  void Pop() {
    Element element;
    for (uint64_t i = 0; i < kElements; ++i) {
      while (queue_.TryPop(element) != queue::PopResult::kOk) Relax();
    }
  }

 private:
  static absl::StatusOr<shm::Segment> OpenSegment(int file) {
    if (file >= 0) return shm::Segment::Open(shm::Place::Descriptor(file), {});
    const auto options = queue::QueueFactory::For<Element>({.capacity = 1024});
    const std::vector<shm::RootRequest> roots = {
        Must(queue::QueueFactory::Root("elements", options))};
    return shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = 1 << 20}, roots);
  }
  std::shared_ptr<shm::Attachment> attachment_;
  shm::RootNames names_;
  queue::QueueFactory factory_;
  queue::PersistentQueue<Element> queue_;
};

/// Blocks of the heap: allocate and free, one process, nobody else there.
class Blocks {
 public:
  Blocks()
      : attachment_(Must(shm::Attachment::Make(Must(shm::Segment::Create(
            shm::Place::Descriptor(), {}, alloc::PersistentTlsfAllocator::Roots()))))),
        heap_(Must(alloc::PersistentTlsfAllocator::Open(attachment_))) {
    if (!attachment_->Join("bench").ok()) std::exit(EXIT_FAILURE);
  }
  void AllocateAndFree() {
    const shm::Call call = attachment_->Enter(1);
    shm::Lane& lane = call.lane();
    const shm::LoanRef loan = attachment_->TakeLoan(lane, heap_.get(), Deadline::Never());
    for (uint64_t i = 0; i < kBlocks; ++i) {
      if (heap_->AllocateTo(lane, loan, kBlockBytes, 64, Deadline::Never()) !=
              shm::BlockResult::kOk ||
          heap_->FreeLoan(lane, loan, Deadline::Never()) != shm::BlockResult::kOk) {
        std::exit(EXIT_FAILURE);
      }
    }
    attachment_->loans().Return(loan);
  }

 private:
  std::shared_ptr<shm::Attachment> attachment_;
  std::shared_ptr<alloc::PersistentTlsfAllocator> heap_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Print(const char* what, const std::vector<double>& values, const std::vector<double>& bare) {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / bare[i]);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::printf("%-34s %10.1f ns %10.1f .. %-10.1f %7.2f x\n", what, Median(values), *low, *high,
              Median(ratios));
}

int Run() {
  Control* control = NewControl();
  const std::vector<int> processors = Processors();
  if (processors.size() < 2) {
    std::fprintf(stderr, "thole_bench needs two processors, there are %zu\n", processors.size());
    return EXIT_FAILURE;
  }
  if (control == nullptr || !PinTo(processors[0])) return EXIT_FAILURE;
  EndWithThePeer();
  Messages messages(-1);
  Elements elements(-1);
  Blocks blocks;
  Peer peer(*control, processors[1],
            [&, messages_file = messages.file(),
             elements_file = elements.file()](uint32_t phase) -> absl::Status {
              // Handles do not survive fork: the peer opens its own.
              static Messages* const own_messages = new Messages(messages_file);
              static Elements* const own_elements = new Elements(elements_file);
              if (phase == kBare) BarePong(*control, kBareRounds);
              if (phase == kSmall || phase == kLarge)
                own_messages->Pong(MessageBytes(Phase(phase)));
              if (phase == kQueue) own_elements->Pop();
              return absl::OkStatus();
            });
  std::vector<double> ns[kPhases];
  // The first repetition warms up. All of a repetition is measured close together in time.
  for (int repetition = 0; repetition <= kRepetitions; ++repetition) {
    for (const Phase phase : {kBare, kSmall, kLarge, kQueue, kHeap}) {
      peer.Begin(phase);
      const int64_t began = NowNs();
      if (phase == kBare) BarePing(*control, kBareRounds);
      if (phase == kSmall || phase == kLarge) messages.Ping(MessageBytes(phase));
      if (phase == kQueue) elements.Push();
      if (phase == kHeap) blocks.AllocateAndFree();
      if (phase != kHeap && !peer.Finish()) return EXIT_FAILURE;
      const int64_t took = NowNs() - began;
      if (phase == kHeap && !peer.Finish()) return EXIT_FAILURE;
      const uint64_t rounds = phase == kBare    ? kBareRounds
                              : phase == kQueue ? kElements
                              : phase == kHeap  ? kBlocks
                                                : kMessageRounds;
      if (repetition > 0)
        ns[phase].push_back(static_cast<double>(took) / static_cast<double>(rounds));
    }
  }
  std::printf("%-34s %13s %24s %9s\n", "", "median", "lowest .. highest", "of bare");
  Print("bare cache line, there and back", ns[kBare], ns[kBare]);
  Print("message of 64 B, there and back", ns[kSmall], ns[kBare]);
  Print("message of 64 KiB, there and back", ns[kLarge], ns[kBare]);
  Print("element of 56 B, one way", ns[kQueue], ns[kBare]);
  Print("allocate and free 256 B", ns[kHeap], ns[kBare]);
  std::printf("queue, one way: %.2f million elements/s\n", 1e3 / Median(ns[kQueue]));
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace thole::bench

int main() { return thole::bench::Run(); }
