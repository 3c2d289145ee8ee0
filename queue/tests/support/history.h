// History: what simulated processes did to one queue, and whether a queue may answer so.
//
// Violations sought: an accepted message that is lost, or delivered twice; an order that is not
// first in first out; kEmpty although some message was surely there at each moment of the call;
// kFull although there surely was room; a delivery after kClosed; attempts that do not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thole/queue/queue_result.h"
#include "thole/shm/findings.h"

namespace thole::queue::testing {

enum class Call : uint8_t { kPush, kPop, kReturn, kAck };
inline constexpr uint64_t kNever = ~uint64_t{0};
inline constexpr uint64_t kNoMessage = ~uint64_t{0};

struct CallRecord {
  Call call;
  uint32_t process;
  uint64_t message;
  uint64_t begin;
  uint64_t end = kNever;  // kNever: its process died in it
  PushResult push = PushResult::kPending;
  PopResult pop = PopResult::kPending;
  uint32_t attempts = 0;
  bool ok = false;
};

/// One thread. Lives outside of the segment.
class History {
 public:
  size_t Begin(Call call, uint32_t process, uint64_t message = kNoMessage) {
    records_.push_back({call, process, message, clock_++});
    return records_.size() - 1;
  }
  void EndPush(size_t i, PushResult result) {
    records_[i].push = result;
    End(i, result == PushResult::kOk);
  }
  void EndPop(size_t i, PopResult result, uint64_t message, uint32_t attempts) {
    records_[i].pop = result;
    records_[i].message = result == PopResult::kOk ? message : kNoMessage;
    records_[i].attempts = attempts;
    End(i, result == PopResult::kOk);
  }
  void End(size_t i, bool ok) {
    records_[i].ok = ok;
    records_[i].end = clock_++;
  }
  /// What the survivor found at the end.
  void Drained(uint64_t message, uint32_t attempts) { drained_.push_back({message, attempts}); }
  uint64_t clock() const { return clock_; }
  uint64_t drained() const { return drained_.size(); }
  const std::vector<CallRecord>& records() const { return records_; }

  struct Rules {
    bool leased = false;
    uint32_t capacity = 0;
    uint32_t deaths = 0;
  };
  void Check(const Rules& rules, shm::Findings& findings) const;

 private:
  struct Left {
    uint64_t message;
    uint32_t attempts;
  };
  struct Window {  // the message was surely in the queue
    uint64_t from;
    uint64_t to;
  };
  std::vector<const CallRecord*> Of(Call call, uint64_t message, bool ok_only) const;
  const Left* FindDrained(uint64_t message, uint32_t* count) const;
  uint64_t FirstPopOfTheDead() const;
  void CheckMessage(const Rules& rules, const CallRecord& push, uint32_t* taken_by_the_dead,
                    shm::Findings& findings) const;
  void CheckAttempts(const Rules& rules, uint64_t message, shm::Findings& findings) const;
  void CheckOrder(shm::Findings& findings) const;
  void CheckEmpty(shm::Findings& findings) const;
  void CheckFull(const Rules& rules, shm::Findings& findings) const;
  void CheckClosed(shm::Findings& findings) const;
  std::vector<Window> Windows() const;

  uint64_t clock_ = 1;
  std::vector<CallRecord> records_;
  std::vector<Left> drained_;
};

}  // namespace thole::queue::testing
