// MessageDescriptor: the 56 bytes that stand in a queue for a message of any size.
//
//   #include <thole/queue/message_descriptor.h>
//   thole::queue::MessageDescriptor Describe(uint64_t bytes, uint32_t type) {
//     thole::queue::MessageDescriptor descriptor{};
//     descriptor.size_bytes = bytes;
//     descriptor.type = type;
//     descriptor.SetPayload(128, 0);
//     return descriptor;  // TryPush fills in block and sequence
//   }
//
//  0       8            16              20     24       28         32         40     48
//  +-------+------------+---------------+------+--------+----------+----------+------+------------+
//  | block | size_bytes | payload 24,   | type | source | checksum | sequence | time | correlation|
//  |       |            | flags 8       |      |        |          |          |      |            |
//  +-------+------------+---------------+------+--------+----------+----------+------+------------+
//
// Plain data: copied into a cell and out of it. It counts nothing and owns nothing; who holds the
// block is said by exactly one cell, loan or list (design: one holder).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace thole::queue {

struct MessageDescriptor {
  uint64_t block;              ///< offset of the block, 0 = none; the cell's word 0
  uint64_t size_bytes;         ///< of the payload
  uint32_t payload_and_flags;  ///< distance of the payload from the block : 24 | flags : 8
  uint32_t type;
  uint32_t source;    ///< slot : 12 | low bits of the generation : 20
  uint32_t checksum;  ///< CRC32C of the payload if the flag says so
  uint64_t sequence;  ///< the ticket (48 bits), written by TryPush
  uint64_t timestamp_ns;
  uint64_t correlation;

  constexpr uint32_t payload_offset() const { return payload_and_flags & 0xff'ffff; }
  constexpr uint32_t flags() const { return payload_and_flags >> 24; }
  constexpr void SetPayload(uint32_t offset, uint32_t flags) {
    payload_and_flags = (offset & 0xff'ffff) | flags << 24;
  }
  constexpr uint32_t source_slot() const { return source >> 20; }
  constexpr uint32_t source_generation() const { return source & 0xf'ffff; }
  constexpr void SetSource(uint32_t slot, uint32_t generation) {
    source = slot << 20 | (generation & 0xf'ffff);
  }
};
inline constexpr uint32_t kMessageHasChecksum = 1;  // a bit of flags()

static_assert(sizeof(MessageDescriptor) == 56 && alignof(MessageDescriptor) == 8);
static_assert(offsetof(MessageDescriptor, block) == 0 &&
              offsetof(MessageDescriptor, sequence) == 32);
static_assert(std::is_trivially_copyable_v<MessageDescriptor>);
static_assert(std::is_standard_layout_v<MessageDescriptor>);
static_assert(std::has_unique_object_representations_v<MessageDescriptor>);
/// Which of the 7 words the queue itself fills in.
inline constexpr uint32_t kDescriptorWords = 7;
inline constexpr uint32_t kBlockWord = 0;
inline constexpr uint32_t kSequenceWord = offsetof(MessageDescriptor, sequence) / 8;

}  // namespace thole::queue
