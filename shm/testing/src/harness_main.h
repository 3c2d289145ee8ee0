// What the two mains share: options and the JSON of results.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/testing/child_run.h"

namespace thole::shm::testing {

struct HarnessOptions {
  double seconds = 0;
  double each = 0;  // --each: seconds of one program, instead of those of all
  uint64_t seed = 1;
  uint64_t count = 0;    // --seeds of the stepper, --runs of the simulator
  uint32_t repairs = 1;  // --repairs N, or all
  std::string filter;    // part of a name
  std::string json;      // file
  std::vector<std::string> replays;
  std::string replay_file;
  int exhaustive = -1;  // --exhaustive: switches of the simulator's scripts; -1 = another mode
  bool double_crash = false;
  bool unpruned = false;  // of an exhaustive search
  bool weak = false;
  bool hostile = false;
  bool trace = false;
  bool list = false;
  bool in_process = false;
};

/// False after a message on stderr when an option is unknown or lacks its value.
bool ParseHarnessOptions(int argc, char** argv, HarnessOptions* options);
/// The lines of a list of replays, without empty ones and `#` comments. False: cannot be read.
bool ReadReplayFile(const std::string& file, std::vector<std::string>* replays);
std::string JsonText(std::string_view text);
std::string JsonFailures(const std::vector<Failure>& failures);
bool WriteFile(const std::string& file, std::string_view text);
void PrintFailures(const std::vector<Failure>& failures);

}  // namespace thole::shm::testing
