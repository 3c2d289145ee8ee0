#include "report.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "inspect.h"
#include "nlohmann/json.hpp"
#include "table.h"

namespace thole::cli::demo {
namespace {

double PerSecond(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

uint64_t Whole(double value) { return static_cast<uint64_t>(std::llround(value)); }

std::string Seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

std::string Percent(uint64_t part, uint64_t all) {
  return std::to_string(all == 0 ? 0 : (part * 100 + all / 2) / all) + " %";
}

}  // namespace

std::string ToJsonLine(const DemoReport& report) {
  return Dump({{"files", report.files},
               {"bytes", report.bytes},
               {"seconds", std::round(report.seconds * 1000) / 1000},
               {"messages_per_s", Whole(PerSecond(report.messages, report.seconds))},
               {"kills", report.kills()},
               {"feeder_kills", report.feeder_kills},
               {"worker_kills", report.worker_kills},
               {"kills_inside_calls", report.kills_inside_calls},
               {"redelivered", report.redelivered},
               {"duplicates", report.duplicates},
               {"lost", report.lost},
               {"leaked_bytes", report.leaked_bytes},
               {"audit_findings", report.audit_findings}});
}

std::string ToTable(const DemoReport& report) {
  const std::string sign = report.leaked_bytes < 0 ? "-" : "";
  const auto leaked = static_cast<uint64_t>(std::llabs(report.leaked_bytes));
  std::vector<Row> rows = {
      {"files verified", Grouped(report.files), Grouped(report.passes) + " passes over the tree"},
      {"bytes", Size(report.bytes), Grouped(report.lines) + " lines"},
      {"time", Seconds(report.seconds), ""},
      {"messages", Grouped(Whole(PerSecond(report.messages, report.seconds))) + "/s",
       Size(Whole(PerSecond(report.bytes, report.seconds))) + "/s"},
      {"kill -9 survived", Grouped(report.kills()),
       Grouped(report.feeder_kills) + " feeders, " + Grouped(report.worker_kills) + " workers"},
      {"  inside a call", Grouped(report.kills_inside_calls),
       Percent(report.kills_inside_calls, report.kills())},
      {"redelivered", Grouped(report.redelivered), "chunks whose worker died"},
      {"duplicates", Grouped(report.duplicates), "at least once: dropped by the collector"},
      {"lost", Grouped(report.lost), ""},
      {"bytes leaked", sign + Grouped(leaked), Grouped(report.orphan_bytes) + " by the audit"},
      {"audit", Grouped(report.audit_findings), "findings"}};
  if (report.damaged > 0) rows.push_back({"damaged", Grouped(report.damaged), "chunks"});
  if (report.left_out > 0) {
    rows.push_back({"left out", Grouped(report.left_out), "files unreadable or changed meanwhile"});
  }
  return FormatTable(rows, {1}) +
         (report.PromiseHeld() ? "the promise held\n" : "THE PROMISE WAS BROKEN\n");
}

ProgressLine::ProgressLine() : on_terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::Print(double seconds, const DemoReport& so_far) {
  std::fprintf(stderr, "%s%6s  %s files  %s  %s kills (%s feeders, %s workers)  %s duplicates%s",
               on_terminal_ ? "\r\033[K" : "", Seconds(seconds).c_str(),
               Grouped(so_far.files).c_str(), Size(so_far.bytes).c_str(),
               Grouped(so_far.kills()).c_str(), Grouped(so_far.feeder_kills).c_str(),
               Grouped(so_far.worker_kills).c_str(), Grouped(so_far.duplicates).c_str(),
               on_terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void ProgressLine::Clear() {
  if (on_terminal_) std::fputs("\r\033[K", stderr);
}

}  // namespace thole::cli::demo
