#include "harness_main.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>

namespace thole::shm::testing {

bool ParseHarnessOptions(int argc, char** argv, HarnessOptions* options) {
  using Setter = std::function<void(const char*)>;
  const auto count = [&](const char* value) { options->count = std::strtoull(value, nullptr, 0); };
  const std::map<std::string_view, Setter> with_value = {
      {"--seconds", [&](const char* value) { options->seconds = std::strtod(value, nullptr); }},
      {"--each", [&](const char* value) { options->each = std::strtod(value, nullptr); }},
      {"--seed", [&](const char* value) { options->seed = std::strtoull(value, nullptr, 0); }},
      {"--seeds", count},
      {"--runs", count},
      {"--repairs",
       [&](const char* v) {
         const bool all = std::string_view(v) == "all";
         options->repairs = all ? UINT32_MAX : static_cast<uint32_t>(std::strtoul(v, nullptr, 0));
       }},
      {"--exhaustive", [&](const char* value) { options->exhaustive = std::atoi(value); }},
      {"--filter", [&](const char* value) { options->filter = value; }},
      {"--json", [&](const char* value) { options->json = value; }},
      {"--replay", [&](const char* value) { options->replays.emplace_back(value); }},
      {"--replay-file", [&](const char* value) { options->replay_file = value; }},
  };
  const std::map<std::string_view, bool*> flags = {
      {"--trace", &options->trace},           {"--list", &options->list},
      {"--in-process", &options->in_process}, {"--double", &options->double_crash},
      {"--unpruned", &options->unpruned},     {"--weak", &options->weak},
      {"--hostile", &options->hostile}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (const auto flag = flags.find(name); flag != flags.end()) {
      *flag->second = true;
    } else if (const auto option = with_value.find(name);
               option != with_value.end() && i + 1 < argc) {
      option->second(argv[++i]);
    } else {
      std::fprintf(stderr, "'%s' is no option, or lacks its value; there are:", argv[i]);
      for (const auto& entry : with_value) std::fprintf(stderr, " %s V", entry.first.data());
      for (const auto& entry : flags) std::fprintf(stderr, " %s", entry.first.data());
      std::fprintf(stderr, "\n");
      return false;
    }
  }
  return true;
}

bool ReadReplayFile(const std::string& file, std::vector<std::string>* replays) {
  std::ifstream in(file);
  if (!in) {
    std::fprintf(stderr, "the list of replays '%s' cannot be read\n", file.c_str());
    return false;
  }
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') replays->push_back(line);
  }
  return true;
}

std::string JsonText(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string JsonFailures(const std::vector<Failure>& failures) {
  std::string out = "[";
  for (const Failure& failure : failures) {
    if (out.size() > 1) out += ", ";
    out += "{\"where\": " + JsonText(failure.where) + ", \"text\": " + JsonText(failure.text) + "}";
  }
  return out + "]";
}

bool WriteFile(const std::string& file, std::string_view text) {
  std::ofstream out(file);
  out << text;
  out.close();
  if (!out) std::fprintf(stderr, "'%s' cannot be written\n", file.c_str());
  return static_cast<bool>(out);
}

void PrintFailures(const std::vector<Failure>& failures) {
  constexpr size_t kPrinted = 3;
  for (size_t i = 0; i < failures.size() && i < kPrinted; ++i) {
    std::printf("  FAILED %s\n    %s\n", failures[i].where.c_str(), failures[i].text.c_str());
  }
}

}  // namespace thole::shm::testing
