// main() of a stepper test: all operations that are linked in.
//
//   alloc_step_test --seconds 5 --filter Shrink --json /tmp/step.json
#include <cstdio>

#include "harness_main.h"
#include "thole/shm/testing/stepper.h"

namespace {

using namespace thole::shm::testing;

constexpr double kDefaultSeconds = 5;

struct Column {
  const char* key;    // in the JSON
  const char* title;  // in the table
  int width;
  uint64_t StepResult::* value;
};
constexpr Column kColumns[] = {
    {"runs", "runs", 6, &StepResult::runs},
    {"instructions", "instr.", 9, &StepResult::instructions},
    {"states", "states", 8, &StepResult::states},
    {"distinct", "distinct", 8, &StepResult::distinct},
    {"repairs_stepped", "reps", 6, &StepResult::repairs_stepped},
    {"pairs", "pairs", 8, &StepResult::pairs},
    {"distinct_pairs", "distinct", 8, &StepResult::distinct_pairs},
    {"audits_saved", "saved", 8, &StepResult::audits_saved},
    {"failed", "failed", 7, &StepResult::failed},
};

std::string Json(const StepResult& result) {
  std::string numbers;
  for (const Column& column : kColumns) {
    numbers +=
        std::string("\"") + column.key + "\": " + std::to_string(result.*column.value) + ", ";
  }
  return "{\"operation\": " + JsonText(result.operation) + ", " + numbers +
         "\"failures\": " + JsonFailures(result.failures) + "}";
}

void Print(const StepResult& result) {
  std::printf("%-58s", result.operation.c_str());
  for (const Column& column : kColumns) {
    std::printf(" %*llu", column.width, static_cast<unsigned long long>(result.*column.value));
  }
  std::printf("\n");
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
  StepSeen seen;
  const StepOptions step{.seed = options.seed,
                         .seeds = bounded ? static_cast<uint32_t>(options.count) : 1,
                         .seconds = seconds / static_cast<double>(chosen.size()),
                         .repairs = options.repairs,
                         .in_process = options.in_process,
                         .seen = &seen};
  std::printf("%-58s", "operation (shape)");
  for (const Column& column : kColumns) std::printf(" %*s", column.width, column.title);
  std::printf("\n");
  std::string json;
  StepResult all;
  for (const Operation* operation : chosen) {
    const StepResult result = Step(*operation, step);
    Print(result);
    for (const Column& column : kColumns) all.*column.value += result.*column.value;
    json += (json.empty() ? "" : ",\n ") + Json(result);
  }
  std::printf(
      "%zu operations, %llu states (%llu distinct), %llu pairs, %llu failed\n", chosen.size(),
      static_cast<unsigned long long>(all.states), static_cast<unsigned long long>(all.distinct),
      static_cast<unsigned long long>(all.pairs), static_cast<unsigned long long>(all.failed));
  if (!options.json.empty() && !WriteFile(options.json, "[" + json + "]\n")) return 2;
  return all.failed == 0 ? 0 : 1;
}
