// What the model of queues and channels is made of: messages, channels, handles.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <vector>

namespace thole::proptests {

struct ModelMessage {
  uint64_t id;
  uint64_t attempt = 0;
  uint64_t ticket = 0;  // its place in the ring
  bool operator==(const ModelMessage&) const = default;
};
struct ModelChannel {
  bool acknowledged;
  size_t capacity;
  bool in_blocks = true;  // each message is a block of the heap
  bool closed = false;
  uint64_t next_ticket = 0;
  std::deque<ModelMessage> ring = {};
  std::deque<std::vector<ModelMessage>> returned = {};  // of one batch any may come first
  bool operator==(const ModelChannel&) const = default;
};
struct ModelHandle {
  int life;
  uint64_t channel;
  ModelMessage message;
  bool comes_back;               // until it is acknowledged
  bool half_taken = false;       // its receiver died before it had it: it comes back to its place
  std::set<uint64_t> tags = {};  // of the handle and its clones
  bool operator==(const ModelHandle&) const = default;
};

}  // namespace thole::proptests
