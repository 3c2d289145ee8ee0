#include "history_counts.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>

namespace thole::queue::testing {

HistoryCounts& CountsOfHistories() {
  static HistoryCounts* const counts = [] {
    void* page = mmap(nullptr, sizeof(HistoryCounts), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) std::abort();
    return new (page) HistoryCounts{};
  }();
  return *counts;
}

bool PrintCounts(const char* what, const std::string& json) {
  const HistoryCounts& counts = CountsOfHistories();
  const auto n = [](const std::atomic<uint64_t>& value) {
    return static_cast<unsigned long long>(value.load());
  };
  std::printf(
      "%s: %llu histories, %llu with deaths, %llu with a death inside a call, %llu deaths, %llu "
      "operations, %llu violations\n",
      what, n(counts.histories), n(counts.with_deaths), n(counts.with_open_calls), n(counts.deaths),
      n(counts.operations), n(counts.violations));
  if (!json.empty()) {
    std::ofstream(json) << "{\"histories\": " << counts.histories
                        << ", \"with_deaths\": " << counts.with_deaths
                        << ", \"with_open_calls\": " << counts.with_open_calls
                        << ", \"deaths\": " << counts.deaths
                        << ", \"operations\": " << counts.operations
                        << ", \"violations\": " << counts.violations << "}\n";
  }
  return counts.violations.load() == 0 && counts.histories.load() != 0;
}

}  // namespace thole::queue::testing
