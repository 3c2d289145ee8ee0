// main() of a simulator test: all programs that are linked in.
//
//   alloc_sim_test --seconds 5 --filter Churn --json /tmp/sim.json
//   queue_sim_test --exhaustive 2 --filter pair --each 60
//   queue_sim_test --double --runs 2000
//   alloc_sim_test --replay alloc/Churn:r:0x1234:350 --trace
//   alloc_sim_test --replay-file tests/replays.txt     (then the programs, as without it)
#include <time.h>

#include <algorithm>
#include <cstdio>

#include "harness_main.h"
#include "thole/shm/testing/simulator.h"
#include "thole/shm/testing/systematic.h"

namespace {

using namespace thole::shm::testing;

constexpr double kDefaultSeconds = 5;

using Number = unsigned long long;

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::string Json(const SimResult& result) {
  char numbers[300];
  std::snprintf(numbers, sizeof(numbers),
                "\"runs\": %llu, \"accesses\": %llu, \"deaths\": %llu, \"repairs\": %llu, "
                "\"stale\": %llu, \"cut_off\": %llu, \"violations\": %llu, ",
                Number{result.runs}, Number{result.accesses}, Number{result.deaths},
                Number{result.repairs}, Number{result.stale_loads}, Number{result.cut_off},
                Number{result.violations});
  return "{\"program\": " + JsonText(result.program) + ", " + numbers +
         "\"failures\": " + JsonFailures(result.failures) + "}";
}

std::string Json(const SystematicResult& result) {
  char numbers[300];
  std::snprintf(numbers, sizeof(numbers),
                "\"schedules\": %llu, \"runs\": %llu, \"deaths\": %llu, \"states\": %llu, "
                "\"ends\": %llu, \"one_in\": %llu, \"cut_off\": %d, \"violations\": %llu, "
                "\"seconds\": %.1f, ",
                Number{result.schedules}, Number{result.runs}, Number{result.deaths},
                Number{result.states}, Number{result.ends}, Number{result.one_in},
                result.complete ? 0 : 1, Number{result.violations}, result.seconds);
  return "{\"program\": " + JsonText(result.program) + ", " + numbers +
         "\"failures\": " + JsonFailures(result.failures) + "}";
}

void PrintAgain(const std::vector<Failure>& failures) {
  PrintFailures(failures);
  if (!failures.empty()) std::printf("  again: --replay '%s'\n", failures[0].where.c_str());
  std::fflush(stdout);
}

void Print(const SimResult& result) {
  std::printf("%-44s %9llu %12llu %9llu %9llu %10llu\n", result.program.c_str(),
              Number{result.runs}, Number{result.accesses}, Number{result.deaths},
              Number{result.repairs}, Number{result.violations});
  PrintAgain(result.failures);
}

void Print(const SystematicResult& result) {
  std::string covered = result.complete ? "all" : "cut off";
  if (result.one_in > 1) covered = "1 in " + std::to_string(result.one_in) + ", " + covered;
  std::printf("%-90s %10llu %10llu %9llu %10llu %8.1f  %s\n", result.program.c_str(),
              Number{result.schedules}, Number{result.states}, Number{result.ends},
              Number{result.violations}, result.seconds, covered.c_str());
  PrintAgain(result.failures);
}

/// All programs: those of the component, and those made of its operations.
const std::vector<Program>& Everything() {
  static const std::vector<Program> everything = [] {
    std::vector<Program> programs = Programs();
    for (Program& program : PairProgramsOf(Operations())) programs.push_back(std::move(program));
    for (Program& program : AloneProgramsOf(Operations())) programs.push_back(std::move(program));
    return programs;
  }();
  return everything;
}

/// False when the text is no replay, its program does not exist, or it shows a violation.
bool RunReplay(const std::string& text, bool trace) {
  const auto replay = SimReplay::Parse(text);
  if (!replay) {
    std::fprintf(stderr, "'%s' is no replay string\n", text.c_str());
    return false;
  }
  const auto run = [&](const Program& program) {
    const SimResult result = Replay(program, *replay, trace);
    Print(result);
    return result.violations == 0;
  };
  for (const Program& program : Everything()) {
    if (program.component + "/" + program.name == replay->program) return run(program);
  }
  const std::string rows = replay->program.substr(replay->program.find('/') + 1);
  if (const auto program = RowsProgramNamed(rows, Operations())) return run(*program);
  std::fprintf(stderr, "there is no program '%s' here\n", replay->program.c_str());
  return false;
}

std::vector<const Program*> Choose(const HarnessOptions& options,
                                   const std::vector<Program>& programs) {
  std::vector<const Program*> chosen;
  for (const Program& program : programs) {
    const std::string name = program.component + "/" + program.name;
    if (name.find(options.filter) == std::string::npos) continue;
    if (options.list) std::printf("%s\n", name.c_str());
    chosen.push_back(&program);
  }
  return chosen;
}

double SecondsOf(const HarnessOptions& options) {
  return options.seconds != 0 ? options.seconds : options.count != 0 ? 0 : kDefaultSeconds;
}

/// Random orders. Returns the violations, or -1 without a file for the JSON.
int SimulateAll(const HarnessOptions& options, const std::vector<const Program*>& chosen) {
  const SimOptions sim{.seed = options.seed,
                       .seconds = SecondsOf(options) / static_cast<double>(chosen.size()),
                       .runs = options.count,
                       .weak = options.weak,
                       .hostile = options.hostile,
                       .in_process = options.in_process};
  std::printf("%-44s %9s %12s %9s %9s %10s\n", "program", "runs", "accesses", "deaths", "repairs",
              "violations");
  std::string json;
  SimResult sum;
  for (const Program* program : chosen) {
    const SimResult result = Simulate(*program, sim);
    Print(result);
    sum.runs += result.runs;
    sum.deaths += result.deaths;
    sum.stale_loads += result.stale_loads;
    sum.cut_off += result.cut_off;
    sum.violations += result.violations;
    json += (json.empty() ? "" : ",\n ") + Json(result);
  }
  std::printf("%zu programs, %llu runs, %llu deaths, %llu violations\n", chosen.size(),
              Number{sum.runs}, Number{sum.deaths}, Number{sum.violations});
  if (options.weak) std::printf("%llu loads returned something old\n", Number{sum.stale_loads});
  if (options.hostile) {
    std::printf("%llu runs cut off: somebody waited for what was a lie\n", Number{sum.cut_off});
  }
  if (!options.json.empty() && !WriteFile(options.json, "[" + json + "]\n")) return -1;
  return static_cast<int>(sum.violations);
}

/// All orders with few switches, or double crashes. What one program leaves of its time is for
/// those after it.
int EnumerateAll(const HarnessOptions& options, const std::vector<const Program*>& chosen) {
  const double end = Now() + (options.seconds != 0 ? options.seconds : kDefaultSeconds);
  std::printf("%-90s %10s %10s %9s %10s %8s  %s\n", "program", "schedules", "states", "ends",
              "violations", "seconds", "covered");
  std::string json;
  SystematicResult sum;
  size_t cut_off = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    SystematicOptions systematic{.seed = options.seed, .sample_runs = options.count};
    systematic.seconds = (end - Now()) / static_cast<double>(chosen.size() - i);
    if (options.each != 0) systematic.seconds = options.each;
    systematic.prune = !options.unpruned;
    systematic.switches = static_cast<uint32_t>(std::max(options.exhaustive, 0));
    systematic.deaths = options.double_crash ? 2 : 1;
    const SystematicResult result = Enumerate(*chosen[i], systematic);
    Print(result);
    sum.schedules += result.schedules;
    sum.violations += result.violations;
    cut_off += result.complete ? 0 : 1;
    json += (json.empty() ? "" : ",\n ") + Json(result);
  }
  std::printf("%zu programs, %llu schedules, %llu violations; %zu programs cut off by the time\n",
              chosen.size(), Number{sum.schedules}, Number{sum.violations}, cut_off);
  if (!options.json.empty() && !WriteFile(options.json, "[" + json + "]\n")) return -1;
  return static_cast<int>(sum.violations);
}

}  // namespace

int main(int argc, char** argv) {
  HarnessOptions options;
  if (!ParseHarnessOptions(argc, argv, &options)) return 2;
  const bool only_replays = !options.replays.empty();
  if (!options.replay_file.empty() && !ReadReplayFile(options.replay_file, &options.replays)) {
    return 2;
  }
  bool ok = true;
  for (const std::string& text : options.replays) ok = RunReplay(text, options.trace) && ok;
  if (only_replays) return ok ? 0 : 1;

  const bool systematic = options.exhaustive >= 0 || options.double_crash;
  const std::vector<Program>& all = systematic ? Everything() : Programs();
  const std::vector<const Program*> chosen = Choose(options, all);
  if (options.list) return 0;
  if (chosen.empty()) {
    std::fprintf(stderr, "no program matches: a test of nothing fails\n");
    return 1;
  }
  const int bad = systematic ? EnumerateAll(options, chosen) : SimulateAll(options, chosen);
  if (bad < 0) return 2;
  return ok && bad == 0 ? 0 : 1;
}
