// The components that may keep something in a segment, and the order in which the dead are
// repaired.
//
//   #include <thole/shm/component_id.h>
//   static_assert(thole::shm::StepsOf(thole::shm::ComponentId::kAlloc) == 0b100010);
#pragma once

#include <cstdint>

namespace thole::shm {

enum class ComponentId : uint16_t { kShm = 0, kAlloc = 1, kRegistry = 2, kQueue = 3, kComm = 4 };
inline constexpr uint32_t kComponents = 8;  // four are free for later components

/// The steps of a repair, in the order in which they must happen. A step stays pending in the dead
/// participant's slot until somebody who links its component has done it. `alloc` has two: what a
/// step of another component gives back to a loan is freed only at the end.
enum class RepairStep : uint16_t {
  kLocks = 0,         ///< shm: roll the undo logs back, release the owner locks
  kAllocIntents = 1,  ///< alloc: the block each lane's intent names, the reserved chunk loans
  kRegistry = 2,      ///< registry: holder bits
  kQueue = 3,         ///< queue: loans of all queues, cells, leases to return lists, waiters
  kComm = 4,          ///< comm: removed channels without holders
  kAllocLoans = 5,    ///< alloc: plain loans, magazines, loan chunks last
};
inline constexpr uint32_t kRepairSteps = 6;

/// The pending bits that a component's root in the segment asks for.
constexpr uint32_t StepsOf(ComponentId component) {
  switch (component) {
    case ComponentId::kShm:
      return 1u << 0;
    case ComponentId::kAlloc:
      return 1u << 1 | 1u << 5;
    case ComponentId::kRegistry:
      return 1u << 2;
    case ComponentId::kQueue:
      return 1u << 3;
    case ComponentId::kComm:
      return 1u << 4;
  }
  return 0;
}

}  // namespace thole::shm
