// Any bytes as a name: of a segment, a participant, a channel, a buffer. A name that may stand in a
// segment is found again and listed unchanged; every other one is refused everywhere.
//
// Input: a byte for the kind of the first name, then the names, each after a byte with its length.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "support/byte_source.h"
#include "support/reference_image.h"
#include "thole/comm/audit.h"
#include "thole/shm/name_source.h"

namespace {

using namespace thole;
using shm::Deadline;

constexpr uint32_t kNamesMax = 4;
constexpr size_t kBytesMax = 80;

void Require(bool condition, std::string_view what, const std::string& name) {
  if (condition) return;
  std::fprintf(stderr, "BROKEN: %.*s: '%s' (%zu bytes)\n", static_cast<int>(what.size()),
               what.data(), name.c_str(), name.size());
  std::abort();
}

// How many bytes the UTF-8 sequence at the beginning has; 0 = it is none (RFC 3629).
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint32_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if ((first & 0xf0) == 0xe0) {
    const uint32_t code = (first & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return tail(1) && tail(2) && code >= 0x800 && !surrogate ? 3 : 0;
  }
  if ((first & 0xf8) == 0xf0) {
    const uint32_t code =
        (first & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
    return tail(1) && tail(2) && tail(3) && code >= 0x1'0000 && code <= 0x10'ffff ? 4 : 0;
  }
  return 0;
}

// The rule once more: 1 to 63 bytes of UTF-8 without '/' and control characters, and no name of a
// folder.
bool MayBeName(std::string_view name) {
  if (name.empty() || name.size() > 63 || name == "." || name == "..") return false;
  while (!name.empty()) {
    const size_t length = SequenceLength(name);
    const auto first = static_cast<unsigned char>(name[0]);
    if (length == 0 || first == '/' || first < 0x20 || first == 0x7f) return false;
    if (length == 2 && first == 0xc2 && static_cast<unsigned char>(name[1]) < 0xa0) return false;
    name.remove_prefix(length);
  }
  return true;
}

void UseAsChannel(UnifiedCommunicationSystem& system, const std::string& name, bool may_be) {
  auto made = system.CreateChannel(name, {.capacity = 1}, Deadline::Now());
  if (!may_be) {
    Require(absl::IsInvalidArgument(made.status()), "a bad channel name is not refused", name);
    Require(!system.ConnectChannel(name, Deadline::Now()).ok(), "it is there all the same", name);
    return;
  }
  if (!made.ok()) return;  // no room, or the name of a buffer
  Require(made->name() == name, "the channel has another name", name);
  bool listed = false;
  for (const auto& channel : system.ListChannels()) listed = listed || channel.name == name;
  Require(listed, "the channel is not listed", name);
  Require(system.ConnectChannel(name, Deadline::Now()).ok(), "the channel is not found", name);
}

void UseAsBuffer(UnifiedCommunicationSystem& system, const std::string& name, bool may_be) {
  registry::SharedBufferRegistry& buffers = system.buffers();
  auto made = buffers.Create(name, 1, {}, Deadline::Now());
  if (!may_be) {
    Require(absl::IsInvalidArgument(made.status()), "a bad buffer name is not refused", name);
    Require(!buffers.Lookup(name).ok(), "it is there all the same", name);
    return;
  }
  if (!made.ok()) return;
  Require(made->name() == name, "the buffer has another name", name);
  const auto found = buffers.Lookup(name);
  Require(found.ok() && found->name == name, "the buffer is not found", name);
  Require(buffers.Remove(name, Deadline::Now()).ok(), "the buffer cannot be removed", name);
}

void UseAsParticipant(const fuzz::Image& image, std::shared_ptr<shm::testing::FakeKernel> kernel,
                      const std::string& name, bool may_be) {
  auto attachment = image.Attach(std::move(kernel));
  if (!attachment.ok()) return;
  const absl::Status joined = (*attachment)->Join(name);
  const bool fits = name.empty() || (may_be && name.size() < shm::kSlotNameBytes);
  Require(fits ? !absl::IsInvalidArgument(joined) : absl::IsInvalidArgument(joined),
          "a participant's name", name);
}

void UseAsSegment(const std::string& name, bool may_be) {
  const auto opened = shm::Segment::Open(shm::Place::Named(name), {.read_only = true});
  if (!may_be) Require(absl::IsInvalidArgument(opened.status()), "a bad segment name", name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::ReferenceStage stage;
  fuzz::ByteSource input(data, size);
  const auto kernel = stage.Begin();
  auto system = stage.image().Open(kernel);
  if (!system.ok()) std::abort();
  uint8_t kind = input.Byte();
  for (uint32_t i = 0; i < kNamesMax && !input.empty(); ++i, ++kind) {
    const std::string name = input.Text(kBytesMax);
    const bool may_be = MayBeName(name);
    Require(may_be == shm::IsValidName(name), "two opinions about a name", name);
    Require(may_be == shm::DescribeNameProblem("test", name).empty(), "its description", name);
    if (kind % 4 == 0) UseAsChannel(*system, name, may_be);
    if (kind % 4 == 1) UseAsBuffer(*system, name, may_be);
    if (kind % 4 == 2) UseAsParticipant(stage.image(), kernel, name, may_be);
    if (kind % 4 == 3) UseAsSegment(name, may_be);
  }
  const comm::SystemAudit audit = comm::AuditSystem(system->attachment()->segment());
  Require(audit.findings.empty(), audit.findings.ToString(), "audit");
  return 0;
}
