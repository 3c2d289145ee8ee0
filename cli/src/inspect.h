// Looks at a segment without taking part: read-only, no seat, also when it is dead or a copy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json_fwd.hpp"
#include "thole/comm/inspect.h"
#include "thole/registry/registry_reader.h"
#include "thole/shm/segment.h"

namespace thole::cli {

struct ParticipantReport {
  comm::ParticipantInfo info;
  std::string state;  ///< "live", "dead", or "unknown" (its locks cannot be looked at)
};

/// What is in a segment. One moment's view, or several on a segment in use.
struct SegmentReport {
  uint64_t size_bytes = 0;
  uint64_t heap_bytes = 0;
  uint64_t used_bytes = 0;
  std::vector<ParticipantReport> participants;
  std::vector<comm::ChannelInfo> channels;
  std::vector<registry::BufferInfo> buffers;
  std::vector<std::string> problems;  ///< parts that could not be read, as sentences

  uint64_t CountParticipants(std::string_view state) const;
  uint64_t waiting_messages() const;
};

/// The error for a segment whose `was_cut` says so.
absl::Status CutMeanwhile(const shm::Place& place);
/// Who is in it, and whether alive, by the rules of shm.
std::vector<ParticipantReport> InspectParticipants(const shm::Segment& segment);
SegmentReport Inspect(const shm::Segment& segment);

nlohmann::json ToJson(const ParticipantReport& participant);
nlohmann::json ToJson(const comm::ChannelInfo& channel);
nlohmann::json ToJson(const registry::BufferInfo& buffer);
/// One line, whatever bytes the strings contain.
std::string Dump(const nlohmann::json& json);

}  // namespace thole::cli
