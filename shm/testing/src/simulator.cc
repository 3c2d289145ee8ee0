#include "thole/shm/testing/simulator.h"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "sim_run.h"

namespace thole::shm::testing {
namespace {

constexpr double kChildSeconds = 1;  // what fibers leaked goes with the child
constexpr uint64_t kChildRuns = 4000;
constexpr uint64_t kLearningRuns = 20;  // without deaths: how long is a run?
// ChildReport::counters.
enum Counter { kRuns, kAccesses, kDeaths, kRepairs, kLongest, kStaleLoads, kCutOff };

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::string NameOf(const Program& program) { return program.component + "/" + program.name; }

void RunOnce(SimRun& run, const SimReplay& replay, ChildReport& report) {
  report.SetCurrent(replay.ToString());
  report.counters[kRuns] += 1;  // before it runs: one that crashes counts too
  const SimOutcome outcome = run.Run(replay);
  report.counters[kAccesses] += outcome.accesses;
  report.counters[kDeaths] += outcome.deaths;
  report.counters[kRepairs] += outcome.repairs;
  report.counters[kCutOff] += outcome.cut_off ? 1 : 0;
  report.counters[kStaleLoads] += outcome.stale_loads;
  report.counters[kLongest] = std::max(report.counters[kLongest], outcome.longest);
  if (!outcome.violation.empty()) report.AddFailure(replay.ToString(), outcome.violation);
}

/// Runs number `first` and after it, until the batch is full or its time is over.
void RunBatch(const Program& program, const SimOptions& options, uint64_t first, uint64_t runs,
              uint64_t horizon, double end, ChildReport& report) {
  // Each run allocates the same again: nothing goes back to the kernel in between.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  SimRun run(program);
  // Hidden stores, of a peer or of the past, are not followed.
  if (!options.weak && !options.hostile && !options.in_process) run.RepeatIfAlike();
  for (uint64_t i = 0; i < runs; ++i) {
    if (i % 16 == 0 && Now() >= end) return;
    SimReplay replay;
    replay.program = NameOf(program);
    const uint64_t number = first + i;
    replay.seed = Random(options.seed * 0x9e3779b97f4a7c15 + number).Next();
    replay.mode = options.weak      ? SimMode::kWeak
                  : options.hostile ? SimMode::kHostile
                  : number % 4 == 3 ? SimMode::kPriorities
                  : number % 4 == 1 ? SimMode::kSweep
                                    : SimMode::kRandom;
    if (replay.mode == SimMode::kSweep) {
      replay.seed = (replay.seed & ~uint64_t{0xffffffff}) | (number / 4);  // which death, how else
    }
    replay.horizon = horizon;
    RunOnce(run, replay, report);
    if (report.failures >= options.failures_max) return;
  }
}

SimResult ResultOf(const Program& program, const ChildReport& report) {
  SimResult result;
  result.program = NameOf(program);
  result.runs = report.counters[kRuns];
  result.accesses = report.counters[kAccesses];
  result.deaths = report.counters[kDeaths];
  result.repairs = report.counters[kRepairs];
  result.cut_off = report.counters[kCutOff];
  result.stale_loads = report.counters[kStaleLoads];
  result.violations = report.failures;
  result.failures = report.Failures();
  return result;
}

}  // namespace

std::string SimReplay::ToString() const {
  char numbers[64];
  if (mode == SimMode::kScript) {
    std::snprintf(numbers, sizeof(numbers), ":x:0x%llx:", static_cast<unsigned long long>(seed));
    return program + numbers + script;
  }
  std::snprintf(numbers, sizeof(numbers), ":%c:0x%llx:%llu", static_cast<char>(mode),
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(horizon));
  return program + numbers;
}

std::optional<SimReplay> SimReplay::Parse(std::string_view text) {
  SimReplay replay;
  size_t cut[3];
  size_t end = std::string_view::npos;
  for (int i = 2; i >= 0; --i) {
    cut[i] = text.rfind(':', end);
    if (cut[i] == std::string_view::npos || cut[i] == 0) return std::nullopt;
    end = cut[i] - 1;
  }
  replay.program = text.substr(0, cut[0]);
  if (cut[1] != cut[0] + 2) return std::nullopt;
  const char mode = text[cut[0] + 1];
  if (std::string_view("rpsxwh").find(mode) == std::string_view::npos) return std::nullopt;
  replay.mode = static_cast<SimMode>(mode);
  replay.seed = std::strtoull(std::string(text.substr(cut[1] + 1)).c_str(), nullptr, 0);
  const std::string last(text.substr(cut[2] + 1));
  if (replay.mode == SimMode::kScript) {
    if (!SimScript::Parse(last)) return std::nullopt;
    replay.script = last;
  } else {
    replay.horizon = std::strtoull(last.c_str(), nullptr, 0);
  }
  return replay;
}

SimResult Simulate(const Program& program, const SimOptions& options) {
  ChildReport* report = NewChildReport();
  const double end = Now() + options.seconds;
  uint64_t horizon = 0;
  uint64_t started = 0;
  while ((Now() < end || started < options.runs) && report->failures < options.failures_max) {
    const bool learning = horizon == 0;
    uint64_t runs = learning ? kLearningRuns : kChildRuns;
    double batch_end = Now() + kChildSeconds;
    if (started + runs > options.runs && !learning) {  // only the time is left to fill, if any
      if (Now() >= end) runs = options.runs - started;
      if (end > Now()) batch_end = std::min(batch_end, end);
    }
    const auto work = [&](ChildReport& in_child) {
      RunBatch(program, options, started, runs, horizon, batch_end, in_child);
    };
    const uint64_t before = report->counters[kRuns];
    if (options.in_process) {
      work(*report);
    } else {
      RunInChild(*report, options.stall_seconds, work);
    }
    started += report->counters[kRuns] - before;
    if (horizon == 0) horizon = std::max<uint64_t>(report->counters[kLongest], 8);
  }
  return ResultOf(program, *report);
}

SimResult Replay(const Program& program, const SimReplay& replay, bool trace) {
  ChildReport* report = NewChildReport();
  SimRun run(program);
  run.set_trace(trace);
  RunOnce(run, replay, *report);
  return ResultOf(program, *report);
}

}  // namespace thole::shm::testing
