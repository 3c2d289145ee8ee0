// The main function of each program: a system measures the work it was asked for.
//
// A system has `kProcesses` (its workers may be processes; else they are threads), is made from
// {Options, heap bytes}, and has a `Worker` made from {system, index}: see workloads.h.
#pragma once

#include <memory>

#include "footprint.h"
#include "options.h"
#include "workloads.h"

namespace thole::bench {

void ReportThroughput(const Options& options, const Meeting& meeting);
void ReportLatency(const Options& options, const Meeting& meeting);

template <class System, class Watch>
void RunWork(const Options& options, System& system, Meeting& meeting, uint32_t index) {
  typename System::Worker worker(system, index);
  const auto watch = std::make_unique<Watch>();
  Outcome& outcome = meeting.outcomes[index];
  if (options.work.name == "pairs") {
    RunPairs(options.work, options.processes, meeting, worker, *watch, outcome);
  } else if (options.work.name == "hand-over") {
    RunHandOver(options.work, index, meeting, worker, *watch, outcome);
  } else {
    RunReplacement(options.work, options.processes, index, meeting, worker, *watch, outcome);
  }
  if constexpr (requires { watch->frees(); }) {
    outcome.allocate = watch->allocations();
    outcome.free = watch->frees();
  }
}

template <class System>
void Measure(const Options& options) {
  if constexpr (requires { System::Recover(options); }) {
    if (options.mode == Mode::kRecovery) return System::Recover(options);
  }
  Check(options.mode != Mode::kRecovery, "this system has no recovery");
  System system(options, options.work.heap_bytes);
  if (options.mode == Mode::kFootprint) {
    RunWorkers(1, false, [&](uint32_t index) {
      typename System::Worker worker(system, index);
      Report("resident of live", "x", FootprintOf(options.work, worker));
    });
    return;
  }
  Meeting* meeting = NewShared<Meeting>();
  Check(meeting != nullptr, "no memory");
  RunWorkers(options.processes, System::kProcesses, [&](uint32_t index) {
    options.mode == Mode::kLatency ? RunWork<System, StopWatch>(options, system, *meeting, index)
                                   : RunWork<System, NoWatch>(options, system, *meeting, index);
  });
  options.mode == Mode::kLatency ? ReportLatency(options, *meeting)
                                 : ReportThroughput(options, *meeting);
}

template <class System>
void MeasureAll(Options options) {
  for (const Work& work : kWorks) {
    for (const Mode mode : {Mode::kThroughput, Mode::kLatency, Mode::kFootprint}) {
      for (const uint32_t processes : {1u, 2u}) {
        const bool hand_over = work.name == "hand-over";
        if (hand_over && (processes == 1 || !System::kProcesses)) continue;
        if (mode == Mode::kFootprint && (processes == 2 || work.live == 1)) continue;
        if (Processors().size() < processes) continue;
        options.work = work;
        options.mode = mode;
        options.processes = processes;
        Measure<System>(Scaled(options));
      }
    }
  }
  options.mode = Mode::kRecovery;
  if constexpr (requires { System::Recover(options); }) Measure<System>(options);
}

template <class System>
int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  if (options.all) {
    MeasureAll<System>(options);
    return EXIT_SUCCESS;
  }
  Check(options.work.name != "hand-over" || (System::kProcesses && options.processes == 2),
        "hand-over is between two processes");
  Measure<System>(Scaled(options));
  return EXIT_SUCCESS;
}

}  // namespace thole::bench
