#include "thole/shm/testing/systematic.h"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <bit>

#include "pending_scripts.h"
#include "sim_run.h"
#include "visited_states.h"

namespace thole::shm::testing {
namespace {

constexpr double kChildSeconds = 1;
constexpr uint64_t kLearningRuns = 60;  // in random order: which words are in conflict?
enum Counter { kRuns, kAccesses, kDeaths, kSchedules, kEnds, kSumOfEnds, kOneIn, kStart };

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

uint32_t DeathsOf(const SimScript& script) {
  const auto is_death = [](const SimEvent& e) { return e.kind != SimEvent::Kind::kSwitch; };
  return static_cast<uint32_t>(std::count_if(script.events.begin(), script.events.end(), is_death));
}

/// What the children of one search share.
struct Search {
  explicit Search(uint64_t image_bytes) : conflicts(image_bytes) {}
  /// Nothing is run yet, of programs of so many processes.
  void Begin(uint32_t processes) {
    visited.Clear();
    ends.Clear();
    pending.Clear();
    for (uint32_t first = processes; first != 0; --first) pending.Push({first, {}});
  }

  ConflictMap conflicts;
  VisitedStates visited;
  VisitedStates ends;  // bytes and deaths in which a run ended
  PendingScripts pending;
};

/// One batch of a search, in a child: depth first, a script before those that extend it.
class Enumeration {
 public:
  Enumeration(const Program& program, const SystematicOptions& options, Search& search,
              ChildReport& report)
      : program_(program), options_(options), search_(search), report_(report), run_(program) {
    if (options.switches != 0) run_.set_conflicts(&search.conflicts);
    one_in_ = std::max<uint64_t>(1, report.counters[kOneIn]);
  }

  /// Runs in random order, which teach conflicts.
  void Learn(double end);
  /// Runs what is pending until nothing is, or the batch is over.
  void Go(double end);

 private:
  SimReplay ReplayOf(const SimScript& script) const {
    return {program_.component + "/" + program_.name, SimMode::kScript, options_.seed, 0,
            script.ToString()};
  }
  void RunScript(const SimScript& script);
  void ExpectSameStart();
  bool IsSampled(const SimScript& script, const SimEvent& event) const;
  std::vector<SimEvent> OptionsAt(const SimScript& script, size_t point);
  void PushBranches(const SimScript& script);
  void ChooseSample();

  const Program& program_;
  const SystematicOptions& options_;
  Search& search_;
  ChildReport& report_;
  SimRun run_;
  uint64_t one_in_ = 1;
};

void Enumeration::RunScript(const SimScript& script) {
  const SimReplay replay = ReplayOf(script);
  const SimOutcome outcome = run_.Run(replay);
  report_.counters[kRuns] += 1;
  report_.counters[kSchedules] += 1;
  report_.counters[kAccesses] += outcome.accesses;
  report_.counters[kDeaths] += outcome.deaths;
  if (!outcome.violation.empty()) report_.AddFailure(replay.ToString(), outcome.violation);
  if (outcome.pruned || !search_.ends.Enter(outcome.ended_in, 0)) return;
  report_.counters[kEnds] += 1;
  report_.counters[kSumOfEnds] += outcome.ended_in;
}

/// States of one child are those of another one only if both begin with the same bytes.
void Enumeration::ExpectSameStart() {
  uint64_t& start = report_.counters[kStart];
  if (start == 0) start = run_.HashOfStart();
  if (start == run_.HashOfStart()) return;
  report_.AddFailure(report_.current, "what is prepared is not the same each time");
}

/// Of second deaths only some may be wanted: another part of them for each first death, so that all
/// kinds of second deaths come up.
bool Enumeration::IsSampled(const SimScript& script, const SimEvent& event) const {
  if (event.kind == SimEvent::Kind::kSwitch || DeathsOf(script) == 0) return true;
  return (event.at - 1 + script.events.back().at) % one_in_ == 0;
}

std::vector<SimEvent> Enumeration::OptionsAt(const SimScript& script, size_t point) {
  std::vector<SimEvent> options;
  const SimPoint& here = run_.points()[point];
  const uint32_t deaths = DeathsOf(script);
  const uint64_t at = point + 1;
  const size_t switches = script.events.size() - deaths;
  if (here.may_switch && switches < options_.switches) {
    for (uint32_t others = here.ready; others != 0; others &= others - 1) {
      const auto to = static_cast<uint32_t>(std::countr_zero(others));
      options.push_back({at, SimEvent::Kind::kSwitch, to});
    }
  }
  if (!here.may_die || deaths >= options_.deaths) return options;
  if (options_.deaths == 2) {
    if (deaths == 0) options.push_back({at, SimEvent::Kind::kDieRepaired, 0});
    if (deaths == 1 && run_.is_repairer(here.fiber)) {
      options.push_back({at, SimEvent::Kind::kDie, 0});
    }
  } else {
    options.push_back({at, SimEvent::Kind::kDie, 0});
    options.push_back({at, SimEvent::Kind::kDieRepaired, 0});
  }
  return options;
}

/// All that the run which just ended can be made to do otherwise, behind the last event.
void Enumeration::PushBranches(const SimScript& script) {
  const uint32_t deaths = DeathsOf(script);
  if (deaths >= options_.deaths && script.events.size() - deaths >= options_.switches) return;
  const size_t begin = script.events.empty() ? 0 : static_cast<size_t>(script.events.back().at);
  SimScript branch = script;
  branch.events.emplace_back();
  for (size_t point = run_.points().size(); point-- > begin;) {
    const std::vector<SimEvent> options = OptionsAt(script, point);
    for (auto option = options.rbegin(); option != options.rend(); ++option) {
      if (!IsSampled(script, *option)) continue;
      branch.events.back() = *option;
      search_.pending.Push(branch);
    }
  }
}

void Enumeration::Learn(double end) {
  const uint64_t runs = options_.switches == 0 ? 0 : kLearningRuns;
  for (uint64_t i = 0; i < runs && Now() < end; ++i) {
    SimReplay replay{program_.component + "/" + program_.name, SimMode::kRandom, options_.seed + i,
                     i % 2 * 100};
    report_.SetCurrent(replay.ToString());
    run_.Run(replay);  // what it finds wrong is for the other modes to say
    report_.counters[kRuns] += 1;
  }
  ChooseSample();
}

/// How many second deaths there are, by one first death in the middle.
void Enumeration::ChooseSample() {
  if (options_.sample_runs == 0 || options_.deaths < 2) return;
  run_.Run(ReplayOf({1, {}}));
  std::vector<uint64_t> first_deaths;
  for (size_t i = 0; i < run_.points().size(); ++i) {
    if (run_.points()[i].may_die) first_deaths.push_back(i + 1);
  }
  if (first_deaths.empty()) return;
  const uint64_t middle = first_deaths[first_deaths.size() / 2];
  run_.Run(ReplayOf({1, {{middle, SimEvent::Kind::kDieRepaired, 0}}}));
  uint64_t second_deaths = 0;
  for (const SimPoint& point : run_.points()) {
    if (point.may_die && run_.is_repairer(point.fiber)) ++second_deaths;
  }
  report_.counters[kOneIn] =
      1 + first_deaths.size() * second_deaths * program_.processes / options_.sample_runs;
}

void Enumeration::Go(double end) {
  // Which second deaths a sample takes depends on the way to a state.
  const bool prunes = options_.prune && program_.shares_only_image && one_in_ == 1;
  run_.Repeat(prunes ? &search_.visited : nullptr, options_.switches, options_.deaths);
  bool first = true;
  while (!search_.pending.empty() && Now() < end && report_.failures < options_.failures_max) {
    const SimScript script = search_.pending.Pop();
    report_.SetCurrent(ReplayOf(script).ToString());
    if (first) run_.Run(ReplayOf(script));  // outside of the run heap
    RunScript(script);
    if (first) ExpectSameStart();
    first = false;
    PushBranches(script);
  }
}

/// One search with so many switches; true when nothing is left to run.
bool RunAll(const Program& program, const SystematicOptions& options, Search& search, double end,
            ChildReport& report) {
  const uint64_t known = search.conflicts.size();
  search.Begin(program.processes);
  report.counters[kSchedules] = report.counters[kEnds] = report.counters[kSumOfEnds] = 0;
  while (!search.pending.empty()) {
    if (Now() >= end || report.failures >= options.failures_max) return false;
    search.visited.MakeRoom();
    search.ends.MakeRoom();
    const double batch_end = std::min(end, Now() + kChildSeconds);
    RunInChild(report, options.stall_seconds, [&](ChildReport& in_child) {
      Enumeration(program, options, search, in_child).Go(batch_end);
    });
  }
  return search.conflicts.size() == known;
}

}  // namespace

SystematicResult Enumerate(const Program& program, const SystematicOptions& options) {
  ChildReport* report = NewChildReport();
  Search search(RoundUp(program.make_world()->segment_bytes(), 4096));
  const double begin = Now();
  const double end = begin + options.seconds;
  RunInChild(*report, options.stall_seconds, [&](ChildReport& in_child) {
    Enumeration(program, options, search, in_child).Learn(end);
  });
  SystematicResult result;
  result.program = program.component + "/" + program.name;
  // What is in conflict is mostly learned with fewer switches, which takes less time.
  SystematicOptions fewer = options;
  fewer.switches = options.switches == 0 ? 0 : 1;
  while (!result.complete && Now() < end && report->failures < options.failures_max) {
    const bool all = RunAll(program, fewer, search, end, *report);
    result.complete = all && fewer.switches == options.switches;
    fewer.switches = std::min(fewer.switches + 1, options.switches);
  }
  result.schedules = report->counters[kSchedules];
  result.states = search.visited.size();
  result.ends = report->counters[kEnds];
  result.sum_of_ends = report->counters[kSumOfEnds];
  result.runs = report->counters[kRuns];
  result.accesses = report->counters[kAccesses];
  result.deaths = report->counters[kDeaths];
  result.one_in = std::max<uint64_t>(1, report->counters[kOneIn]);
  result.violations = report->failures;
  result.seconds = Now() - begin;
  result.failures = report->Failures();
  return result;
}

}  // namespace thole::shm::testing
