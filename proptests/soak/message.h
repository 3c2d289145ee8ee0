// A message of the soak: who sent it, as what, and bytes that follow from both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "options.h"

namespace thole::soak {

inline constexpr uint32_t kMessageType = 0x50a4;

struct MessageHead {
  uint64_t number;
  uint64_t size_bytes;  // of the whole message
  uint64_t seed;
  uint32_t stream;
  uint32_t check;  // of the words above
};
static_assert(sizeof(MessageHead) == kHeaderBytes);
static_assert(std::has_unique_object_representations_v<MessageHead>);

/// Mostly small, some of several pages, a few large.
uint64_t SizeFor(uint64_t seed);
/// Writes the whole message into `room`, which has SizeFor(seed) bytes or more; returns its size.
uint64_t Fill(std::span<std::byte> room, uint32_t stream, uint64_t number, uint64_t seed);
/// The head, when every byte is as it was written.
std::optional<MessageHead> Verify(std::span<const std::byte> message);

}  // namespace thole::soak
