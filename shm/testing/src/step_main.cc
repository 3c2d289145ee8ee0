// main() of a stepper test: all operations that are linked in.
//
//   alloc_step_test --seconds 5 --filter Shrink --json /tmp/step.json
#include <cstdio>

#include "harness_main.h"
#include "thole/shm/testing/stepper.h"

namespace {

using namespace thole::shm::testing;

constexpr double kDefaultSeconds = 5;

std::string Json(const StepResult& result) {
  char numbers[300];
  std::snprintf(numbers, sizeof(numbers),
                "\"runs\": %llu, \"instructions\": %llu, \"states\": %llu, \"repairs_stepped\": "
                "%llu, \"repair_states\": %llu, \"failed\": %llu, ",
                static_cast<unsigned long long>(result.runs),
                static_cast<unsigned long long>(result.instructions),
                static_cast<unsigned long long>(result.states),
                static_cast<unsigned long long>(result.repairs_stepped),
                static_cast<unsigned long long>(result.repair_states),
                static_cast<unsigned long long>(result.failed));
  return "{\"operation\": " + JsonText(result.operation) + ", " + numbers +
         "\"failures\": " + JsonFailures(result.failures) + "}";
}

void Print(const StepResult& result) {
  std::printf("%-58s %6llu %9llu %8llu %6llu %9llu %7llu\n", result.operation.c_str(),
              static_cast<unsigned long long>(result.runs),
              static_cast<unsigned long long>(result.instructions),
              static_cast<unsigned long long>(result.states),
              static_cast<unsigned long long>(result.repairs_stepped),
              static_cast<unsigned long long>(result.repair_states),
              static_cast<unsigned long long>(result.failed));
  PrintFailures(result.failures);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  HarnessOptions options;
  if (!ParseHarnessOptions(argc, argv, &options)) return 2;
  std::vector<const Operation*> chosen;
  for (const Operation& operation : Operations()) {
    const std::string name =
        operation.component + "/" + operation.name + " (" + operation.shape + ")";
    if (options.list) std::printf("%s\n", name.c_str());
    if (name.find(options.filter) != std::string::npos) chosen.push_back(&operation);
  }
  if (options.list) return 0;
  if (chosen.empty()) {
    std::fprintf(stderr, "no operation matches: a test of nothing fails\n");
    return 1;
  }
  const bool bounded = options.count != 0;
  const double seconds = options.seconds != 0 ? options.seconds : bounded ? 0 : kDefaultSeconds;
  const StepOptions step{.seed = options.seed,
                         .seeds = bounded ? static_cast<uint32_t>(options.count) : 1,
                         .seconds = seconds / static_cast<double>(chosen.size()),
                         .repairs = options.repairs,
                         .in_process = options.in_process};
  std::printf("%-58s %6s %9s %8s %6s %9s %7s\n", "operation (shape)", "runs", "instr.", "states",
              "reps", "rep.stat.", "failed");
  std::string json;
  uint64_t states = 0;
  uint64_t failed = 0;
  for (const Operation* operation : chosen) {
    const StepResult result = Step(*operation, step);
    Print(result);
    states += result.states + result.repair_states;
    failed += result.failed;
    json += (json.empty() ? "" : ",\n ") + Json(result);
  }
  std::printf("%zu operations, %llu crash states, %llu failed\n", chosen.size(),
              static_cast<unsigned long long>(states), static_cast<unsigned long long>(failed));
  if (!options.json.empty() && !WriteFile(options.json, "[" + json + "]\n")) return 2;
  return failed == 0 ? 0 : 1;
}
