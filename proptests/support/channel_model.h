// The reference for queues and channels: where each message is. One call at a time.
#pragma once

#include <algorithm>
#include <map>

#include "machine.h"
#include "model_message.h"

namespace thole::proptests {

struct ChannelModel {
  std::map<uint64_t, ModelChannel> channels;
  std::vector<ModelHandle> handles = {};
  bool operator==(const ChannelModel&) const = default;

  Answer Send(uint64_t channel, uint64_t id) {
    ModelChannel& c = channels.at(channel);
    if (c.closed) return Answer::kClosed;
    // A message that keeps its place keeps those behind it, too, until the ring passed it.
    const bool full = !c.ring.empty() && c.ring.front().ticket + c.capacity == c.next_ticket;
    if (!full) c.ring.push_back({id, 0, c.next_ticket++});
    return full ? Answer::kFull : Answer::kOk;
  }
  Answer CanReceive(int life, uint64_t channel) const {
    const ModelChannel& c = channels.at(channel);
    if (!c.returned.empty() || !c.ring.empty()) return Answer::kOk;
    const bool others_hold = std::any_of(handles.begin(), handles.end(), [&](const auto& h) {
      return h.channel == channel && h.life != life && h.comes_back;
    });
    return !c.closed ? Answer::kEmpty : others_hold ? Answer::kPending : Answer::kClosed;
  }
  /// False when this message may not come now. What came back comes first, unless one who died
  /// (`past_list`) locks the list of it.
  bool Take(uint64_t channel, ModelMessage& got, bool past_list) {
    ModelChannel& c = channels.at(channel);
    const auto is_it = [&](const auto& m) { return m.id == got.id && m.attempt == got.attempt; };
    if (!c.returned.empty()) {
      const bool found = std::erase_if(c.returned.front(), is_it) == 1;
      if (c.returned.front().empty()) c.returned.pop_front();
      if (found || !past_list) return found;
    }
    if (c.ring.empty() || !is_it(c.ring.front())) return false;
    got = c.ring.front();
    c.ring.pop_front();
    return true;
  }
  /// A drop, a repair or a detach: these handles go, and what comes back is one batch.
  template <class Goes>
  void Release(const Goes& goes) {
    std::map<uint64_t, std::vector<ModelMessage>> batches;
    for (const ModelHandle& h : handles) {
      if (!goes(h) || !h.comes_back) continue;
      const ModelMessage again = {h.message.id, h.message.attempt + 1, h.message.ticket};
      auto& ring = channels.at(h.channel).ring;
      const auto later = [&](const auto& m) { return m.ticket > again.ticket; };
      if (h.half_taken) ring.insert(std::find_if(ring.begin(), ring.end(), later), again);
      if (!h.half_taken) batches[h.channel].push_back({again.id, again.attempt});
    }
    std::erase_if(handles, goes);
    for (auto& [channel, batch] : batches) channels.at(channel).returned.push_back(batch);
  }
};

}  // namespace thole::proptests
