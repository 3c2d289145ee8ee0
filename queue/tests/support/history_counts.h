// How many histories were checked: counted in memory that the children of a harness share.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace thole::queue::testing {

struct HistoryCounts {
  std::atomic<uint64_t> histories;
  std::atomic<uint64_t> with_deaths;
  std::atomic<uint64_t> with_open_calls;  // somebody died inside a call
  std::atomic<uint64_t> deaths;
  std::atomic<uint64_t> operations;
  std::atomic<uint64_t> violations;
};

/// Of this program and the children that it forks after the first call.
HistoryCounts& CountsOfHistories();
/// Prints them, and writes them to `json` if that is not empty. False when there were violations,
/// or nothing was checked at all.
bool PrintCounts(const char* what, const std::string& json);

}  // namespace thole::queue::testing
