// thole demo: real files cross between processes while they are being killed.
#include <chrono>
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "command.h"
#include "demo/demo_options.h"
#include "demo/supervisor.h"
#include "demo/tree.h"
#include "table.h"

namespace thole::cli {
namespace {

using demo::DemoOptions;

constexpr const char* kAbout =
    "Feeders send every file below a folder to workers, a collector compares what arrives with\n"
    "the disk, and meanwhile somebody is killed with `kill -9` every few milliseconds and started\n"
    "again. At the end nothing may be lost, nothing leaked, and the audit must be clean.";
constexpr const char* kKeys =
    "--json prints: files bytes seconds messages_per_s kills feeder_kills worker_kills\n"
    "kills_inside_calls redelivered duplicates lost leaked_bytes audit_findings.\n"
    "Exit status: 0 the promise held, 8 it did not; the others as in `thole --help`.";

ExitCode Demo(DemoOptions options) {
  if (options.input.empty()) return FailUsage("--input is empty: give a folder");
  if (options.seed == 0) {
    options.seed =
        static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  }
  auto tree = demo::ListTree(options.input);
  if (!tree.ok()) return Fail(tree.status());
  for (size_t i = 0; i < tree->unreadable.size() && i < 5; ++i) {
    std::cerr << "thole: left out, it cannot be read: " << Printable(tree->unreadable[i]) << "\n";
  }
  auto report = demo::RunDemo(options, *tree);
  if (!report.ok()) return Fail(report.status());
  std::cout << (options.json ? demo::ToJsonLine(*report) + "\n" : demo::ToTable(*report));
  return report->PromiseHeld() ? ExitCode::kOk : ExitCode::kVerificationFailed;
}

}  // namespace

void AddDemoCommand(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command = app.add_subcommand("demo", "Shows that messages survive `kill -9`");
  command->description(kAbout);
  command->footer(kKeys);
  command->add_option("--input", options->input, "Folder whose files are sent")
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "How long files are sent")
      ->check(WholeNumber(1, 86'400))
      ->capture_default_str();
  command->add_option("--kill-every-ms", options->kill_every_ms, "Time between kills; 0 = no kills")
      ->check(WholeNumber(0, 60'000))
      ->capture_default_str();
  command->add_option("--workers", options->workers, "Processes that check chunks")
      ->check(WholeNumber(1, demo::kWorkersMax))
      ->capture_default_str();
  command->add_option("--feeders", options->feeders, "Processes that read files")
      ->check(WholeNumber(1, demo::kFeedersMax))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the choice of victims; 0 = from the clock")
      ->check(WholeNumber(0, UINT64_MAX))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([options, &chosen] { chosen = [options] { return Demo(*options); }; });
}

}  // namespace thole::cli
