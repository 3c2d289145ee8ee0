// History: what processes, simulated or real, did to one queue, and whether a queue may answer so.
//
// Sought: no order of the calls in which a queue answers as it did. Each death and the end of its
// repair have a moment (`Death`): until the one the last call may take effect, until the other what
// the dead one held may come back. Besides: attempts that do not fit, and kPending while nobody
// else was at it.
//
// A history is printed as text, and read again by `queue_histories --check FILE`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "queue_model.h"
#include "thole/queue/queue_result.h"
#include "thole/shm/findings.h"

namespace thole::queue::testing {

inline constexpr uint64_t kNever = ~uint64_t{0};
inline constexpr uint64_t kNoMessage = ~uint64_t{0};

struct CallRecord {
  Event event;
  uint32_t process;
  uint64_t message;
  uint64_t begin;
  uint64_t end = kNever;  // kNever: its process died in it
  PushResult push = PushResult::kPending;
  PopResult pop = PopResult::kPending;
  uint32_t attempts = 0;
  bool ok = false;
};

/// Moments of a process that died. Both may be told late, never early.
struct Death {
  uint32_t process;
  uint64_t at;
  uint64_t repaired = kNever;
};

struct QueueRules {
  uint32_t capacity = 0;
  bool leased = false;
  /// Whether a call sees what calls did that ended before it began. Where memory is weak, the lock
  /// of the list may still look held after its holder's call returned.
  bool real_time = true;
};

/// One thread. Lives outside of the segment.
class History {
 public:
  size_t Begin(Event event, uint32_t process, uint64_t message = kNoMessage) {
    records_.push_back({event, process, message, clock_++});
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
  void Died(uint32_t process) { deaths_.push_back({process, clock_++}); }
  void Repaired(uint32_t process) { Repaired(process, clock_++); }
  void Repaired(uint32_t process, uint64_t at);
  /// From another clock.
  void Add(const CallRecord& record) { records_.push_back(record); }
  void Add(const Death& death) { deaths_.push_back(death); }

  CallRecord& last() { return records_.back(); }

  uint64_t clock() const { return clock_; }
  const std::vector<CallRecord>& records() const { return records_; }
  const std::vector<Death>& deaths() const { return deaths_; }

  void Check(const QueueRules& rules, shm::Findings& findings) const;
  std::string ToText(const QueueRules& rules) const;
  static std::optional<History> FromText(const std::string& text, QueueRules* rules);

 private:
  struct Translation;
  const Death* DeathOf(uint32_t process) const;
  bool IsLinearizable(const QueueRules& rules) const;
  void CheckAttempts(uint64_t message, const QueueRules& rules, shm::Findings& findings) const;
  void CheckKnown(const QueueRules& rules, shm::Findings& findings) const;
  uint64_t EndOfTraces(const CallRecord& record, const QueueRules& rules) const;
  void CheckPending(const CallRecord& record, const QueueRules& rules,
                    shm::Findings& findings) const;

  uint64_t clock_ = 1;
  std::vector<CallRecord> records_;
  std::vector<Death> deaths_;
};

}  // namespace thole::queue::testing
