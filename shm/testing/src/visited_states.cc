#include "visited_states.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace thole::shm::testing {
namespace {

constexpr uint64_t kFirstRoom = uint64_t{1} << 21;
constexpr uint64_t kLeft = 7;  // the bits of a slot that hold switches left + 1; 0 = empty

}  // namespace

VisitedStates::VisitedStates() : room_(kFirstRoom) { Map(); }

VisitedStates::~VisitedStates() { Unmap(); }

void VisitedStates::Map() {
  void* memory = mmap(nullptr, (1 + room_) * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the states of a search");
    std::abort();
  }
  memory_ = static_cast<uint64_t*>(memory);
}

void VisitedStates::Unmap() { munmap(memory_, (1 + room_) * sizeof(uint64_t)); }

void VisitedStates::Clear() {
  Unmap();
  room_ = kFirstRoom;
  Map();
}

bool VisitedStates::Enter(uint64_t key, uint32_t switches_left) {
  const uint64_t value = (key & ~kLeft) | (std::min(switches_left, kSwitchesMax) + 1);
  uint64_t* slots = memory_ + 1;
  for (uint64_t i = key / (kLeft + 1) & (room_ - 1);; i = (i + 1) & (room_ - 1)) {
    if (slots[i] == 0) {
      if (IsFull()) return true;  // searched again rather than not at all
      slots[i] = value;
      ++memory_[0];
      return true;
    }
    if ((slots[i] & ~kLeft) != (key & ~kLeft)) continue;
    if ((slots[i] & kLeft) >= (value & kLeft)) return false;
    slots[i] = value;
    return true;
  }
}

void VisitedStates::MakeRoom() {
  if (memory_[0] < room_ / 2) return;
  uint64_t* const old = memory_;
  const uint64_t old_room = room_;
  room_ *= 2;
  Map();
  for (uint64_t i = 1; i <= old_room; ++i) {
    if (old[i] != 0) Enter(old[i], static_cast<uint32_t>(old[i] & kLeft) - 1);
  }
  munmap(old, (1 + old_room) * sizeof(uint64_t));
}

}  // namespace thole::shm::testing
