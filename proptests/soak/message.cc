#include "message.h"

#include <cstring>

namespace thole::soak {
namespace {

uint64_t Mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  return value ^ value >> 27;
}
uint32_t CheckOf(const MessageHead& head) {
  return static_cast<uint32_t>(
      Mix(head.number + Mix(head.size_bytes + Mix(head.seed + head.stream))) >> 32);
}
// The bytes after the head, eight at a time.
uint64_t WordAt(uint64_t seed, uint64_t index) { return (seed + index) * 0x9e3779b97f4a7c15; }

}  // namespace

uint64_t SizeFor(uint64_t seed) {
  const uint64_t choice = Mix(seed) % 1000;
  const uint64_t spread = choice < 850 ? 600 : choice < 990 ? 16'000 : kMessageBytesMax;
  return kHeaderBytes + Mix(seed + 1) % (spread - kHeaderBytes);
}

uint64_t Fill(std::span<std::byte> room, uint32_t stream, uint64_t number, uint64_t seed) {
  MessageHead head{number, SizeFor(seed), seed, stream, 0};
  head.check = CheckOf(head);
  std::memcpy(room.data(), &head, sizeof(head));
  for (uint64_t at = sizeof(head); at < head.size_bytes; at += 8) {
    const uint64_t word = WordAt(seed, at);
    std::memcpy(room.data() + at, &word, std::min<uint64_t>(8, head.size_bytes - at));
  }
  return head.size_bytes;
}

std::optional<MessageHead> Verify(std::span<const std::byte> message) {
  MessageHead head;
  if (message.size() < sizeof(head)) return std::nullopt;
  std::memcpy(&head, message.data(), sizeof(head));
  if (head.check != CheckOf(head) || head.size_bytes != message.size()) return std::nullopt;
  for (uint64_t at = sizeof(head); at < head.size_bytes; at += 8) {
    const uint64_t word = WordAt(head.seed, at);
    if (std::memcmp(message.data() + at, &word, std::min<uint64_t>(8, head.size_bytes - at)) != 0) {
      return std::nullopt;
    }
  }
  return head;
}

}  // namespace thole::soak
