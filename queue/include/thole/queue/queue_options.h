// QueueOptions: the shape of a queue that is to be made.
//
//   #include <thole/queue/queue_options.h>
//   thole::queue::QueueOptions Jobs() {
//     return {.capacity = 64, .element_bytes = 56, .descriptors = true, .leased = true};
//   }
#pragma once

#include <cstdint>

#include "thole/queue/queue_data.h"
#include "thole/shm/status.h"

namespace thole::queue {

struct QueueOptions {
  uint32_t capacity = 1024;     ///< 1 .. 524,288, rounded up to a power of two
  uint32_t element_bytes = 0;   ///< 1 .. 248; the typed calls of QueueFactory fill it in
  uint64_t type_id = 0;         ///< 0 = not checked on connecting
  bool descriptors = false;     ///< elements are MessageDescriptors; filled in by the typed calls
  bool leased = false;          ///< a receive is a lease: ack, or the message comes back
  uint32_t max_deliveries = 0;  ///< 0 .. 30; recorded for whoever moves messages to a dead letter
  uint64_t first_ticket = 0;    ///< for tests of the wrap
};

/// Bytes of such a queue; InvalidArgument with a sentence when there can be none.
absl::StatusOr<uint64_t> QueueBytes(const QueueOptions& options);

}  // namespace thole::queue
