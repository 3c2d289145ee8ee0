#include "hostile_peer.h"

#include <cstring>

namespace thole::shm::testing {
namespace {

constexpr uint64_t kStrikesBits = 4;  // up to 2, 4, 8 or 16 in a run
constexpr uint64_t kOneInBits = 5;    // every 8th .. 256th access on average
constexpr uint64_t kSmall = 70;       // more than any count of a small image

}  // namespace

void HostilePeer::Begin(uint64_t seed) {
  random_ = seed;
  left_ = 1 + Random(uint64_t{2} << Random(kStrikesBits));
  one_in_ = uint64_t{8} << Random(1 + kOneInBits);
  recent_.fill(0);
  seen_ = 0;
}

uint64_t HostilePeer::Random(uint64_t limit) {  // splitmix64
  uint64_t z = (random_ += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (z ^ z >> 31) % limit;
}

uint64_t HostilePeer::Get(uint64_t word) const {
  uint64_t value = 0;
  std::memcpy(&value, image_ + word * 8, 8);
  return value;
}

void HostilePeer::Set(uint64_t word, uint64_t value) { std::memcpy(image_ + word * 8, &value, 8); }

uint64_t HostilePeer::value() const { return Get(last_); }

uint64_t HostilePeer::ValueFor(uint64_t old) {
  switch (Random(9)) {
    case 0:
      return 0;
    case 1:
      return ~uint64_t{0};
    case 2:
      return old ^ uint64_t { 1 } << Random(64);
    case 3:
      return old + (Random(2) == 0 ? 1 : ~uint64_t{0});
    case 4:
      return Random(kSmall);
    case 5:
      return Get(recent_[Random(recent_.size())]);
    case 6:
      return Random(words_) * 8;
    case 7:
      return (words_ - Random(16)) * 8;  // at the end
    default:
      return Random(~uint64_t{0});
  }
}

bool HostilePeer::Strike(uint64_t offset) {
  const uint64_t here = offset / 8;
  recent_[seen_++ % recent_.size()] = here;
  if (left_ == 0 || Random(one_in_) != 0) return false;
  --left_;
  const uint64_t aim = Random(4);
  last_ = aim < 2 ? here : aim == 2 ? recent_[Random(recent_.size())] : Random(words_);
  if (last_ >= words_) last_ = 0;
  Set(last_, ValueFor(Get(last_)));
  return true;
}

}  // namespace thole::shm::testing
