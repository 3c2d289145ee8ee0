#include "thole/shm/testing/systematic.h"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <bit>

#include "sim_run.h"

namespace thole::shm::testing {
namespace {

constexpr double kChildSeconds = 1;
constexpr uint64_t kChildRuns = 4000;
constexpr uint64_t kLearningRuns = 60;  // in random order: which words are in conflict?
enum Counter { kRuns, kAccesses, kDeaths, kSchedules, kFinished, kOneIn };

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// One batch of an enumeration, in a child: depth first, a script before those that extend it.
class Enumeration {
 public:
  Enumeration(const Program& program, const SystematicOptions& options, ConflictMap& conflicts,
              ChildReport& report)
      : program_(program), options_(options), report_(report), run_(program) {
    if (options.switches != 0) run_.set_conflicts(&conflicts);
    one_in_ = std::max<uint64_t>(1, report.counters[kOneIn]);
  }

  /// Runs in random order, which teach conflicts.
  void Learn(double end);
  /// From `script` on, which is run first unless it crashed, until the batch is full. What comes
  /// next stands in `report.current` then; none left: kFinished.
  void Go(const SimScript& script, bool crashed, double end);

 private:
  struct Level {
    SimScript script;
    std::vector<SimPoint> points;
    size_t point = 0;  // the next to branch off at, and how
    size_t option = 0;
    uint64_t deaths_seen = 0;  // of which one in so many is taken
  };

  SimReplay ReplayOf(const SimScript& script) const {
    return {program_.component + "/" + program_.name, SimMode::kScript, options_.seed, 0,
            script.ToString()};
  }
  void RunScript(const SimScript& script, bool counts);
  std::vector<SimEvent> OptionsAt(const Level& level, size_t point) const;
  void Push(const SimScript& script);
  void RebuildLevels(const SimScript& script);
  /// The script after `script`; false when there is none.
  bool Advance(SimScript& script);
  static uint32_t DeathsOf(const SimScript& script);
  void ChooseSample();

  const Program& program_;
  const SystematicOptions& options_;
  ChildReport& report_;
  SimRun run_;
  std::vector<Level> levels_;
  uint64_t one_in_ = 1;
};

uint32_t Enumeration::DeathsOf(const SimScript& script) {
  const auto is_death = [](const SimEvent& e) { return e.kind != SimEvent::Kind::kSwitch; };
  return static_cast<uint32_t>(std::count_if(script.events.begin(), script.events.end(), is_death));
}

void Enumeration::RunScript(const SimScript& script, bool counts) {
  const SimReplay replay = ReplayOf(script);
  report_.SetCurrent(replay.ToString());
  const SimOutcome outcome = run_.Run(replay);
  if (!counts) return;
  report_.counters[kRuns] += 1;
  report_.counters[kSchedules] += 1;
  report_.counters[kAccesses] += outcome.accesses;
  report_.counters[kDeaths] += outcome.deaths;
  if (!outcome.violation.empty()) report_.AddFailure(replay.ToString(), outcome.violation);
}

std::vector<SimEvent> Enumeration::OptionsAt(const Level& level, size_t point) const {
  std::vector<SimEvent> options;
  const SimPoint& here = level.points[point];
  const uint32_t deaths = DeathsOf(level.script);
  const uint64_t at = point + 1;
  const size_t switches = level.script.events.size() - deaths;
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

/// The points of the run that just ended become a level, unless nothing can be added to its script.
void Enumeration::Push(const SimScript& script) {
  const uint32_t deaths = DeathsOf(script);
  if (deaths >= options_.deaths && script.events.size() - deaths >= options_.switches) return;
  Level level;
  level.script = script;
  level.points = run_.points();
  level.point = script.events.empty() ? 0 : static_cast<size_t>(script.events.back().at);
  levels_.push_back(std::move(level));
}

void Enumeration::RebuildLevels(const SimScript& script) {
  levels_.clear();
  SimScript prefix{script.first, {}};
  for (const SimEvent& event : script.events) {
    RunScript(prefix, false);
    Push(prefix);
    Level& level = levels_.back();
    level.point = static_cast<size_t>(event.at - 1);
    const std::vector<SimEvent> options = OptionsAt(level, level.point);
    const auto found = std::find(options.begin(), options.end(), event);
    level.option = found == options.end() ? 0 : static_cast<size_t>(found - options.begin()) + 1;
    prefix.events.push_back(event);
  }
}

bool Enumeration::Advance(SimScript& script) {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.point >= level.points.size()) {
      levels_.pop_back();
      continue;
    }
    const std::vector<SimEvent> options = OptionsAt(level, level.point);
    if (level.option >= options.size()) {
      ++level.point;
      level.option = 0;
      continue;
    }
    const SimEvent event = options[level.option++];
    const bool second_death = event.kind != SimEvent::Kind::kSwitch && DeathsOf(level.script) == 1;
    // Another part of them for each first death, so that all kinds of second deaths come up.
    if (second_death && (level.point + level.script.events.back().at) % one_in_ != 0) continue;
    script = level.script;
    script.events.push_back(event);
    return true;
  }
  script = SimScript{script.first + 1, {}};
  return script.first <= program_.processes;
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
  RunScript({1, {}}, false);
  std::vector<uint64_t> first_deaths;
  for (size_t i = 0; i < run_.points().size(); ++i) {
    if (run_.points()[i].may_die) first_deaths.push_back(i + 1);
  }
  if (first_deaths.empty()) return;
  const uint64_t middle = first_deaths[first_deaths.size() / 2];
  RunScript({1, {{middle, SimEvent::Kind::kDieRepaired, 0}}}, false);
  uint64_t second_deaths = 0;
  for (const SimPoint& point : run_.points()) {
    if (point.may_die && run_.is_repairer(point.fiber)) ++second_deaths;
  }
  report_.counters[kOneIn] =
      1 + first_deaths.size() * second_deaths * program_.processes / options_.sample_runs;
}

void Enumeration::Go(const SimScript& start, bool crashed, double end) {
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  SimScript script = start;
  RebuildLevels(script);
  for (uint64_t runs = 0;; ++runs) {
    if (!crashed) {
      report_.SetCurrent(ReplayOf(script).ToString());
      if (runs == kChildRuns || Now() >= end || report_.failures >= options_.failures_max) return;
      RunScript(script, true);
      Push(script);
    }
    crashed = false;
    if (!Advance(script)) break;
  }
  report_.counters[kFinished] = 1;
}

/// The script that a child was at when it ended.
SimScript ScriptOf(const ChildReport& report) {
  const auto replay = SimReplay::Parse(report.current);
  return SimScript::Parse(replay ? replay->script : "").value_or(SimScript{});
}

}  // namespace

SystematicResult Enumerate(const Program& program, const SystematicOptions& options) {
  ChildReport* report = NewChildReport();
  ConflictMap conflicts(RoundUp(program.make_world()->segment_bytes(), 4096));
  const double end = Now() + options.seconds;
  SystematicResult result;
  result.program = program.component + "/" + program.name;

  RunInChild(*report, options.stall_seconds, [&](ChildReport& in_child) {
    Enumeration(program, options, conflicts, in_child).Learn(end);
  });
  const auto go_on = [&] { return Now() < end && report->failures < options.failures_max; };
  while (!result.complete && go_on()) {
    const uint64_t known = conflicts.size();
    report->counters[kSchedules] = 0;
    report->counters[kFinished] = 0;
    SimScript next;
    bool crashed = false;
    while (report->counters[kFinished] == 0 && go_on()) {
      const double batch_end = std::min(end, Now() + kChildSeconds);
      const ChildEnd ended = RunInChild(*report, options.stall_seconds, [&](ChildReport& in_child) {
        Enumeration(program, options, conflicts, in_child).Go(next, crashed, batch_end);
      });
      next = ScriptOf(*report);
      crashed = !ended.ok();
    }
    result.complete = report->counters[kFinished] != 0 && conflicts.size() == known;
  }
  result.schedules = report->counters[kSchedules];
  result.runs = report->counters[kRuns];
  result.accesses = report->counters[kAccesses];
  result.deaths = report->counters[kDeaths];
  result.one_in = std::max<uint64_t>(1, report->counters[kOneIn]);
  result.violations = report->failures;
  result.failures = report->Failures();
  return result;
}

}  // namespace thole::shm::testing
