// The simulator: several processes in one address space, any order of their shared accesses, death
// at any of them.
//
// Each process is a fiber over its own mapping of one image. The library is compiled as for
// -fsanitize=thread and linked with a runtime of ours (thole_sim_runtime), so that every access to
// the image, plain or atomic, is a point where another process goes on or where this one dies.
// Every run follows from its replay string alone.
//
//   #include <thole/shm/testing/simulator.h>
//   bool Example(const thole::shm::testing::Program& program) {
//     const auto result = thole::shm::testing::Simulate(program, {.runs = 1000});
//     return result.violations == 0;
//   }
//
// Violations: what `check` and `Audit` find, a slot of the dead that stays, an access to another
// process's mapping or beyond the end, a pointer stored in the image, a run that does not end, a
// crash. Interleavings are sequentially consistent, except in mode kWeak. What a killed fiber held
// on the process heap leaks: the runs are split over short-lived children, so it stays bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/testing/child_run.h"
#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {

enum class SimMode : char {
  kRandom = 'r',      ///< a random process goes on, after a random number of accesses
  kPriorities = 'p',  ///< the most important one goes on; priorities change at a few random points
  kSweep = 's',       ///< random, but one after the other each process dies at each of its accesses
  kWeak = 'w',        ///< random or by priorities, and loads return what the memory model allows
  kHostile = 'h',     ///< random or by priorities, and a hostile peer overwrites words meanwhile
  kScript = 'x',      ///< nothing is random: a script names the switches and deaths (systematic.h)
};

/// All that decides a run, and its text: "component/name:mode:seed:horizon", or for a script
/// "component/name:x:seed:1,17>2,33x" (src/sim_script.h).
struct SimReplay {
  std::string program;
  SimMode mode = SimMode::kRandom;
  uint64_t seed = 0;
  uint64_t horizon = 0;     ///< deaths fall into the first so many accesses of a process
  std::string script = {};  ///< kScript only

  std::string ToString() const;
  static std::optional<SimReplay> Parse(std::string_view text);
};

struct SimOptions {
  uint64_t seed = 1;
  double seconds = 0;          ///< until so much time has passed
  uint64_t runs = 0;           ///< at least so many runs
  uint32_t failures_max = 16;  ///< stops there: more would say the same
  bool weak = false;           ///< all runs in mode kWeak, else the first three modes by turns
  bool hostile = false;        ///< all runs in mode kHostile
  bool in_process = false;     ///< no child: for a debugger
  double stall_seconds = 20;   ///< a run that takes longer is stuck outside of the image
};

struct SimResult {
  std::string program;
  uint64_t runs = 0;
  uint64_t accesses = 0;
  uint64_t deaths = 0;       // of processes and repairers
  uint64_t repairs = 0;      // slots that repairers freed while others ran
  uint64_t cut_off = 0;      // in mode kHostile: runs in which somebody waited in vain
  uint64_t stale_loads = 0;  // in mode kWeak: loads that returned something old
  uint64_t violations = 0;
  std::vector<Failure> failures;  // the first ones; `where` is a replay string
};

SimResult Simulate(const Program& program, const SimOptions& options);
/// One run again, in this process, with a trace of its switches on stderr if wanted.
SimResult Replay(const Program& program, const SimReplay& replay, bool trace);

}  // namespace thole::shm::testing
