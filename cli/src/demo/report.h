// What a demonstration says at its end, and while it runs.
#pragma once

#include <cstdint>
#include <string>

#include "exit_code.h"

namespace thole::cli::demo {

struct DemoReport {
  uint64_t files = 0;  ///< verified, over all passes
  uint64_t bytes = 0;
  uint64_t lines = 0;
  uint64_t passes = 0;    ///< complete ones
  uint64_t messages = 0;  ///< chunks and results that were received
  double seconds = 0;
  uint64_t feeder_kills = 0;
  uint64_t worker_kills = 0;
  uint64_t kills_inside_calls = 0;
  uint64_t redelivered = 0;
  uint64_t duplicates = 0;
  uint64_t lost = 0;
  uint64_t damaged = 0;
  uint64_t left_out = 0;  ///< files that could not be read, or changed meanwhile
  int64_t leaked_bytes = 0;
  uint64_t orphan_bytes = 0;  ///< the same by the audit
  uint64_t audit_findings = 0;
  uint64_t troubles = 0;  ///< processes that ended by themselves, waits that did not end

  uint64_t kills() const { return feeder_kills + worker_kills; }
  /// Nothing lost, nothing leaked, nothing damaged, nobody hung.
  bool PromiseHeld() const {
    return lost == 0 && damaged == 0 && leaked_bytes == 0 && orphan_bytes == 0 &&
           audit_findings == 0 && troubles == 0;
  }
};

/// One line with the documented keys.
std::string ToJsonLine(const DemoReport& report);
std::string ToTable(const DemoReport& report);

/// The line on stderr while it runs: rewritten on a terminal, once a second elsewhere.
class ProgressLine {
 public:
  ProgressLine();
  void Print(double seconds, const DemoReport& so_far);
  /// Makes room for other messages.
  void Clear();
  int64_t interval_ns() const { return on_terminal_ ? 200'000'000 : 1'000'000'000; }

 private:
  const bool on_terminal_;
};

}  // namespace thole::cli::demo
