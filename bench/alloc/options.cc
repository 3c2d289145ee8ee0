#include "options.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

namespace thole::bench {
namespace {

[[noreturn]] void Refuse(const char* program) {
  std::string works;
  for (const Work& work : kWorks) works += std::string(work.name) + "|";
  std::fprintf(stderr,
               "usage: %s %sall|recovery [--processes 1|2] "
               "[--mode throughput|latency|footprint] [--batch N] [--quick]\n",
               program, works.c_str());
  std::exit(2);
}

std::optional<Mode> ModeOf(std::string_view name) {
  if (name == "throughput") return Mode::kThroughput;
  if (name == "latency") return Mode::kLatency;
  if (name == "footprint") return Mode::kFootprint;
  return std::nullopt;
}

std::optional<uint32_t> NumberOf(std::string_view text) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool SetWork(std::string_view name, Options& options) {
  if (name == "recovery") options.mode = Mode::kRecovery;
  if (name == "all") options.all = true;
  if (name == "recovery" || name == "all") return true;
  for (const Work& work : kWorks) {
    if (work.name != name) continue;
    options.work = work;
    return true;
  }
  return false;
}

bool SetOption(std::string_view name, std::string_view value, Options& options) {
  if (name == "--mode") {
    const auto mode = ModeOf(value);
    if (mode) options.mode = *mode;
    return mode.has_value();
  }
  const auto number = NumberOf(value);
  if (!number) return false;
  if (name == "--batch") options.batch = *number;
  if (name == "--processes") options.processes = *number;
  return name == "--batch" || (name == "--processes" && (*number == 1 || *number == 2));
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  if (argc < 2 || !SetWork(argv[1], options)) Refuse(argv[0]);
  for (int i = 2; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--quick") {
      options.quick = true;
    } else if (++i == argc || !SetOption(name, argv[i], options)) {
      Refuse(argv[0]);
    }
  }
  return options;
}

}  // namespace thole::bench
