// MessageModel: where each message of one acknowledged channel is. Obviously right, and slow.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace thole::proptests {

class MessageModel {
 public:
  explicit MessageModel(size_t capacity) : capacity_(capacity) {}

  bool full() const { return ring_.size() == capacity_; }
  bool empty() const { return ring_.empty() && returned_.empty(); }
  void Send(uint64_t id) { ring_.push_back(id); }

  /// What a receive may give: what came back is served first, else the oldest.
  bool MayReceive(uint64_t id, uint32_t attempt) const {
    if (!returned_.empty()) return returned_.contains(id) && returned_.at(id) == attempt;
    return !ring_.empty() && ring_.front() == id && attempt == 0;
  }
  void Receive(uint64_t id, uint32_t process) {
    const auto returned = returned_.find(id);
    const uint32_t attempt = returned == returned_.end() ? 0 : returned->second;
    if (returned != returned_.end()) {
      returned_.erase(returned);
    } else {
      ring_.pop_front();
    }
    held_[id] = {process, attempt};
  }
  void Acknowledge(uint64_t id) { held_.erase(id); }
  void GiveBack(uint64_t id) {
    returned_[id] = held_.at(id).attempt + 1;
    held_.erase(id);
  }
  void Die(uint32_t process) {
    for (auto at = held_.begin(); at != held_.end();) {
      const auto next = std::next(at);
      if (at->second.process == process) GiveBack(at->first);
      at = next;
    }
  }
  size_t waiting() const { return ring_.size() + returned_.size(); }

 private:
  struct Hold {
    uint32_t process;
    uint32_t attempt;
  };
  size_t capacity_;
  std::deque<uint64_t> ring_;
  std::map<uint64_t, uint32_t> returned_;  // with the attempt it is offered as
  std::map<uint64_t, Hold> held_;
};

}  // namespace thole::proptests
