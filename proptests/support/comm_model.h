// The reference for comm: what channels do. One call at a time; deaths happen between calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

namespace thole::proptests {

enum class Answer { kOk, kFull, kEmpty, kPending, kClosed };

struct ModelMessage {
  uint64_t id;
  uint32_t attempt = 0;
  friend bool operator==(const ModelMessage&, const ModelMessage&) = default;
};
struct ModelChannel {
  bool acknowledged;
  size_t capacity;
  bool closed = false;
  std::deque<ModelMessage> ring = {};
  std::deque<std::vector<ModelMessage>> returned = {};  // of one batch any may come first
};
struct ModelHandle {
  int participant;
  int channel;
  ModelMessage message;
  bool comes_back;  // until it is acknowledged
  int clones = 1;
};

struct Model {
  std::map<int, ModelChannel> channels;
  std::map<int, ModelHandle> handles;

  Answer Send(int channel, uint64_t id) {
    ModelChannel& c = channels.at(channel);
    if (c.closed) return Answer::kClosed;
    if (c.ring.size() == c.capacity) return Answer::kFull;
    c.ring.push_back({id});
    return Answer::kOk;
  }
  Answer CanReceive(int participant, int channel) const {
    const ModelChannel& c = channels.at(channel);
    if (!c.returned.empty() || !c.ring.empty()) return Answer::kOk;
    bool others_hold = false;
    for (const auto& [number, h] : handles) {
      others_hold |= h.channel == channel && h.participant != participant && h.comes_back;
    }
    return !c.closed ? Answer::kEmpty : others_hold ? Answer::kPending : Answer::kClosed;
  }
  /// False when this message may not come now. What was returned comes before what is new.
  bool Receive(int participant, int channel, ModelMessage got, int handle) {
    ModelChannel& c = channels.at(channel);
    handles[handle] = {participant, channel, got, c.acknowledged};
    if (!c.returned.empty()) {
      const bool found = std::erase(c.returned.front(), got) == 1;
      if (c.returned.front().empty()) c.returned.pop_front();
      return found;
    }
    const bool found = !c.ring.empty() && c.ring.front() == got;
    if (found) c.ring.pop_front();
    return found;
  }
  /// A drop, a repair or a detach: these handles go, and what comes back is one batch.
  void Release(const std::function<bool(int number, const ModelHandle&)>& goes) {
    std::map<int, std::vector<ModelMessage>> batches;
    for (const auto& [number, h] : handles) {
      if (!goes(number, h) || !h.comes_back) continue;
      batches[h.channel].push_back({h.message.id, h.message.attempt + 1});
    }
    std::erase_if(handles, [&](const auto& entry) { return goes(entry.first, entry.second); });
    for (auto& [channel, batch] : batches) channels.at(channel).returned.push_back(batch);
  }
};

}  // namespace thole::proptests
