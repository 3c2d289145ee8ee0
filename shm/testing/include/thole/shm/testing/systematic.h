// Systematic: all orders of a program with few switches, and a death at each access of each.
//
//   #include <thole/shm/testing/systematic.h>
//   bool Example(const thole::shm::testing::Program& program) {
//     using namespace thole::shm::testing;
//     const SystematicResult all = Enumerate(program, {.switches = 1, .deaths = 1});
//     return all.complete && all.violations == 0;
//   }
//
// A process goes on until it sleeps, hands over, ends or dies; then the next one does. A script of
// at most `switches` switches at other moments and `deaths` deaths interferes with that. All such
// scripts are run, one after the other; each is a replay string.
//
// What is left out, because it would show nothing else:
// - A switch before an access that follows one to words which no other living process touches, or
//   which nobody stores to: it can as well come later. Which words these are is learned from all
//   runs; if the last round taught something new, another round follows.
// - A death before a load: before the next store the bytes are the same.
// - What follows a state that was searched from before, with at least as many switches left, in
//   programs that say that nothing else is shared (`Program::shares_only_image`). A state is the
//   image, the kernel and the clock, and what each living process was answered so far.
//
// What is not covered: wake-ups for no reason, a kernel that delays, memory orders weaker than
// sequential consistency, and time that passes while nobody sleeps or hands over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/testing/child_run.h"
#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {

struct SystematicOptions {
  uint64_t seed = 1;  ///< of what the bodies choose
  uint32_t switches = 1;
  /// 0, 1, or 2: a process dies, and then its repairer, who begins at once.
  uint32_t deaths = 1;
  double seconds = 10;       ///< cut off then
  uint64_t sample_runs = 0;  ///< not 0: of second deaths, so few that about this many runs suffice
  uint32_t failures_max = 16;  ///< stops there
  double stall_seconds = 20;
  bool prune = true;  ///< false: each schedule to its end, also through states that are known
};

struct SystematicResult {
  std::string program;
  uint64_t schedules = 0;    // different scripts, all of the last round
  uint64_t runs = 0;         // of all rounds
  uint64_t states = 0;       // before accesses, different ones; 0 if nothing was pruned
  uint64_t ends = 0;         // different bytes and deaths in which a run ended
  uint64_t sum_of_ends = 0;  // of their hashes: two searches that agree found the same
  uint64_t accesses = 0;
  uint64_t deaths = 0;
  uint64_t violations = 0;
  double seconds = 0;
  uint64_t one_in = 1;    // of second deaths: 1 is all of them
  bool complete = false;  // else the time was over, or too many failed
  std::vector<Failure> failures;
};

SystematicResult Enumerate(const Program& program, const SystematicOptions& options);

/// Programs made of the registered operations of a component.
///
/// Alone: one process does the operation, another one is idle: for deaths of repairers.
std::vector<Program> AloneProgramsOf(const std::vector<Operation>& operations);
/// Pairs: two processes do one operation each, over a segment that both prepared; an operation is
/// paired with itself too. Only operations whose worlds are alike, byte for byte, make a pair; the
/// checks of single operations do not hold for two, so that the audit of the world is the judge.
std::vector<Program> PairProgramsOf(const std::vector<Operation>& operations);

/// Rows: each process does some operations, one after the other, over a segment that all prepared.
using Rows = std::vector<std::vector<const Operation*>>;
Program RowsProgramOf(const Rows& rows);
std::string RowsName(const Rows& rows);
/// The program that `RowsProgramOf` gave this name.
std::optional<Program> RowsProgramNamed(std::string_view name,
                                        const std::vector<Operation>& operations);
/// The operations that can stand in rows with one another, in order of registration.
std::vector<std::vector<const Operation*>> OperationsByWorld(
    const std::vector<Operation>& operations);

}  // namespace thole::shm::testing
