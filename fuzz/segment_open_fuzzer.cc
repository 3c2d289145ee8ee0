// Any bytes as a segment that is looked at from outside: open for reading, list, audit. Nothing may
// crash, hang or be read outside of the mapping; nothing may be written.
//
// Input: a byte of flags, then patches to the reference segment (support/damage.h), or with kWhole
// the image itself, padded with zeros.
#include <cstdlib>
#include <cstring>

#include "support/damage.h"
#include "support/reference_image.h"
#include "thole/comm/audit.h"
#include "thole/comm/inspect.h"

namespace {

using namespace thole;

constexpr uint8_t kWhole = 1;
constexpr uint8_t kFixHeader = 2;
constexpr uint8_t kListToo = 4;
constexpr size_t kPatchesMax = 32;

struct Stage {
  Stage() : reference(fuzz::MakeReference()) { Restore(); }
  void Restore() { std::memcpy(image.bytes().data(), reference.data(), reference.size()); }
  fuzz::Image image;
  const std::vector<std::byte> reference;
};

void Look(const fuzz::Image& image, bool list_too) {
  const auto segment = shm::Segment::Open(image.place(), {.read_only = true});
  if (!segment.ok()) return;
  if (list_too) {
    (void)comm::ListChannels(*segment);
    (void)comm::ListParticipants(*segment);
  }
  (void)comm::AuditSystem(*segment);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Stage stage;
  fuzz::ByteSource input(data, size);
  const uint8_t flags = input.Byte();
  fuzz::Damage damage(stage.image.bytes());
  if ((flags & kWhole) != 0) {
    const auto whole = input.Bytes(fuzz::kImageBytes);
    std::memset(stage.image.bytes().data(), 0, fuzz::kImageBytes);
    if (!whole.empty()) std::memcpy(stage.image.bytes().data(), whole.data(), whole.size());
  } else {
    damage.OverwriteAll(input, kPatchesMax);
  }
  if ((flags & kFixHeader) != 0) damage.FixHeader();
  Look(stage.image, (flags & kListToo) != 0);
  if ((flags & kWhole) != 0) {
    stage.Restore();
  } else {
    damage.TakeBack();  // a reader must not have written
  }
  return 0;
}
