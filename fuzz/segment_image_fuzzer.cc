// Any bytes as a segment that is used: attach, which repairs the dead in it, receive, acknowledge,
// send, create, remove, leave; the audit at the end. Nothing may crash, hang or leave the mapping;
// what is damaged is refused or found.
//
// Input: a byte of flags, then patches to the reference segment (support/damage.h), or with kWhole
// the image itself, padded with zeros.
#include <cstdlib>
#include <cstring>

#include "support/damage.h"
#include "support/reference_image.h"
#include "thole/comm/audit.h"

namespace {

using namespace thole;

constexpr uint8_t kWhole = 1;
constexpr uint8_t kFixHeader = 2;
constexpr uint8_t kTwice = 4;
constexpr size_t kPatchesMax = 32;

void Audit(const fuzz::Image& image) {
  const auto segment = shm::Segment::Open(image.place(), {.read_only = true});
  if (segment.ok()) (void)comm::AuditSystem(*segment);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::ReferenceStage stage;
  fuzz::ByteSource input(data, size);
  const uint8_t flags = input.Byte();
  std::byte* bytes = stage.image().bytes().data();
  fuzz::Damage damage(stage.image().bytes());
  if ((flags & kWhole) != 0) {
    const auto whole = input.Bytes(fuzz::kImageBytes);
    std::memset(bytes, 0, fuzz::kImageBytes);
    if (!whole.empty()) std::memcpy(bytes, whole.data(), whole.size());
  } else {
    stage.Begin();
    damage.OverwriteAll(input, kPatchesMax);
  }
  if ((flags & kFixHeader) != 0) damage.FixHeader();
  for (int round = 0; round < ((flags & kTwice) != 0 ? 2 : 1); ++round) {
    if (auto system = stage.image().Open(); system.ok()) fuzz::UseAll(*system);
  }
  Audit(stage.image());
  return 0;
}
