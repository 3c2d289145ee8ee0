// Any numbers where a program chooses sizes: of a segment, its roots, a queue, a channel, a buffer.
// They are refused, or the result is whole and works.
//
// Input: a byte that chooses what is made, then the numbers.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "support/byte_source.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/queue/queue_factory.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/audit.h"
#include "thole/shm/testing/fake_kernel.h"

namespace {

using namespace thole;
using fuzz::ByteSource;
using shm::Deadline;
using shm::testing::FakeKernel;
using shm::testing::FakePlatform;

constexpr uint64_t kBytesMax = uint64_t{256} << 10;
constexpr uint32_t kRootsTried = 6;

void Require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "BROKEN: %s\n", what.c_str());
  std::abort();
}

/// A number of any size, with those around the limits more often.
uint64_t Any(ByteSource& input) {
  return input.Byte() % 4 == 0 ? input.Number<uint64_t>() : input.Size(63);
}

/// Memory of exactly so many bytes: what is beyond is AddressSanitizer's.
class Memory {
 public:
  explicit Memory(uint64_t bytes) : bytes_(bytes), base_(std::aligned_alloc(64, bytes)) {}
  ~Memory() { std::free(base_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  shm::Place place() const { return shm::Place::Memory(base_, bytes_); }
  shm::SegmentView view() const { return {base_, bytes_}; }

 private:
  uint64_t bytes_;
  void* base_;
};

shm::SegmentOptions Shape(ByteSource& input) {
  shm::SegmentOptions shape;
  shape.size_bytes = Any(input);
  shape.participants_max = static_cast<uint32_t>(input.Size(13));
  shape.lanes_per_participant = static_cast<uint32_t>(input.Size(7));
  shape.mode = static_cast<uint32_t>(input.Size(10));
  return shape;
}

uint64_t MemoryBytes(ByteSource& input) { return (64 + input.Size(18)) / 64 * 64; }

void MakeSystem(ByteSource& input) {
  const Memory memory(std::min(MemoryBytes(input) + 0x8000, kBytesMax));
  shm::SegmentOptions shape = Shape(input);
  shape.size_bytes = memory.view().size_bytes();
  auto made = shm::Segment::Create(memory.place(), shape, UnifiedCommunicationSystem::Roots(shape));
  if (!made.ok()) return Require(absl::IsInvalidArgument(made.status()), made.status().ToString());
  auto kernel = std::make_shared<FakeKernel>(made->participants_max());
  auto attachment = shm::Attachment::Make(*std::move(made),
                                          std::make_unique<FakePlatform>(kernel, memory.view()));
  Require(attachment.ok(), "a new segment cannot be attached to");
  auto system = UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "fuzzer");
  Require(system.ok(), "a new segment cannot be opened: " + system.status().ToString());
  comm::ChannelOptions options;
  options.capacity = static_cast<uint32_t>(Any(input));
  options.acknowledged = input.Byte() % 2 == 0;
  options.type_id = Any(input);
  if (auto channel = system->CreateChannel("jobs", options, Deadline::Now()); channel.ok()) {
    Require(options.capacity >= 1 && options.capacity <= 524'288, "a capacity that cannot be");
    auto writer = channel->SendZeroCopy(1, Any(input), Deadline::Now());
    if (writer.ok()) {
      const bool sent = writer->CommitPrefix(Any(input), Deadline::Now()).ok();
      Require(!sent || channel->TryReceive().ok(), "what was sent is not there");
    }
  }
  registry::BufferOptions buffer;
  buffer.align = Any(input);
  buffer.lifetime = static_cast<registry::Lifetime>(input.Below(2));
  if (auto handle = system->buffers().Create("b", Any(input), buffer, Deadline::Now());
      handle.ok()) {
    for (const std::byte value : handle->bytes()) Require(value == std::byte{0}, "it is not zero");
  }
  const comm::SystemAudit audit = comm::AuditSystem(system->attachment()->segment());
  Require(audit.findings.empty() && audit.orphan_bytes == 0, audit.findings.ToString());
}

void MakeSegment(ByteSource& input) {
  const Memory memory(MemoryBytes(input));
  const shm::SegmentOptions shape = Shape(input);
  std::vector<shm::RootRequest> roots(input.Below(kRootsTried));
  for (shm::RootRequest& root : roots) {
    root.component = static_cast<shm::ComponentId>(input.Below(12));
    root.kind = input.Number<uint16_t>();
    root.size_bytes = input.Chance(4) ? shm::kRestOfSegment : Any(input);
    root.align = input.Chance(2) ? Any(input) : uint64_t{1} << input.Below(64);
    root.name = input.Text(40);
    root.lane_area_bytes = static_cast<uint32_t>(input.Size(22));
  }
  auto made = shm::Segment::Create(memory.place(), shape, roots);
  if (!made.ok()) return Require(absl::IsInvalidArgument(made.status()), made.status().ToString());
  Require(made->Roots().size() == roots.size(), "a root is missing");
  Require(shm::Segment::Open(memory.place(), {}).ok(), "it was made and cannot be opened");
  shm::Findings findings;
  shm::AuditSegment(*made, findings);
  Require(findings.empty(), findings.ToString());
}

void MakeQueue(ByteSource& input) {
  queue::QueueOptions options;
  options.capacity = static_cast<uint32_t>(Any(input));
  options.element_bytes = static_cast<uint32_t>(input.Size(9));
  options.descriptors = input.Chance(2);
  options.leased = input.Chance(2);
  options.max_deliveries = static_cast<uint32_t>(input.Size(6));
  options.first_ticket = Any(input);
  const auto bytes = queue::QueueBytes(options);
  auto root = queue::QueueFactory::Root(input.Text(40), options);
  if (!bytes.ok()) return Require(!root.ok(), "a queue that cannot be has a root");
  Require(*bytes > options.capacity, "a queue is smaller than its cells");
  if (!root.ok()) return;
  const Memory memory(kBytesMax);
  const std::vector<shm::RootRequest> roots = {*std::move(root)};
  const shm::SegmentOptions shape{
      .size_bytes = kBytesMax, .participants_max = 2, .lanes_per_participant = 1};
  auto made = shm::Segment::Create(memory.place(), shape, roots);
  if (!made.ok()) return Require(absl::IsInvalidArgument(made.status()), made.status().ToString());
  shm::Findings findings;
  shm::AuditSegment(*made, findings);
  Require(findings.empty(), findings.ToString());
}

// Only what is refused, or small: a large one would take the machine's memory.
void MakeFile(ByteSource& input) {
  const shm::SegmentOptions shape = Shape(input);
  if (shape.size_bytes > (uint64_t{4} << 20) && shape.size_bytes <= shm::kSegmentBytesMax) return;
  auto made = shm::Segment::Create(shm::Place::Descriptor(), shape,
                                   UnifiedCommunicationSystem::Roots(shape));
  if (!made.ok()) return Require(absl::IsInvalidArgument(made.status()), made.status().ToString());
  Require(shape.size_bytes >= shm::kSegmentBytesMin, "a segment that is too small");
  const auto opened = shm::Segment::Open(shm::Place::Descriptor(made->file()), {});
  Require(opened.ok(), "it was made and cannot be opened");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteSource input(data, size);
  switch (input.Below(16)) {
    case 0:
      MakeFile(input);
      return 0;
    case 1:
    case 2:
    case 3:
    case 4:
      MakeSegment(input);
      return 0;
    case 5:
    case 6:
    case 7:
    case 8:
      MakeQueue(input);
      return 0;
    default:
      MakeSystem(input);
      return 0;
  }
}
