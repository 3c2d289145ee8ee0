// main() of a simulator test: all programs that are linked in.
//
//   alloc_sim_test --seconds 5 --filter Churn --json /tmp/sim.json
//   alloc_sim_test --replay alloc/Churn:r:0x1234:350 --trace
//   alloc_sim_test --replay-file tests/replays.txt     (then the programs, as without it)
#include <cstdio>

#include "harness_main.h"
#include "thole/shm/testing/simulator.h"

namespace {

using namespace thole::shm::testing;

constexpr double kDefaultSeconds = 5;

std::string Json(const SimResult& result) {
  char numbers[300];
  std::snprintf(numbers, sizeof(numbers),
                "\"runs\": %llu, \"accesses\": %llu, \"deaths\": %llu, \"repairs\": %llu, "
                "\"violations\": %llu, ",
                static_cast<unsigned long long>(result.runs),
                static_cast<unsigned long long>(result.accesses),
                static_cast<unsigned long long>(result.deaths),
                static_cast<unsigned long long>(result.repairs),
                static_cast<unsigned long long>(result.violations));
  return "{\"program\": " + JsonText(result.program) + ", " + numbers +
         "\"failures\": " + JsonFailures(result.failures) + "}";
}

void Print(const SimResult& result) {
  std::printf("%-44s %9llu %12llu %9llu %9llu %10llu\n", result.program.c_str(),
              static_cast<unsigned long long>(result.runs),
              static_cast<unsigned long long>(result.accesses),
              static_cast<unsigned long long>(result.deaths),
              static_cast<unsigned long long>(result.repairs),
              static_cast<unsigned long long>(result.violations));
  PrintFailures(result.failures);
  if (!result.failures.empty()) {
    std::printf("  again: --replay '%s'\n", result.failures[0].where.c_str());
  }
  std::fflush(stdout);
}

/// False when the text is no replay, its program does not exist, or it shows a violation.
bool RunReplay(const std::string& text, bool trace) {
  const auto replay = SimReplay::Parse(text);
  if (!replay) {
    std::fprintf(stderr, "'%s' is no replay string\n", text.c_str());
    return false;
  }
  for (const Program& program : Programs()) {
    if (program.component + "/" + program.name != replay->program) continue;
    const SimResult result = Replay(program, *replay, trace);
    Print(result);
    return result.violations == 0;
  }
  std::fprintf(stderr, "there is no program '%s' here\n", replay->program.c_str());
  return false;
}

std::vector<const Program*> ChoosePrograms(const HarnessOptions& options) {
  std::vector<const Program*> chosen;
  for (const Program& program : Programs()) {
    const std::string name = program.component + "/" + program.name;
    if (options.list) std::printf("%s\n", name.c_str());
    if (name.find(options.filter) != std::string::npos) chosen.push_back(&program);
  }
  return chosen;
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

  const std::vector<const Program*> chosen = ChoosePrograms(options);
  if (options.list) return 0;
  if (chosen.empty()) {
    std::fprintf(stderr, "no program matches: a test of nothing fails\n");
    return 1;
  }
  const double seconds = options.seconds != 0 ? options.seconds
                         : options.count != 0 ? 0
                                              : kDefaultSeconds;
  const SimOptions sim{.seed = options.seed,
                       .seconds = seconds / static_cast<double>(chosen.size()),
                       .runs = options.count,
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
    sum.violations += result.violations;
    json += (json.empty() ? "" : ",\n ") + Json(result);
  }
  std::printf("%zu programs, %llu runs, %llu deaths, %llu violations\n", chosen.size(),
              static_cast<unsigned long long>(sum.runs),
              static_cast<unsigned long long>(sum.deaths),
              static_cast<unsigned long long>(sum.violations));
  if (!options.json.empty() && !WriteFile(options.json, "[" + json + "]\n")) return 2;
  return ok && sum.violations == 0 ? 0 : 1;
}
