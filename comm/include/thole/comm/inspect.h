// Looking at a segment from outside: channels, participants, heap. Takes no seat, never writes.
//
//   #include <thole/comm/inspect.h>
//   uint64_t Waiting(const thole::shm::Segment& segment) {  // may be open for reading only
//     uint64_t sum = 0;
//     for (const auto& channel : thole::comm::ListChannels(segment)) sum += channel.waiting;
//     return sum;
//   }
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/comm/channel_options.h"
#include "thole/shm/segment.h"

namespace thole::comm {

/// One moment's view of a participant.
struct ParticipantInfo {
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint32_t pid = 0;
  std::string name;
  uint64_t attached_ns = 0;   ///< CLOCK_REALTIME
  bool in_call = false;       ///< some thread of it is inside the library
  bool under_repair = false;  ///< it is dead, and somebody repairs it
};

/// Bounded, safe on any bytes; what cannot be believed is left out.
std::vector<ChannelInfo> ListChannels(const shm::Segment& segment);
std::vector<ParticipantInfo> ListParticipants(const shm::Segment& segment);
/// NotFound when the segment has no heap.
absl::StatusOr<alloc::HeapStatistics> HeapUseOf(const shm::Segment& segment);

}  // namespace thole::comm
