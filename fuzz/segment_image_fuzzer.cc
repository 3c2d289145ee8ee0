// Any bytes as a segment: open, look, audit, repair, use. Nothing may crash, hang or leave the
// mapping; what is damaged is refused or found.
//
// Input: mode 0 = the rest is the image itself, zero-padded. Any other first byte = the rest is a
// list of patches {u32 offset, u64 value} to a reference segment in which a participant died with a
// message on lease, another one half written, and three waiting.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "thole/comm/audit.h"
#include "thole/comm/inspect.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/fake_kernel.h"

namespace {

using thole::Deadline;
using thole::comm::UnifiedCommunicationSystem;
using thole::shm::Attachment;
using thole::shm::Place;
using thole::shm::Segment;
using thole::shm::SegmentView;
using thole::shm::testing::FakeKernel;
using thole::shm::testing::FakePlatform;

constexpr uint64_t kImageBytes = uint64_t{192} << 10;
constexpr thole::shm::SegmentOptions kShape{
    .size_bytes = kImageBytes, .participants_max = 6, .lanes_per_participant = 2};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Image = std::unique_ptr<void, Free>;
Image NewImage() { return Image(std::aligned_alloc(4096, kImageBytes)); }

// A kernel in which nobody lives: every participant in the image is dead.
absl::StatusOr<UnifiedCommunicationSystem> Attach(void* image) {
  auto segment = Segment::Open(Place::Memory(image, kImageBytes), {});
  if (!segment.ok()) return segment.status();
  auto kernel = std::make_shared<FakeKernel>(thole::shm::kParticipantsMax + 1);
  auto platform = std::make_unique<FakePlatform>(kernel, SegmentView(image, kImageBytes));
  auto attachment = Attachment::Make(*std::move(segment), std::move(platform));
  if (!attachment.ok()) return attachment.status();
  return UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "fuzzer");
}

std::vector<std::byte> MakeReference() {
  const Image image = NewImage();
  std::vector<std::byte> bytes(kImageBytes);
  auto made = Segment::Create(Place::Memory(image.get(), kImageBytes), kShape,
                              UnifiedCommunicationSystem::Roots(kShape));
  if (!made.ok()) std::abort();
  auto system = Attach(image.get());
  if (!system.ok()) std::abort();
  auto jobs = system->CreateChannel("jobs", {.capacity = 8});
  auto plain = system->CreateChannel("plain", {.capacity = 4, .acknowledged = false});
  if (!jobs.ok() || !plain.ok()) std::abort();
  for (uint64_t i = 0; i < 4; ++i) {
    if (!jobs->Send(1, i, Deadline::Now()).ok()) std::abort();
  }
  if (!plain->Send(2, uint64_t{9}, Deadline::Now()).ok()) std::abort();
  auto leased = jobs->TryReceive();
  auto writer = plain->SendZeroCopy(3, 100, Deadline::Now());
  auto buffer = system->buffers().Create("state", 64);
  if (!leased.ok() || !writer.ok() || !buffer.ok()) std::abort();
  std::memcpy(bytes.data(), image.get(), kImageBytes);  // as if it were killed here
  return bytes;
}

void Use(UnifiedCommunicationSystem& system) {
  (void)system.ListChannels();
  (void)system.Participants();
  (void)system.buffers().List();
  (void)system.buffers().Acquire("state", 0, 0, Deadline::Now()).ok();
  for (const char* name : {"jobs", "plain"}) {
    auto channel = system.ConnectChannel(name);
    if (!channel.ok()) continue;
    for (int i = 0; i < 6; ++i) {
      auto message = channel->TryReceive();
      if (!message.ok()) break;
      uint64_t sum = 0;
      for (const std::byte b : message->bytes()) sum += static_cast<uint64_t>(b);
      if (sum % 2 == 0) (void)message->Ack().ok();
    }
    (void)channel->Send(1, uint64_t{5}, Deadline::Now()).ok();
    auto writer = channel->SendZeroCopy(1, 3000, Deadline::Now());
    if (writer.ok()) (void)writer->CommitPrefix(10, Deadline::Now()).ok();
    (void)channel->Info();
  }
  (void)system.CreateChannel("new", {.capacity = 2}).ok();
  (void)system.Leave(Deadline::Now()).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> reference = MakeReference();
  if (size == 0) return 0;
  const Image image = NewImage();
  auto* bytes = static_cast<std::byte*>(image.get());
  const std::span<const uint8_t> rest(data + 1, size - 1);
  if (data[0] == 0) {
    std::memset(bytes, 0, kImageBytes);
    std::memcpy(bytes, rest.data(), rest.size() < kImageBytes ? rest.size() : kImageBytes);
  } else {
    std::memcpy(bytes, reference.data(), kImageBytes);
    for (size_t at = 0; at + 12 <= rest.size() && at < 12 * 64; at += 12) {
      uint32_t offset;
      std::memcpy(&offset, rest.data() + at, 4);
      std::memcpy(bytes + offset % (kImageBytes - 8), rest.data() + at + 4, 8);
    }
  }
  {
    auto outside = Segment::Open(Place::Memory(bytes, kImageBytes), {.read_only = true});
    if (!outside.ok()) return 0;
    (void)thole::comm::ListChannels(*outside);
    (void)thole::comm::ListParticipants(*outside);
    (void)thole::comm::AuditSystem(*outside);
  }
  if (auto system = Attach(bytes); system.ok()) Use(*system);
  auto after = Segment::Open(Place::Memory(bytes, kImageBytes), {.read_only = true});
  if (after.ok()) (void)thole::comm::AuditSystem(*after);
  return 0;
}
