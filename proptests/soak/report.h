// What the soak says at its end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vitals.h"

namespace thole::soak {

struct SoakReport {
  double seconds = 0;
  uint64_t kills = 0;  ///< deaths of all kinds
  uint64_t kills_inside_calls = 0;
  uint64_t killed_while_stopped = 0;
  uint64_t faults = 0;         ///< of the kills: SIGSEGV
  uint64_t exits = 0;          ///< of the kills: _exit without leaving
  uint64_t in_namespaces = 0;  ///< of the kills: members of another PID namespace
  uint64_t stops = 0;
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t acked = 0;
  uint64_t redelivered = 0;
  uint64_t taken_along = 0;  ///< plain messages that died with their receiver, as declared
  uint64_t lost = 0;
  uint64_t duplicated = 0;
  uint64_t damaged = 0;
  uint64_t leaked_bytes = 0;
  uint64_t hung = 0;
  uint64_t false_deaths = 0;
  uint64_t audits = 0;
  uint64_t audit_findings = 0;
  uint64_t unexpected_ends = 0;
  uint64_t not_flat = 0;
  double longest_over_ms = 0;  ///< by which a call missed its deadline
  Vitals first[3];             ///< of the supervisor and the two elders, after a while
  Vitals last[3];
  uint64_t files_before = 0;  ///< in /dev/shm
  uint64_t files_after = 0;
  uint64_t used_bytes_before = 0;  ///< of the heap, with nothing in the channels
  uint64_t used_bytes_after = 0;
  std::vector<std::string> findings;  ///< whatever explains the numbers above

  bool PromiseHeld() const {
    return lost == 0 && duplicated == 0 && damaged == 0 && leaked_bytes == 0 && hung == 0 &&
           false_deaths == 0 && audit_findings == 0 && unexpected_ends == 0 && not_flat == 0;
  }
  std::string ToJson() const;
  std::string ToTable() const;
};

}  // namespace thole::soak
