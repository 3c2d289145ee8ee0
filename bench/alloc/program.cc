#include "program.h"

#include <algorithm>
#include <string>

namespace thole::bench {

void ReportThroughput(const Options& options, const Meeting& meeting) {
  double wall = 0, cpu = 0;
  for (uint32_t i = 0; i < options.processes; ++i) {
    wall = std::max(wall, meeting.outcomes[i].wall_ns);
    cpu += meeting.outcomes[i].cpu_ns;
  }
  // In a hand-over both workers have a part in each pair; else each worker has pairs of its own.
  const double pairs = options.work.pairs;
  const bool shared = options.work.name == "hand-over";
  Report("cpu", "ns", cpu / (shared ? pairs : pairs * options.processes));
  Report("wall", "ns", wall / pairs);
}

void ReportLatency(const Options& options, const Meeting& meeting) {
  // The one that frees in a hand-over; else both workers do the same, and one speaks for both.
  const bool shared = options.work.name == "hand-over";
  const auto report = [](const std::string& call, const Times& times) {
    Report((call + " p50").c_str(), "ns", times.p50);
    Report((call + " p99").c_str(), "ns", times.p99);
    Report((call + " p99.9").c_str(), "ns", times.p999);
    Report((call + " max").c_str(), "ns", times.max);
  };
  report("allocate", meeting.outcomes[0].allocate);
  report("free", meeting.outcomes[shared ? 1 : 0].free);
}

}  // namespace thole::bench
