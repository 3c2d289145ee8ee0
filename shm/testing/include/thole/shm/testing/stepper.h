// The stepper: every distinct state of the bytes on the way through an operation, at machine level.
//
// It runs the operation of a victim over the shipped machine code with the processor's trap flag
// set, and notes each instruction that changed the segment. Afterwards it rebuilds every state,
// lets the victim be dead in it, and asks a fresh survivor to repair, check and audit a copy. A
// sample of the repairs is stepped in the same way: the repairer dies and a second survivor does
// it.
//
//   #include <thole/shm/testing/stepper.h>
//   bool Example(const thole::shm::testing::Operation& operation) {
//     const auto result = thole::shm::testing::Step(operation, {.seeds = 3});
//     return result.failed == 0;
//   }
//
// x86-64 only (the trap flag), and not under a sanitizer: there the machine code is another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thole/shm/testing/child_run.h"
#include "thole/shm/testing/scenario.h"
#include "thole/shm/testing/state_set.h"

namespace thole::shm::testing {

inline constexpr uint32_t kAllRepairs = UINT32_MAX;

/// Which states of operations and of their repairs count as new.
struct StepSeen {
  StateSet states{uint64_t{1} << 22};
  StateSet pairs{uint64_t{1} << 22};
};

struct StepOptions {
  uint64_t seed = 1;           ///< the first one
  uint32_t seeds = 1;          ///< at least so many shapes of the operation
  double seconds = 0;          ///< and more seeds until so much time has passed
  uint32_t repairs = 1;        ///< states of each run whose repair is stepped too; kAllRepairs: all
  uint32_t failures_max = 16;  ///< stops there: more would say the same
  bool in_process = false;     ///< no child: for a debugger
  StepSeen* seen = nullptr;    ///< shared by several calls; null: this call has its own
  double stall_seconds = 30;   ///< a state that takes longer is a hang
};

struct StepResult {
  std::string operation;  // "alloc/Shrink (gives the tail back)"
  uint64_t runs = 0;
  uint64_t instructions = 0;  // that stored to the image
  uint64_t states = 0;        // of the operation, all repaired and audited
  uint64_t distinct = 0;      // of them, whose bytes `seen` did not have
  uint64_t repairs_stepped = 0;
  uint64_t pairs = 0;             // a state, and one of its repair: all repaired again and audited
  uint64_t distinct_pairs = 0;    // of them, whose bytes `seen` did not have
  uint64_t audits_saved = 0;      // repaired bytes that the same run had audited before
  uint64_t failed = 0;            // states that were not repaired
  std::vector<Failure> failures;  // the first ones
};

StepResult Step(const Operation& operation, const StepOptions& options);

}  // namespace thole::shm::testing
