#include "history.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "history_counts.h"
#include "thole/shm/testing/history_checker.h"

namespace thole::queue::testing {
namespace {

using Checker = shm::testing::HistoryChecker<QueueModel>;

constexpr const char* kEvents[] = {"push", "pop", "return", "ack", "close", "repair"};

std::string Name(uint64_t message) {
  return "message " + std::to_string(message >> 8) + "." + std::to_string(message & 0xff);
}

bool Overlap(uint64_t begin, uint64_t end, uint64_t other_begin, uint64_t other_end) {
  return begin < other_end && other_begin < end;
}

}  // namespace

void History::Repaired(uint32_t process, uint64_t at) {
  for (Death& death : deaths_) {
    if (death.process == process) death.repaired = at;
  }
}

const Death* History::DeathOf(uint32_t process) const {
  const auto found = std::find_if(deaths_.begin(), deaths_.end(),
                                  [&](const Death& death) { return death.process == process; });
  return found == deaths_.end() ? nullptr : &*found;
}

// A history in the words of the model.
struct History::Translation {
  explicit Translation(const History& history, const QueueRules& rules)
      : history_(history), rules_(rules) {
    for (const CallRecord& record : history.records_) {
      if (record.event == Event::kReturn && record.ok) returned_at_.push_back(record.end);
      if (record.event == Event::kClose) first_close_ = std::min(first_close_, record.end);
    }
    for (const CallRecord& record : history.records_) AddCall(record);
    for (size_t i = 0; i < history.deaths_.size(); ++i) AddRepairs(i);
  }

  uint8_t Number(uint64_t message) {
    return numbers_.try_emplace(message, static_cast<uint8_t>(numbers_.size())).first->second;
  }
  // What came back: first the returns, then the repairs.
  uint64_t MayOverlook(uint64_t begin) const {
    uint64_t bits = 0;
    for (size_t i = 0; i < returned_at_.size() && i < 64; ++i) {
      if (begin < returned_at_[i]) bits |= uint64_t{1} << i;
    }
    for (size_t i = 0; i < history_.deaths_.size(); ++i) {
      const size_t number = returned_at_.size() + i;
      if (number < 64 && begin < history_.deaths_[i].repaired) bits |= uint64_t{1} << number;
    }
    return bits;
  }
  // Somebody else may hold the lock of the list: in a pop, in a return, or repairing.
  bool ListMayBeBusy(const CallRecord& pop) const {
    if (!rules_.real_time) return true;
    const bool by_a_call = std::any_of(
        history_.records_.begin(), history_.records_.end(), [&](const CallRecord& other) {
          return other.process != pop.process &&
                 (other.event == Event::kPop || other.event == Event::kReturn) &&
                 Overlap(pop.begin, pop.end, other.begin, other.end);
        });
    return by_a_call ||
           std::any_of(history_.deaths_.begin(), history_.deaths_.end(), [&](const Death& death) {
             return Overlap(pop.begin, pop.end, death.at, death.repaired);
           });
  }
  uint64_t FirstDeath() const {
    uint64_t first = kNever;
    for (const Death& death : history_.deaths_) {
      first = std::min(first, death.at);
      for (const CallRecord& record : history_.records_) {
        // It was dead as soon as its last call began, for all that the others can say.
        if (record.process == death.process && record.end == kNever) {
          first = std::min(first, record.begin);
        }
      }
    }
    return first;
  }

  void AddCall(const CallRecord& record) {
    Checker::Operation operation{};
    QueueModel::Call& call = operation.call;
    const Death* death = history_.DeathOf(record.process);
    const bool died_in_it = record.end == kNever;
    call.event = record.event;
    operation.begin = record.begin;
    operation.end = died_in_it && death != nullptr ? death->at : record.end;
    operation.may_be_void = died_in_it;
    if (record.message != kNoMessage) call.message = Number(record.message);
    if (record.event == Event::kPush) {
      call.push = died_in_it ? PushResult::kOk : record.push;
      call.full_is_exact = record.end < FirstDeath();
      call.began_before_close = record.begin < first_close_;
      if (call.push == PushResult::kPending || call.push == PushResult::kTimeout) return;
    } else if (record.event == Event::kPop) {
      call.pop = died_in_it ? PopResult::kOk : record.pop;
      if (call.pop == PopResult::kPending || call.pop == PopResult::kTimeout) return;
      if (died_in_it) call.dead = static_cast<uint8_t>(death - history_.deaths_.data());
      operation.may_be_void = false;  // the model knows that it may have come to nothing
      call.may_overlook = MayOverlook(record.begin);
      call.list_may_be_busy = ListMayBeBusy(record);
    } else if (record.event == Event::kReturn) {
      if (!record.ok) return;  // of the dead: its repair does it
      const auto at = std::find(returned_at_.begin(), returned_at_.end(), record.end);
      call.came_back = static_cast<uint8_t>(at - returned_at_.begin());
    } else if (record.event == Event::kAck) {
      if (died_in_it || !rules_.leased) return;  // of the dead: its repair decides
    }
    operations.push_back(operation);
  }

  // What a dead one held comes back until it is repaired: the leases of complete pops that it
  // neither acknowledged nor returned, and what an incomplete pop took.
  void AddRepairs(size_t index) {
    const Death& death = history_.deaths_[index];
    Checker::Operation repair{};
    repair.call.event = Event::kRepair;
    repair.call.dead = static_cast<uint8_t>(index);
    repair.call.came_back = static_cast<uint8_t>(returned_at_.size() + index);
    repair.end = death.repaired;
    std::map<uint64_t, const CallRecord*> held;
    for (const CallRecord& record : history_.records_) {
      if (record.process != death.process) continue;
      const bool complete = record.end != kNever;
      repair.begin = record.begin;
      if (record.event == Event::kPop && !complete) {
        operations.push_back(repair);
      } else if (record.event == Event::kPop && record.ok && rules_.leased) {
        held[record.message] = &record;
      } else if ((record.event == Event::kReturn || record.event == Event::kAck) && complete) {
        held.erase(record.message);
      }
    }
    for (const auto& [message, pop] : held) {
      repair.call.message = Number(message);
      repair.begin = pop->end;
      repair.call.may_be_acked = false;
      for (const CallRecord& record : history_.records_) {
        const bool open =
            record.process == death.process && record.message == message && record.end == kNever;
        if (open && record.event == Event::kAck) repair.call.may_be_acked = true;
        if (open && record.event == Event::kReturn) repair.begin = record.begin;
      }
      operations.push_back(repair);
    }
  }

  std::vector<Checker::Operation> operations;

 private:
  const History& history_;
  const QueueRules& rules_;
  std::vector<uint64_t> returned_at_;
  uint64_t first_close_ = kNever;
  std::map<uint64_t, uint8_t> numbers_;
};

bool History::IsLinearizable(const QueueRules& rules) const {
  Checker checker(Translation(*this, rules).operations);
  QueueModel model;
  model.capacity = rules.capacity;
  model.is_leased = rules.leased;
  return checker.IsLinearizable(model);
}

void History::CheckAttempts(uint64_t message, const QueueRules& rules,
                            shm::Findings& findings) const {
  std::vector<const CallRecord*> pops;
  for (const CallRecord& record : records_) {
    if (record.event == Event::kPop && record.ok && record.message == message) {
      pops.push_back(&record);
    }
  }
  std::sort(pops.begin(), pops.end(),
            [](const CallRecord* a, const CallRecord* b) { return a->end < b->end; });
  for (size_t k = 0; k < pops.size(); ++k) {
    const auto returned = static_cast<uint32_t>(
        std::count_if(records_.begin(), records_.end(), [&](const CallRecord& back) {
          return back.event == Event::kReturn && back.ok && back.message == message &&
                 back.end < pops[k]->begin;
        }));
    if (pops[k]->attempts >= returned && pops[k]->attempts >= k &&
        pops[k]->attempts <= k + deaths_.size()) {
      continue;
    }
    findings.Add("attempts", 0,
                 Name(message) + ", delivery " + std::to_string(k + 1) + ", says attempts " +
                     std::to_string(pops[k]->attempts) + " after " + std::to_string(returned) +
                     " returns and " + std::to_string(deaths_.size()) + " deaths:\n" +
                     ToText(rules));
  }
}

// Until when others may stumble over a call: a lease lasts until it is given back, what the dead
// left until it is repaired.
uint64_t History::EndOfTraces(const CallRecord& record, const QueueRules& rules) const {
  if (const Death* death = DeathOf(record.process)) return death->repaired;
  if (!rules.leased || record.event != Event::kPop || !record.ok) return record.end;
  for (const CallRecord& next : records_) {
    const bool ends_it = next.event == Event::kAck || next.event == Event::kReturn;
    if (ends_it && next.process == record.process && next.message == record.message &&
        next.begin > record.end) {
      return next.end;
    }
  }
  return kNever;
}

// Somebody else must be in the middle of something, or dead and not repaired. Where nothing orders
// two calls, what the other one was in the middle of may be seen after it ended.
void History::CheckPending(const CallRecord& record, const QueueRules& rules,
                           shm::Findings& findings) const {
  if (!rules.real_time) return;
  for (const CallRecord& other : records_) {
    if (other.process != record.process &&
        Overlap(record.begin, record.end, other.begin, EndOfTraces(other, rules))) {
      return;
    }
  }
  findings.Add("pending", 0,
               "process " + std::to_string(record.process) + " was told kPending between " +
                   std::to_string(record.begin) + " and " + std::to_string(record.end) +
                   " although nobody was in the middle of a call:\n" + ToText(rules));
}

void History::Check(const QueueRules& rules, shm::Findings& findings) const {
  History known = *this;
  for (const CallRecord& record : records_) {
    // Nobody saw it die, but it never returned.
    if (record.end == kNever && known.DeathOf(record.process) == nullptr) {
      known.Add(Death{record.process, kNever});
    }
  }
  HistoryCounts& counts = CountsOfHistories();
  ++counts.histories;
  counts.with_deaths += !deaths_.empty();
  counts.with_open_calls += std::any_of(records_.begin(), records_.end(),
                                        [](const auto& record) { return record.end == kNever; });
  counts.operations += records_.size();
  const uint64_t before = findings.count();
  known.CheckKnown(rules, findings);
  counts.violations += findings.count() - before;
}

void History::CheckKnown(const QueueRules& rules, shm::Findings& findings) const {
  for (const CallRecord& record : records_) {
    if (record.end == kNever) continue;
    const bool pending = record.event == Event::kPop    ? record.pop == PopResult::kPending
                         : record.event == Event::kPush ? record.push == PushResult::kPending
                                                        : false;
    if (pending) CheckPending(record, rules, findings);
    if (record.event == Event::kPush) CheckAttempts(record.message, rules, findings);
  }
  if (!IsLinearizable(rules)) {
    findings.Add("history", 0, "no order of the calls explains the answers:\n" + ToText(rules));
  }
}

std::string History::ToText(const QueueRules& rules) const {
  std::ostringstream text;
  text << "queue " << rules.capacity << ' ' << (rules.leased ? "leased" : "plain") << '\n';
  for (const Death& death : deaths_) {
    text << "death " << death.process << ' ' << death.at << ' ' << death.repaired << '\n';
  }
  std::vector<CallRecord> sorted = records_;
  std::sort(sorted.begin(), sorted.end(),
            [](const CallRecord& a, const CallRecord& b) { return a.begin < b.begin; });
  for (const CallRecord& record : sorted) {
    const auto result = record.event == Event::kPush  ? static_cast<int>(record.push)
                        : record.event == Event::kPop ? static_cast<int>(record.pop)
                                                      : static_cast<int>(record.ok);
    text << kEvents[static_cast<int>(record.event)] << ' ' << record.process << ' ' << record.begin
         << ' ' << record.end << ' ' << record.message << ' ' << result << ' ' << record.attempts
         << "  # ";
    if (record.end == kNever) {
      text << "died in it";
    } else if (record.event == Event::kPush) {
      text << record.push;
    } else if (record.event == Event::kPop) {
      text << record.pop;
    }
    text << '\n';
  }
  return text.str();
}

std::optional<History> History::FromText(const std::string& text, QueueRules* rules) {
  History history;
  std::istringstream lines(text);
  bool has_rules = false;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string what;
    if (!(words >> what)) continue;
    if (what == "queue") {
      std::string kind;
      has_rules = static_cast<bool>(words >> rules->capacity >> kind);
      rules->leased = kind == "leased";
      continue;
    }
    if (what == "death") {
      Death death{};
      if (!(words >> death.process >> death.at >> death.repaired)) return std::nullopt;
      history.Add(death);
      continue;
    }
    const auto* event = std::find(std::begin(kEvents), std::end(kEvents), what);
    CallRecord record{};
    int result = 0;
    if (event == std::end(kEvents) || !(words >> record.process >> record.begin >> record.end >>
                                        record.message >> result >> record.attempts)) {
      return std::nullopt;
    }
    record.event = static_cast<Event>(event - std::begin(kEvents));
    record.push = static_cast<PushResult>(result);
    record.pop = static_cast<PopResult>(result);
    record.ok = record.event == Event::kPush  ? record.push == PushResult::kOk
                : record.event == Event::kPop ? record.pop == PopResult::kOk
                                              : result != 0;
    if (record.end == kNever) record.ok = false;
    history.Add(record);
  }
  if (!has_rules) return std::nullopt;
  return history;
}

}  // namespace thole::queue::testing
