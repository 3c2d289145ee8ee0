// The soak: real processes work through one segment while they are killed, stopped and started
// again, for as long as one likes. See proptests/README.md.
#include <chrono>
#include <fstream>
#include <iostream>

#include "CLI/CLI.hpp"
#include "supervisor.h"

int main(int argc, char** argv) {
  thole::soak::SoakOptions options;
  std::string json;
  CLI::App app("Producers and consumers under constant fire, with a ledger of every message.");
  app.add_option("seconds", options.seconds, "How long")->check(CLI::Range(1, 10'000'000));
  app.add_option("--json", json, "Write the report to this file");
  app.add_option("--seed", options.seed, "Of victims and moments; 0 = from the clock");
  app.add_option("--producers", options.producers)->check(CLI::Range(1, 30));
  app.add_option("--consumers", options.consumers)->check(CLI::Range(1, 30));
  app.add_option("--threads", options.threads, "Of each process")
      ->check(CLI::Range(uint32_t{1}, thole::soak::kThreadsMax));
  app.add_option("--deaths", options.deaths_per_second, "A second; 0 = nobody dies");
  app.add_option("--stops", options.stops_per_second, "A second");
  app.add_option("--audit-every-ms", options.audit_every_ms);
  app.add_option("--hang-seconds", options.hang_seconds, "No progress for so long is a hang");
  CLI11_PARSE(app, argc, argv);
  if (options.seed == 0) {
    options.seed =
        static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  }
  const auto report = thole::soak::RunSoak(options);
  if (!report.ok()) {
    std::cerr << "soak: " << report.status().message() << "\n";
    return 2;
  }
  std::cout << report->ToTable() << "seed " << options.seed << "\n";
  if (!json.empty()) std::ofstream(json) << report->ToJson();
  return report->PromiseHeld() ? 0 : 1;
}
