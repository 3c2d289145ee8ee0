// Histories of simulated processes: the programs of `sim_programs.cc`, each run of which is a
// history that is checked, as in `queue_sim_test`; here they are counted too.
//
//   queue_histories_sim --seconds 10 [--seed N] [--json FILE]
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "support/history_counts.h"
#include "thole/shm/testing/simulator.h"

int main(int argc, char** argv) {
  using namespace thole::shm::testing;
  using namespace thole::queue::testing;
  double seconds = 5;
  SimOptions options;
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (option == "--seed") options.seed = std::strtoull(argv[i + 1], nullptr, 0);
    if (option == "--json") json = argv[i + 1];
  }
  HistoryCounts& counts = CountsOfHistories();
  uint64_t violations = 0;
  options.seconds = seconds / static_cast<double>(Programs().size());
  for (const Program& program : Programs()) {
    const SimResult result = Simulate(program, options);
    // Also what is no matter of histories: nothing that is found is passed over.
    for (const Failure& failure : result.failures) {
      std::printf("FAILED %s\n%s\nagain: queue_sim_test --replay '%s'\n", failure.where.c_str(),
                  failure.text.c_str(), failure.where.c_str());
    }
    violations += result.violations;
    counts.deaths += result.deaths;
  }
  counts.violations = violations;  // those of histories among them
  return PrintCounts("simulated", json) ? 0 : 1;
}
