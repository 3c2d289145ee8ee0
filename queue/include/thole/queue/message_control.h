// MessageControlData: the first 128 bytes of the block of every message on a leased queue.
//
//   #include <thole/queue/message_control.h>
//   constexpr uint32_t kFirstPayloadByte = sizeof(thole::queue::MessageControlData);
//
//   line 0   link | not_before_ns | attempts | last_holder | time_of_death_ns | reserved (24 bytes)
//   line 1   a copy of the descriptor (56 bytes) | reserved (8 bytes)
//
// TryPush writes all of it while the producer still holds the block. From then on only the words of
// line 0 change: when the message goes into the return list or out of it, under the list's lock and
// undo log. The copy lets a message be delivered from the list, when its cell is long gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thole/queue/message_descriptor.h"
#include "thole/shm/word.h"

namespace thole::queue {

struct MessageControlData {
  shm::Word64 link;           // next block of the return list, 0 = last
  shm::Word64 not_before_ns;  // CLOCK_MONOTONIC; 0 = at once (delays come later)
  shm::Word64 attempts;       // how often it was handed out and came back
  shm::Word64 last_holder;    // owner id of who had it last
  shm::Word64
      time_of_death_ns;  // CLOCK_MONOTONIC when that one was found dead; 0 = it gave it back
  uint64_t reserved[3];
  shm::Word64 descriptor[kDescriptorWords];
  uint64_t reserved_too;
};
static_assert(sizeof(MessageControlData) == 128 && alignof(MessageControlData) == 8);
static_assert(offsetof(MessageControlData, descriptor) == 64);
static_assert(std::has_unique_object_representations_v<MessageControlData>);

}  // namespace thole::queue
