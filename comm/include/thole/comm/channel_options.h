// What a channel is: chosen by who creates it, read by everybody who connects.
//
//   #include <thole/comm/channel_options.h>
//   const thole::comm::ChannelOptions kJobs{.capacity = 256, .acknowledged = true};
#pragma once

#include <cstdint>
#include <string>

namespace thole::comm {

/// Options of a work queue: each message goes to one receiver.
struct ChannelOptions {
  /// Messages that may wait: 1 .. 524,288, rounded up to a power of two.
  uint32_t capacity = 1024;
  /// True: a received message is the receiver's only on loan; if it is dropped without Ack, or its
  /// process dies, it is offered again with `attempt` counted up (at least once). False: receiving
  /// takes it for good (at most once).
  bool acknowledged = true;
  /// A number that creator and users agree on; 0 = untyped. Connecting with another one is refused.
  uint64_t type_id = 0;
};

/// One moment's view of a channel.
struct ChannelInfo {
  std::string name;
  uint32_t capacity = 0;
  bool acknowledged = false;
  bool closed = false;
  uint64_t waiting = 0;       ///< messages in the channel, returned ones included
  uint64_t sent = 0;          ///< since it was created
  uint64_t redelivered = 0;   ///< times a message came back
  uint32_t participants = 0;  ///< that are connected
};

}  // namespace thole::comm
