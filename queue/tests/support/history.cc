#include "history.h"

#include <algorithm>

namespace thole::queue::testing {
namespace {

std::string Name(uint64_t message) {
  return "message " + std::to_string(message >> 8) + "." + std::to_string(message & 0xff);
}

}  // namespace

std::vector<const CallRecord*> History::Of(Call call, uint64_t message, bool ok_only) const {
  std::vector<const CallRecord*> result;
  for (const CallRecord& record : records_) {
    if (record.call == call && record.message == message && (record.ok || !ok_only)) {
      result.push_back(&record);
    }
  }
  std::sort(result.begin(), result.end(),
            [](const CallRecord* a, const CallRecord* b) { return a->end < b->end; });
  return result;
}

const History::Left* History::FindDrained(uint64_t message, uint32_t* count) const {
  const Left* found = nullptr;
  *count = 0;
  for (const Left& left : drained_) {
    if (left.message != message) continue;
    found = &left;
    ++*count;
  }
  return found;
}

uint64_t History::FirstPopOfTheDead() const {
  uint64_t first = kNever;
  for (const CallRecord& record : records_) {
    if (record.call == Call::kPop && record.end == kNever) first = std::min(first, record.begin);
  }
  return first;
}

void History::CheckMessage(const Rules& rules, const CallRecord& push, uint32_t* taken_by_the_dead,
                           shm::Findings& findings) const {
  const uint64_t message = push.message;
  uint32_t drained = 0;
  FindDrained(message, &drained);
  const auto ended_by =
      rules.leased ? Of(Call::kAck, message, true) : Of(Call::kPop, message, true);
  const auto count = static_cast<uint32_t>(ended_by.size());
  const bool accepted = push.ok;
  const bool may_be = accepted || push.end == kNever;
  if (!may_be && count + drained + Of(Call::kPop, message, true).size() != 0) {
    findings.Add("ledger", 0, Name(message) + " was refused and delivered all the same");
  }
  if (count + drained > 1) {
    findings.Add("ledger", 0,
                 Name(message) + " was delivered " + std::to_string(count) +
                     " times and is there " + std::to_string(drained) + " times");
  }
  if (!accepted || count + drained != 0) return;
  if (rules.leased) {
    for (const CallRecord* ack : Of(Call::kAck, message, false)) {
      if (ack->end == kNever) return;  // its process died in the ack, which took effect
    }
    findings.Add("ledger", 0, Name(message) + " was accepted and is lost");
  } else {
    ++*taken_by_the_dead;
  }
}

void History::CheckAttempts(const Rules& rules, uint64_t message, shm::Findings& findings) const {
  const auto pops = Of(Call::kPop, message, true);
  const auto returns = Of(Call::kReturn, message, true);
  for (size_t k = 0; k < pops.size(); ++k) {
    const auto returned = static_cast<uint32_t>(
        std::count_if(returns.begin(), returns.end(),
                      [&](const CallRecord* back) { return back->end < pops[k]->begin; }));
    if (pops[k]->attempts >= returned && pops[k]->attempts >= k &&
        pops[k]->attempts <= k + rules.deaths) {
      continue;
    }
    findings.Add("attempts", 0,
                 Name(message) + ", delivery " + std::to_string(k + 1) + ", says attempts " +
                     std::to_string(pops[k]->attempts) + " after " + std::to_string(returned) +
                     " returns and " + std::to_string(rules.deaths) + " deaths");
  }
}

void History::CheckOrder(shm::Findings& findings) const {
  struct Passage {
    const CallRecord* push;
    uint64_t begin;
    uint64_t end;
  };
  std::vector<Passage> first;  // of what was never offered twice
  for (const CallRecord& push : records_) {
    if (push.call != Call::kPush || !push.ok) continue;
    uint32_t count = 0;
    const Left* left = FindDrained(push.message, &count);
    const auto pops = Of(Call::kPop, push.message, true);
    if (!pops.empty() && pops.front()->attempts == 0) {
      first.push_back({&push, pops.front()->begin, pops.front()->end});
    } else if (pops.empty() && left != nullptr && left->attempts == 0) {
      first.push_back({&push, kNever, kNever});
    }
  }
  for (const Passage& a : first) {
    for (const Passage& b : first) {
      if (a.push->end < b.push->begin && b.end < a.begin) {
        findings.Add("order", 0, Name(b.push->message) + " overtook " + Name(a.push->message));
      }
    }
  }
}

std::vector<History::Window> History::Windows() const {
  std::vector<Window> windows;
  const uint64_t dead_pop = FirstPopOfTheDead();
  for (const CallRecord& record : records_) {
    if (!record.ok || (record.call != Call::kPush && record.call != Call::kReturn)) continue;
    uint64_t to = kNever;
    bool taken = false;
    for (const CallRecord* pop : Of(Call::kPop, record.message, true)) {
      if (pop->end < record.begin) continue;  // the delivery before this return
      to = std::min(to, pop->begin);
      taken = true;
    }
    uint32_t drained = 0;
    FindDrained(record.message, &drained);
    if (!taken && drained == 0) to = 0;  // lost with a dead consumer, nobody knows when
    windows.push_back({record.end, std::min(to, dead_pop)});
  }
  std::sort(windows.begin(), windows.end(),
            [](const Window& a, const Window& b) { return a.from < b.from; });
  return windows;
}

void History::CheckEmpty(shm::Findings& findings) const {
  const std::vector<Window> windows = Windows();
  for (const CallRecord& record : records_) {
    if (record.call != Call::kPop || record.end == kNever) continue;
    if (record.pop != PopResult::kEmpty && record.pop != PopResult::kClosed) continue;
    uint64_t covered = record.begin;  // up to here there surely was a message at each moment
    for (const Window& window : windows) {
      if (window.from <= covered && window.to > covered) covered = window.to;
    }
    if (covered > record.end) {
      findings.Add("empty", 0,
                   "process " + std::to_string(record.process) + " was told " +
                       std::string(ToString(record.pop)) + " between " +
                       std::to_string(record.begin) + " and " + std::to_string(record.end) +
                       " although there was a message all the time");
    }
  }
}

void History::CheckFull(const Rules& rules, shm::Findings& findings) const {
  for (const CallRecord& full : records_) {
    if (full.call != Call::kPush || full.push != PushResult::kFull || full.end == kNever) continue;
    uint32_t possible = 0;
    for (const CallRecord& push : records_) {
      if (push.call != Call::kPush || !push.ok || push.begin > full.end) continue;
      const auto pops = Of(Call::kPop, push.message, true);
      if (pops.empty() || pops.front()->end > full.begin) ++possible;
    }
    if (possible < rules.capacity) {
      findings.Add("full", 0, "kFull with at most " + std::to_string(possible) + " messages");
    }
  }
}

void History::CheckClosed(shm::Findings& findings) const {
  for (const CallRecord& closed : records_) {
    if (closed.call != Call::kPop || closed.pop != PopResult::kClosed || closed.end == kNever) {
      continue;
    }
    for (const CallRecord& pop : records_) {
      if (pop.call != Call::kPop || !pop.ok || pop.begin < closed.end) continue;
      findings.Add("closed", 0,
                   Name(pop.message) + " came after process " + std::to_string(closed.process) +
                       " was told kClosed");
    }
    if (!drained_.empty()) {
      findings.Add("closed", 0, Name(drained_.front().message) + " was left after kClosed");
    }
  }
}

void History::Check(const Rules& rules, shm::Findings& findings) const {
  uint32_t taken_by_the_dead = 0;
  uint32_t dead_pops = 0;
  for (const CallRecord& record : records_) {
    if (record.call == Call::kPop && record.end == kNever) ++dead_pops;
    if (record.call == Call::kPop && record.pop == PopResult::kCorrupt) {
      findings.Add("corrupt", 0, "a pop answered kCorrupt");
    }
    if (record.call != Call::kPush) continue;
    if (record.push == PushResult::kCorrupt) findings.Add("corrupt", 0, "a push said kCorrupt");
    CheckMessage(rules, record, &taken_by_the_dead, findings);
    CheckAttempts(rules, record.message, findings);
  }
  if (taken_by_the_dead > dead_pops) {
    findings.Add("ledger", 0,
                 std::to_string(taken_by_the_dead) + " messages are lost, but only " +
                     std::to_string(dead_pops) + " consumers died in a pop");
  }
  CheckOrder(findings);
  CheckEmpty(findings);
  if (rules.deaths == 0) CheckFull(rules, findings);
  CheckClosed(findings);
}

}  // namespace thole::queue::testing
