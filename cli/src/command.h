// The command line of `thole`: one file per subcommand, and what they share.
//
// A subcommand adds itself to the CLI11 app and leaves in `chosen` what is to be run.
#pragma once

#include <cstdint>
#include <functional>

#include "exit_code.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace thole::cli {

using Command = std::function<ExitCode()>;

void AddDemoCommand(CLI::App& app, Command& chosen);
void AddListCommand(CLI::App& app, Command& chosen);
void AddCheckCommand(CLI::App& app, Command& chosen);

/// Accepts whole numbers from `low` to `high` and says so when it is given something else.
CLI::Validator WholeNumber(uint64_t low, uint64_t high);

/// Parses, runs, maps every end to an exit code. Never throws.
ExitCode RunCommandLine(int argc, char** argv);

}  // namespace thole::cli
