// Three participants make any calls with any arguments, none waits for another for real, some die
// between two calls. Every answer is one of a whole segment's, and at the end it is whole: no
// finding, no leak, and empty once the names are gone.
//
// Input: rows of {who, a call}, or {who, dies}; see support/comm_calls.h.
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "support/comm_calls.h"
#include "thole/comm/audit.h"
#include "thole/shm/testing/fake_kernel.h"

namespace {

using namespace thole;
using shm::testing::FakeKernel;
using shm::testing::FakePlatform;

constexpr uint32_t kStepsMax = 80;
constexpr uint64_t kBytes = uint64_t{128} << 10;
constexpr uint32_t kParticipants = 3;
constexpr shm::SegmentOptions kShape{
    .size_bytes = kBytes, .participants_max = kParticipants + 1, .lanes_per_participant = 2};

void Broken(const std::string& what) {
  std::fprintf(stderr, "BROKEN: %s\n", what.c_str());
  std::abort();
}

/// One image and those who are in it.
class Stage {
 public:
  Stage() : memory_(std::aligned_alloc(4096, kBytes)) {
    auto made = shm::Segment::Create(Place(), kShape, UnifiedCommunicationSystem::Roots(kShape));
    if (!made.ok()) Broken(made.status().ToString());
  }
  ~Stage() { std::free(memory_); }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  UnifiedCommunicationSystem Open(FakePlatform** platform_out) {
    auto segment = shm::Segment::Open(Place(), {});
    if (!segment.ok()) Broken(segment.status().ToString());
    auto platform = std::make_unique<FakePlatform>(kernel_, shm::SegmentView(memory_, kBytes));
    *platform_out = platform.get();
    auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
    if (!attachment.ok()) Broken(attachment.status().ToString());
    auto system = UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "fuzzer");
    if (!system.ok()) Broken("open: " + system.status().ToString());
    return *std::move(system);
  }

  void ExpectWhole() {
    auto segment = shm::Segment::Open(Place(), {.read_only = true});
    if (!segment.ok()) Broken(segment.status().ToString());
    const comm::SystemAudit audit = comm::AuditSystem(*segment);
    if (!audit.findings.empty()) Broken(audit.findings.ToString());
    if (audit.orphan_bytes != 0) Broken(std::to_string(audit.orphan_bytes) + " bytes leaked");
  }

 private:
  shm::Place Place() const { return shm::Place::Memory(memory_, kBytes); }

  void* memory_;
  std::shared_ptr<FakeKernel> kernel_ = std::make_shared<FakeKernel>(kShape.participants_max);
};

struct Participant {
  FakePlatform* platform = nullptr;
  std::optional<fuzz::CommCalls> calls;
};

void Step(Stage& stage, Participant& participant, fuzz::ByteSource& input) {
  if (!participant.calls) participant.calls.emplace(stage.Open(&participant.platform));
  if (input.Chance(24)) {
    participant.platform->Die();
    participant.calls.reset();
    return;
  }
  const bool stays = participant.calls->Step(input);
  if (!participant.calls->complaint().empty()) Broken(participant.calls->complaint());
  if (!stays) participant.calls.reset();
}

// Nobody else is there any more: all that is left has a name, and goes with it.
void Finish(Stage& stage) {
  FakePlatform* platform = nullptr;
  UnifiedCommunicationSystem survivor = stage.Open(&platform);
  survivor.Recover();
  stage.ExpectWhole();
  for (const auto& buffer : survivor.buffers().List()) {
    if (buffer.kind != shm::kBufferPlace) continue;
    (void)survivor.buffers().Remove(buffer.name, Deadline::Now()).ok();
  }
  uint64_t channels = 0;
  for (const auto& channel : survivor.ListChannels()) {
    ++channels;
    for (int i = 0; i < 2000; ++i) {
      auto message = survivor.TryReceive(channel.name);
      if (!message.ok()) break;
      if (!message->Ack().ok()) Broken("the survivor cannot acknowledge");
    }
  }
  stage.ExpectWhole();
  if (const uint64_t used = survivor.HeapUse().blocks_used; used != channels) {
    Broken(std::to_string(used) + " blocks are in use, for " + std::to_string(channels) +
           " channels");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::ByteSource input(data, size);
  Stage stage;
  {
    std::vector<Participant> participants(kParticipants);
    for (uint32_t i = 0; i < kStepsMax && !input.empty(); ++i) {
      Step(stage, participants[input.Below(kParticipants)], input);
    }
    for (Participant& participant : participants) {
      if (participant.calls) participant.calls->DropAll();
    }
  }
  Finish(stage);
  return 0;
}
