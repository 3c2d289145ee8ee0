#include "command.h"

#include <charconv>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "CLI/CLI.hpp"

namespace thole::cli {
namespace {

constexpr const char* kAbout =
    "thole: messages between the processes of one machine that survive the death of any of them.";
constexpr const char* kExitCodes =
    "Exit status: 0 ok, 1 the answer is no or something is damaged, 2 bad command line, 3 not\n"
    "found, 4 timeout, 5 no permission, 6 other layout version, 7 peer died, 8 verification "
    "failed.";

// The first word that is no option: where a subcommand belongs.
std::string FirstWord(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] != '-') return argv[i];
  }
  return "";
}

// What CLI11 found, as a sentence, and where to read on.
std::string Sentence(const CLI::ParseError& error, const CLI::App& app, int argc, char** argv) {
  const auto chosen = app.get_subcommands();
  if (error.get_name() == "RequiredError" && chosen.empty()) {
    const std::string word = FirstWord(argc, argv);
    return (word.empty() ? "no subcommand" : "there is no subcommand '" + word + "'") +
           ": say `thole demo`, `thole list` or `thole check`; see `thole --help`";
  }
  const std::string help =
      chosen.empty() ? "thole --help" : "thole " + chosen[0]->get_name() + " --help";
  std::string what = error.what();
  if (error.get_name() == "ArgumentMismatch" && what.ends_with("missing")) {
    what = what.substr(0, what.find(':')) + " needs a value";
  } else if (error.get_name() == "ArgumentMismatch") {
    what = what.substr(0, what.find(':')) + " is given more than once";
  }
  while (!what.empty() && (what.back() == '\n' || what.back() == '.')) what.pop_back();
  return what + "; see `" + help + "`";
}

ExitCode Parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return ExitCode::kOk;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error);
      throw CLI::Success();
    }
    return FailUsage(Sentence(error, app, argc, argv));
  }
}

}  // namespace

CLI::Validator WholeNumber(uint64_t low, uint64_t high) {
  const std::string range = std::to_string(low) + " to " + std::to_string(high);
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto [stop, problem] = std::from_chars(text.data(), end, value);
        if (problem == std::errc() && stop == end && value >= low && value <= high) return "";
        return "'" + text + "' is not a whole number from " + range;
      },
      range, "whole number");
}

ExitCode RunCommandLine(int argc, char** argv) {
  try {
    CLI::App app(kAbout, "thole");
    Command chosen;
    app.set_version_flag("--version", "thole " THOLE_VERSION);
    app.require_subcommand(1);
    app.footer(kExitCodes);
    AddDemoCommand(app, chosen);
    AddListCommand(app, chosen);
    AddCheckCommand(app, chosen);
    if (const ExitCode parsed = Parse(app, argc, argv); parsed != ExitCode::kOk) return parsed;
    const ExitCode code = chosen();
    std::cout.flush();
    if (!std::cout) {
      std::fprintf(stderr, "thole: the output could not be written\n");
      return code == ExitCode::kOk ? ExitCode::kNo : code;
    }
    return code;
  } catch (const CLI::Success&) {
    return ExitCode::kOk;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "thole: %s\n", error.what());
    return ExitCode::kNo;
  }
}

}  // namespace thole::cli
