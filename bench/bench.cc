// thole_bench: what a message, an element of a queue and a block of the heap cost, beside the bare
// cache line of the same machine in the same run. README.md says what that does and does not mean.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "measure.h"
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

void Print(const char* what, const std::vector<double>& values, const std::vector<double>& bare) {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / bare[i]);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::printf("%-34s %10.1f ns %10.1f .. %-10.1f %7.2f x\n", what, Median(values), *low, *high,
              Median(ratios));
}

/// What to measure, and how to say it.
struct Options {
  bool only_queue = false;
  bool only_comm = false;
  bool json = false;  // lines for tools/bench
  int repetitions = kRepetitions;
};

std::vector<Phase> PhasesOf(const Options& options) {
  if (options.only_queue) return {kBare, kQueue};
  if (options.only_comm) return {kBare, kSmall, kLarge};
  return {kBare, kSmall, kLarge, kQueue, kHeap};
}

struct Line {
  Phase phase;
  const char* what;
  uint64_t rounds;
};
constexpr Line kLines[] = {{kBare, "bare cache line, there and back", kBareRounds},
                           {kSmall, "message of 64 B, there and back", kMessageRounds},
                           {kLarge, "message of 64 KiB, there and back", kMessageRounds},
                           {kQueue, "element of 56 B, one way", kElements},
                           {kHeap, "allocate and free 256 B", kBlocks}};

/// The two processes and what each phase does in them.
class Measurement {
 public:
  Measurement(Control& control, int processor)
      : control_(control),
        peer_(control, processor,
              [&control, messages_file = messages_.file(),
               elements_file = elements_.file()](uint32_t phase) -> absl::Status {
                // Handles do not survive fork: the peer opens its own.
                static Messages* const own_messages = new Messages(messages_file);
                static Elements* const own_elements = new Elements(elements_file);
                if (phase == kBare) BarePong(control, kBareRounds);
                if (phase == kSmall || phase == kLarge)
                  own_messages->Pong(MessageBytes(Phase(phase)));
                if (phase == kQueue) own_elements->Pop();
                return absl::OkStatus();
              }) {}

  int64_t Take(Phase phase) {
    peer_.Begin(phase);
    const int64_t began = NowNs();
    if (phase == kBare) BarePing(control_, kBareRounds);
    if (phase == kSmall || phase == kLarge) messages_.Ping(MessageBytes(phase));
    if (phase == kQueue) elements_.Push();
    if (phase == kHeap) blocks_.AllocateAndFree();
    const int64_t alone = NowNs() - began;
    Check(peer_.Finish(), "the peer ended");
    return phase == kHeap ? alone : NowNs() - began;
  }

 private:
  Control& control_;
  Messages messages_{-1};
  Elements elements_{-1};
  Blocks blocks_;
  Peer peer_;
};

void Print(const Options& options, const std::vector<double> (&ns)[kPhases]) {
  if (!options.json) {
    std::printf("%-34s %13s %24s %9s\n", "", "median", "lowest .. highest", "of bare");
  }
  for (const Line& line : kLines) {
    if (ns[line.phase].empty()) continue;
    if (!options.json) Print(line.what, ns[line.phase], ns[kBare]);
    if (!options.json || line.phase == kBare) continue;
    Report(line.what, "ns", ns[line.phase]);
    Report(line.what, "ns", ns[kBare], "bare cache line");
  }
  if (!options.json && !ns[kQueue].empty()) {
    std::printf("queue, one way: %.2f million elements/s\n", 1e3 / Median(ns[kQueue]));
  }
}

int Run(const Options& options) {
  Control* control = NewControl();
  const std::vector<int> processors = Processors();
  Check(processors.size() >= 2, "thole_bench needs two processors");
  Check(control != nullptr && PinTo(processors[0]), "no memory, or no right to a processor");
  EndWithThePeer();
  Measurement measurement(*control, processors[1]);
  std::vector<double> ns[kPhases];
  // The first repetition warms up. All of a repetition is measured close together in time.
  for (int repetition = 0; repetition <= options.repetitions; ++repetition) {
    for (const Phase phase : PhasesOf(options)) {
      const auto took = static_cast<double>(measurement.Take(phase));
      const auto line = std::find_if(std::begin(kLines), std::end(kLines),
                                     [&](const Line& each) { return each.phase == phase; });
      if (repetition > 0) ns[phase].push_back(took / static_cast<double>(line->rounds));
    }
  }
  Print(options, ns);
  return EXIT_SUCCESS;
}

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      options.json = true;
    } else if (word == "--only" && i + 1 < argc) {
      const std::string_view only = argv[++i];
      options.only_queue = only == "queue";
      options.only_comm = only == "comm";
      if (!options.only_queue && !options.only_comm) return std::nullopt;
    } else if (word == "--repetitions" && i + 1 < argc) {
      options.repetitions = std::atoi(argv[++i]);
      if (options.repetitions < 1) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) {
  const auto options = thole::bench::Parse(argc, argv);
  if (options) return thole::bench::Run(*options);
  std::fprintf(stderr, "usage: thole_bench [--json] [--only queue|comm] [--repetitions N]\n");
  return 2;
}
