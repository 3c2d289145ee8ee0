#include "reference_image.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "damage.h"
#include "thole/comm/audit.h"
#include "thole/shm/segment_data.h"

namespace thole::fuzz {
namespace {

using comm::UnifiedCommunicationSystem;
using shm::Deadline;
using shm::testing::FakeKernel;
using shm::testing::FakePlatform;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "the reference segment cannot be made: %s\n", what);
  std::abort();
}

// What differs between two runs.
void ForgetTimeAndChance(std::span<std::byte> image) {
  using Header = shm::SegmentHeaderData;
  std::memset(image.data() + offsetof(Header, uuid), 7, sizeof(Header::uuid));
  std::memset(image.data() + offsetof(Header, created_ns), 7, sizeof(Header::created_ns));
  Damage(image).FixHeader();
}

uint64_t Sum(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte b : bytes) sum += static_cast<uint64_t>(b);
  return sum;
}

}  // namespace

Image::Image() : memory_(static_cast<std::byte*>(std::aligned_alloc(4096, kImageBytes))) {
  Require(memory_ != nullptr, "no memory");
  std::memset(memory_, 0, kImageBytes);
}
Image::~Image() { std::free(memory_); }

absl::StatusOr<std::shared_ptr<shm::Attachment>> Image::Attach(
    std::shared_ptr<FakeKernel> kernel) const {
  auto segment = shm::Segment::Open(place(), {});
  if (!segment.ok()) return segment.status();
  auto platform =
      std::make_unique<FakePlatform>(std::move(kernel), shm::SegmentView(memory_, kImageBytes));
  return shm::Attachment::Make(*std::move(segment), std::move(platform));
}

absl::StatusOr<UnifiedCommunicationSystem> Image::Open() const {
  return Open(std::make_shared<FakeKernel>(kImageShape.participants_max));
}

absl::StatusOr<UnifiedCommunicationSystem> Image::Open(std::shared_ptr<FakeKernel> kernel) const {
  auto attachment = Attach(std::move(kernel));
  if (!attachment.ok()) return attachment.status();
  return UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "fuzzer");
}

std::vector<shm::RootRequest> ImageRoots() {
  std::vector<shm::RootRequest> roots = UnifiedCommunicationSystem::Roots(kImageShape);
  for (shm::RootRequest& root : roots) {
    if (root.component != shm::ComponentId::kRegistry) continue;
    root = registry::SharedBufferRegistry::Root({.entries_max = kImageEntries},
                                                kImageShape.participants_max);
  }
  return roots;
}

std::vector<std::byte> MakeReference() {
  const Image image;
  auto made = shm::Segment::Create(image.place(), kImageShape, ImageRoots());
  Require(made.ok(), "format");
  auto kernel = std::make_shared<FakeKernel>(kImageShape.participants_max);
  auto first = image.Open(kernel);
  auto second = image.Open(kernel);
  Require(first.ok() && second.ok(), "attach");
  auto jobs = first->CreateChannel("jobs", {.capacity = 4});
  auto plain = second->CreateChannel("plain", {.capacity = 2, .acknowledged = false});
  auto gone = second->CreateChannel("closed", {.capacity = 2});
  Require(jobs.ok() && plain.ok() && gone.ok(), "channels");
  for (uint64_t i = 0; i < 4; ++i) Require(jobs->Send(1, i, Deadline::Now()).ok(), "send");
  Require(plain->Send(2, uint64_t{9}, Deadline::Now()).ok(), "send");
  Require(gone->Send(3, uint64_t{1}, Deadline::Now()).ok() && gone->Close().ok(), "close");
  {
    auto given_back = jobs->TryReceive();
  }
  auto leased = second->TryReceive("jobs");
  auto writer = plain->SendZeroCopy(3, 100, Deadline::Now());
  auto buffer = first->buffers().Create("state", 64);
  Require(leased.ok() && writer.ok() && buffer.ok(), "holding something");
  ForgetTimeAndChance(image.bytes());
  std::vector<std::byte> bytes(image.bytes().begin(), image.bytes().end());  // both killed here
  Require(shm::Segment::Open(image.place(), {.read_only = true}).ok(), "the header's checksum");
  return bytes;
}

std::shared_ptr<FakeKernel> ReferenceStage::Begin() {
  std::memcpy(image_.bytes().data(), reference_.data(), reference_.size());
  return std::make_shared<FakeKernel>(kImageShape.participants_max);
}

void UseAll(UnifiedCommunicationSystem& system) {
  (void)system.ListChannels();
  (void)system.Participants();
  (void)system.buffers().List();
  (void)system.HeapUse();
  {
    auto buffer = system.buffers().Acquire("state", 0, 0, Deadline::Now());
    if (buffer.ok()) (void)Sum(buffer->bytes());
  }
  (void)system.buffers().Remove("state", Deadline::Now()).ok();
  for (const char* name : {"jobs", "plain", "closed"}) {
    auto channel = system.ConnectChannel(name, Deadline::Now());
    if (!channel.ok()) continue;
    for (int i = 0; i < 6; ++i) {
      auto message = channel->TryReceive();
      if (!message.ok()) break;
      if (Sum(message->bytes()) % 2 == 0) (void)message->Ack().ok();
    }
    (void)channel->Send(1, uint64_t{5}, Deadline::Now()).ok();
    auto writer = channel->SendZeroCopy(1, 600, Deadline::Now());
    if (writer.ok()) (void)writer->CommitPrefix(10, Deadline::Now()).ok();
    (void)channel->Info();
  }
  (void)system.CreateChannel("new", {.capacity = 2}, Deadline::Now()).ok();
  (void)system.Leave(Deadline::Now()).ok();
}

}  // namespace thole::fuzz
