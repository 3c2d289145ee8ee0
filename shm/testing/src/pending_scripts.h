// PendingScripts: what an exhaustive search has still to run. A stack, shared with the children of
// a harness: where one ended, the next one goes on.
#pragma once

#include <cstdint>

#include "sim_script.h"

namespace thole::shm::testing {

class PendingScripts {
 public:
  /// Of a script that is kept.
  static constexpr uint32_t kEventsMax = 8;

  PendingScripts();
  ~PendingScripts();
  PendingScripts(const PendingScripts&) = delete;
  PendingScripts& operator=(const PendingScripts&) = delete;
  bool empty() const { return memory_->count == 0; }
  void Clear() { memory_->count = 0; }
  void Push(const SimScript& script);
  SimScript Pop();

 private:
  // The longest run has some thousand places to branch off at, in five ways.
  static constexpr uint64_t kRoom = uint64_t{1} << 20;
  struct Packed {
    uint32_t first;
    uint32_t count;
    SimEvent events[kEventsMax];
  };
  struct Memory {
    uint64_t count;
    Packed scripts[kRoom];
  };
  Memory* memory_;
};

}  // namespace thole::shm::testing
