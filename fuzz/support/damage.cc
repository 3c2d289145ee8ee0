#include "damage.h"

#include <cstring>

#include "thole/shm/crc32c.h"
#include "thole/shm/segment_data.h"

namespace thole::fuzz {
namespace {

// The ways a word changes.
enum How : uint8_t { kSet, kFlip, kCopy, kAdd, kOffset, kSmall, kHows };

}  // namespace

uint64_t Damage::Load(size_t at) const {
  uint64_t value;
  std::memcpy(&value, image_.data() + at, 8);
  return value;
}

void Damage::Store(size_t at, uint64_t value) {
  before_.push_back({at, Load(at)});
  std::memcpy(image_.data() + at, &value, 8);
}

void Damage::Overwrite(ByteSource& input) {
  const size_t words = image_.size() / 8;
  const size_t at = input.Number<uint16_t>() % words * 8;
  const auto how = static_cast<How>(input.Byte() % kHows);
  const auto value = input.Number<uint64_t>();
  switch (how) {
    case kFlip:
      return Store(at, Load(at) ^ uint64_t{1} << (value % 64));
    case kCopy:
      return Store(at, Load(value % words * 8));
    case kAdd:
      return Store(at, Load(at) + static_cast<uint64_t>(static_cast<int64_t>(value) >> 48));
    case kOffset:
      return Store(at, value % image_.size() & ~uint64_t{15});
    case kSmall:
      return Store(at, value % 256);
    default:
      return Store(at, value);
  }
}

void Damage::OverwriteAll(ByteSource& input, size_t count_max) {
  for (size_t i = 0; i < count_max && !input.empty(); ++i) Overwrite(input);
}

void Damage::FixHeader() {
  using Header = shm::SegmentHeaderData;
  const auto sum = [&](size_t at, size_t bytes, uint32_t before) {
    return shm::Crc32c(image_.data() + at, bytes, before);
  };
  uint32_t check = sum(0, offsetof(Header, boot_id), 0);
  check = sum(offsetof(Header, slots_offset), 3 * sizeof(uint64_t), check);
  check = sum(offsetof(Header, lane_areas), sizeof(Header::lane_areas), check);
  check = sum(offsetof(Header, roots), sizeof(Header::roots), check);
  Store(offsetof(Header, static_check), check);
}

void Damage::TakeBack() {
  for (; !before_.empty(); before_.pop_back()) {
    std::memcpy(image_.data() + before_.back().at, &before_.back().value, 8);
  }
}

}  // namespace thole::fuzz
