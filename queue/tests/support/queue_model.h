// QueueModel: what a queue answers if one call happens after the other, for the checker of
// histories (thole/shm/testing/history_checker.h).
//
// The ring is a list; a message in it may be `kept` by a participant that died in a pop. Repair
// offers such a message again where it stands, or it is gone with its receiver, or - leased - it
// goes to the list of returned messages, which is served first. Messages that came back carry a
// number: a call that began before they were back may overlook them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "thole/queue/queue_result.h"

namespace thole::queue::testing {

enum class Event : uint8_t { kPush, kPop, kReturn, kAck, kClose, kRepair };

struct QueueModel {
  static constexpr uint8_t kAny = 0xff;  // a pop that nobody saw return
  static constexpr uint8_t kNone = 0xff;

  struct Call {
    Event event = Event::kPush;
    PushResult push = PushResult::kOk;
    PopResult pop = PopResult::kOk;
    uint8_t message = kAny;
    uint8_t dead = kNone;       // whose pop or repair it is
    uint8_t came_back = kNone;  // number of this return or repair
    uint64_t may_overlook = 0;  // bit n: what came back as n
    bool list_may_be_busy = false;
    bool full_is_exact = true;
    bool began_before_close = false;  // of a push: then it may still be accepted
    bool may_be_acked = false;        // of a repair: the dead one was in the ack
  };
  struct Item {
    uint8_t message;
    uint8_t kept_by = kNone;
    uint8_t came_back = kNone;
  };

  uint32_t capacity = 0;
  bool is_leased = false;
  bool closed = false;
  bool sealed = false;  // somebody was told kClosed
  uint64_t over = 0;    // bit n: the last pop of dead participant n took something, or nothing
  std::vector<Item> ring = {};
  std::vector<Item> returned = {};
  std::vector<Item> leased = {};  // `kept_by` is who died with it

  template <class Visit>
  bool After(const Call& call, const Visit& visit) const {
    QueueModel next = *this;
    switch (call.event) {
      case Event::kPush:
        return Push(call, visit);
      case Event::kPop:
        return Pop(call, visit);
      case Event::kReturn:
        return next.ToList(call) && visit(next);
      case Event::kAck:
        return next.EndLease(call.message) && visit(next);
      case Event::kClose:
        next.closed = true;
        return visit(next);
      case Event::kRepair:
        return Repair(call, visit);
    }
    return false;
  }
  void AppendTo(std::string& key) const {
    key += static_cast<char>(closed | sealed << 1);
    key += std::to_string(over) + '|';
    for (const std::vector<Item>* items : {&ring, &returned, &leased}) {
      for (const Item& item : *items) {
        key += {static_cast<char>(item.message), static_cast<char>(item.kept_by),
                static_cast<char>(item.came_back)};
      }
      key += '|';
    }
  }

 private:
  static bool IsThere(const Item& item) { return item.kept_by == kNone; }
  static bool MayOverlook(const Call& call, const Item& item) {
    return !IsThere(item) || (item.came_back != kNone && (call.may_overlook >> item.came_back & 1));
  }
  uint32_t Count() const {
    return static_cast<uint32_t>(std::count_if(ring.begin(), ring.end(), IsThere));
  }
  bool NothingFor(const Call& call) const {
    const auto overlooked = [&](const Item& item) { return MayOverlook(call, item); };
    return std::all_of(ring.begin(), ring.end(), overlooked) &&
           std::all_of(returned.begin(), returned.end(), overlooked);
  }

  template <class Visit>
  bool Push(const Call& call, const Visit& visit) const {
    QueueModel next = *this;
    switch (call.push) {
      case PushResult::kOk:
        next.ring.push_back({call.message});
        return (!closed || (call.began_before_close && !sealed)) && Count() < capacity &&
               visit(next);
      case PushResult::kFull:
        return (!call.full_is_exact || Count() == capacity) && visit(next);
      case PushResult::kClosed:
        return closed && visit(next);
      case PushResult::kPending:
      case PushResult::kTimeout:
        return visit(next);
      case PushResult::kCorrupt:
        break;
    }
    return false;
  }

  template <class Visit>
  bool Pop(const Call& call, const Visit& visit) const {
    QueueModel next = *this;
    switch (call.pop) {
      case PopResult::kOk:
        if (call.dead != kNone) next.over |= uint64_t{1} << call.dead;
        if (!sealed && next.Take(call, visit)) return true;
        return call.dead != kNone && visit(next);  // it came to nothing
      case PopResult::kEmpty:
        return NothingFor(call) && visit(next);
      case PopResult::kClosed:
        next.sealed = true;
        return closed && leased.empty() && NothingFor(call) && visit(next);
      case PopResult::kPending:
      case PopResult::kTimeout:
        return visit(next);
      case PopResult::kCorrupt:
        break;
    }
    return false;
  }

  // The first of the returned ones, else the first of the ring; each of those may be overlooked.
  template <class Visit>
  bool Take(const Call& call, const Visit& visit) const {
    bool list_is_over = true;
    for (size_t i = 0; i < returned.size(); ++i) {
      if (IsWanted(call, returned[i])) {
        QueueModel next = *this;
        next.returned.erase(next.returned.begin() + static_cast<std::ptrdiff_t>(i));
        next.leased.push_back({returned[i].message, call.dead});
        if (visit(next)) return true;
      }
      list_is_over = MayOverlook(call, returned[i]) || call.list_may_be_busy;
      break;  // the list itself is served in order
    }
    for (size_t i = 0; list_is_over && i < ring.size(); ++i) {
      if (IsWanted(call, ring[i]) && VisitTaken(call, i, visit)) return true;
      if (!MayOverlook(call, ring[i])) break;
    }
    return false;
  }
  static bool IsWanted(const Call& call, const Item& item) {
    return IsThere(item) && (call.message == kAny || call.message == item.message);
  }
  template <class Visit>
  bool VisitTaken(const Call& call, size_t at, const Visit& visit) const {
    QueueModel next = *this;
    if (call.dead != kNone) {
      next.ring[at].kept_by = call.dead;  // until repair says where it is
    } else {
      next.ring.erase(next.ring.begin() + static_cast<std::ptrdiff_t>(at));
      if (is_leased) next.leased.push_back({ring[at].message});
    }
    return visit(next);
  }

  bool EndLease(uint8_t message) {
    return std::erase_if(leased, [&](const Item& item) { return item.message == message; }) == 1;
  }
  bool ToList(const Call& call) {
    if (!EndLease(call.message)) return false;
    returned.push_back({call.message, kNone, call.came_back});
    return true;
  }

  // What the dead one had: a lease that is known (`message`), or whatever its last pop took.
  template <class Visit>
  bool Repair(const Call& call, const Visit& visit) const {
    QueueModel next = *this;
    if (call.message != kAny) {
      if (call.may_be_acked && next.EndLease(call.message) && visit(next)) return true;
      next = *this;
      return next.ToList(call) && visit(next);
    }
    if ((over >> call.dead & 1) == 0) return false;  // not before its pop
    const auto mine = [&](const Item& item) { return item.kept_by == call.dead; };
    const auto served = std::find_if(leased.begin(), leased.end(), mine);
    if (served != leased.end()) {
      Call known = call;
      known.message = served->message;
      return next.ToList(known) && visit(next);
    }
    const auto kept = std::find_if(ring.begin(), ring.end(), mine);
    if (kept == ring.end()) return visit(next);
    Item& again = next.ring[static_cast<size_t>(kept - ring.begin())];
    again = {kept->message, kNone, call.came_back};
    if (visit(next)) return true;
    next = *this;
    next.ring.erase(next.ring.begin() + (kept - ring.begin()));
    if (is_leased) next.returned.push_back({kept->message, kNone, call.came_back});
    return visit(next);
  }
};

}  // namespace thole::queue::testing
