// RunInChild: part of a harness in a forked child, so that a crash, a hang or a leak of the code
// under test is a failure with a name and not the end of the tool.
//
//   #include <thole/shm/testing/child_run.h>
//   bool Example() {
//     using namespace thole::shm::testing;
//     ChildReport* report = NewChildReport();
//     const ChildEnd end = RunInChild(*report, 10, [](ChildReport& in_child) {
//       in_child.SetCurrent("example");
//       in_child.counters[0] += 1;
//     });
//     return end.ok() && report->counters[0] == 1;
//   }
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace thole::shm::testing {

struct Failure {
  std::string where;  // operation, or the replay string of a program
  std::string text;
};

/// Lives in memory that parent and child share; the child writes, the parent reads afterwards.
struct ChildReport {
  static constexpr uint32_t kFailuresKept = 16;
  static constexpr uint32_t kTextBytes = 3000;
  static constexpr uint32_t kWhereBytes = 400;

  std::atomic<uint64_t> beats{0};  // grows as long as the child gets on
  uint64_t counters[8] = {};
  uint64_t failures = 0;
  char current[kWhereBytes] = {};
  struct {
    char where[kWhereBytes];
    char text[kTextBytes];
  } kept[kFailuresKept] = {};

  /// What the child does now: named when it crashes or stalls.
  void SetCurrent(std::string_view what);
  void Beat() { beats.fetch_add(1, std::memory_order_relaxed); }  // the parent only compares
  void AddFailure(std::string_view where, std::string_view text);
  std::vector<Failure> Failures() const;
};

/// Fresh, never unmapped: a handful for each tool.
ChildReport* NewChildReport();

struct ChildEnd {
  int signal = 0;        ///< the child crashed
  int exit_code = 0;     ///< or left by itself
  bool stalled = false;  ///< or did not beat for so long and was killed
  bool ok() const { return signal == 0 && exit_code == 0 && !stalled; }
  std::string ToString() const;
};

/// Runs `work` in a child and waits for it. Adds a failure at `report.current` if it ends badly.
ChildEnd RunInChild(ChildReport& report, double stall_seconds,
                    const std::function<void(ChildReport&)>& work);

}  // namespace thole::shm::testing
