// VisitedStates: from which states a search has gone on already, and with how much in hand.
//
// 61 bits of a hash stand for a state. Among n states, two different ones share them in one search
// of 2^62 / n^2: with ten million states in one of 46,000. Then one of them is not searched.
// Shared with the children of a harness; only the parent makes room.
//
// Part of the simulator's runtime, as sim_core.h: never instrumented, includes nothing of thole.
#pragma once

#include <cstdint>

namespace thole::shm::testing {

class VisitedStates {
 public:
  static constexpr uint32_t kSwitchesMax = 6;

  VisitedStates();
  ~VisitedStates();
  VisitedStates(const VisitedStates&) = delete;
  VisitedStates& operator=(const VisitedStates&) = delete;
  /// False if the search went on from there with at least `switches_left` before.
  bool Enter(uint64_t key, uint32_t switches_left);
  uint64_t size() const { return memory_[0]; }
  void Clear();
  /// Twice the room if half of it is taken.
  void MakeRoom();

 private:
  bool IsFull() const { return memory_[0] > room_ / 4 * 3; }
  void Map();
  void Unmap();

  uint64_t room_;
  uint64_t* memory_ = nullptr;  // how many, then the slots
};

}  // namespace thole::shm::testing
