// A member: a process that sends, or one that receives, until it is killed.
#pragma once

#include <cstdint>
#include <string>

#include "board.h"

namespace thole::soak {

inline constexpr char kJobs[] = "jobs";    // acknowledged
inline constexpr char kPlain[] = "plain";  // not
/// Named buffers "table-0" ...; each is made, used and removed by whoever likes.
inline constexpr uint32_t kTables = 6;
std::string TableName(uint32_t table);
uint64_t TableBytes(uint32_t table);

struct MemberTask {
  std::string segment;
  uint32_t member = 0;  // index of its record
  uint32_t index = 0;   // of the producer, or of the consumer
  bool produces = false;
  uint64_t seed = 0;
  StreamMap streams{};
};

/// The whole life of a member, in a process of its own. Returns its exit code: 0 after the phase
/// kEnd, 1 with a complaint in its record.
int RunMember(const MemberTask& task, const SharedBoard& board);

}  // namespace thole::soak
