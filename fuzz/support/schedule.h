// A schedule from bytes: which processes of the simulator do what, in which order their accesses
// happen, who dies where, and who repairs it. Any bytes are one. What goes wrong is printed with
// the replay string that the component's X_sim_test takes, built by the same compiler.
//
// Input, by bytes:
//   1   what runs: rows of registered operations (twice as likely), a program, an operation alone
//   2   which program, operation, or group of operations
//   13  for rows: how many, and for each how many operations and which ones
//   1   the seed of what the bodies choose
//   1   who goes first
//   3   each: accesses until something happens, and what: another one goes on, or who runs dies, or
//       dies and is repaired from then on
#pragma once

#include <cstddef>
#include <cstdint>

namespace thole::fuzz {

/// Runs it; aborts on a violation.
void RunSchedule(const uint8_t* data, size_t size);
/// As LLVMFuzzerCustomMutator: mostly the order is changed, by events, and seldom what runs.
size_t MutateSchedule(uint8_t* data, size_t size, size_t size_max, unsigned seed);

}  // namespace thole::fuzz
