#include "ledger.h"

namespace thole::soak {
namespace {

constexpr uint64_t kSettled = kRefused | kAcked | kMaybeAcked | kCounted;

}  // namespace

std::string Entry::ToString() const {
  std::string text = "message " + std::to_string(number) + ":";
  if (facts == 0) text += " never begun";
  if (facts & kBegun) text += " begun";
  if (facts & kAccepted) text += ", accepted";
  if (facts & kRefused) text += ", refused";
  text += ", delivered " + std::to_string(deliveries) + " times";
  if (facts & kAcked) text += ", acknowledged";
  if (facts & kMaybeAcked) text += ", perhaps acknowledged: its receiver died in the ack";
  return text;
}

const char* ToString(Delivery delivery) {
  switch (delivery) {
    case Delivery::kFine:
      return "as it should be";
    case Delivery::kAfterAck:
      return "delivered although it was done with";
    case Delivery::kAsIfFirst:
      return "delivered again as if for the first time";
    case Delivery::kRefused:
      return "delivered although its send failed";
    case Delivery::kImpossible:
      break;
  }
  return "delivered and cannot be: never sent, or done with long ago";
}

bool StreamLedger::MayBegin(uint64_t number, int64_t now_ns) const {
  const Entry before = Entry::Unpack(PlaceOf(number).load());
  if (before.facts == 0 || (before.facts & kSettled) != 0) return true;
  if (!acknowledged_ && before.deliveries > 0) return true;
  const bool must_come = acknowledged_ && ((before.facts & kAccepted) || before.deliveries > 0);
  const int64_t age_ns = now_ns - stream_.begun_ns[number % Stream::kPlaces].load();
  return !must_come && age_ns > kUnknownKeptNs;
}

void StreamLedger::Begin(uint64_t number, int64_t now_ns) {
  // The number is used up before anything else: killed here, it is skipped.
  stream_.next.store(number + 1);
  const Entry before = Entry::Unpack(PlaceOf(number).load());
  if (!acknowledged_ && IsLost(before)) stream_.overwritten.fetch_add(1);
  stream_.begun_ns[number % Stream::kPlaces].store(now_ns);
  PlaceOf(number).store(Entry{number, 0, kBegun}.Pack());
}

Delivery StreamLedger::Delivered(uint64_t number, uint32_t attempt, uint64_t& delivery) {
  uint64_t word = PlaceOf(number).load();
  Entry entry;
  Entry noted;
  do {
    entry = Entry::Unpack(word);
    if (entry.number != number || entry.facts == 0) return Delivery::kImpossible;
    noted = entry;
    if (noted.deliveries < Entry::kDeliveriesMax) ++noted.deliveries;
    noted.facts &= ~uint64_t{kMaybeAcked};  // it was not, then
  } while (!PlaceOf(number).compare_exchange_weak(word, noted.Pack()));
  delivery = noted.deliveries;
  if (entry.facts & kRefused) return Delivery::kRefused;
  if (entry.facts & kAcked) return Delivery::kAfterAck;
  if (entry.deliveries == 0) return Delivery::kFine;
  if (!acknowledged_) return Delivery::kAfterAck;
  return attempt == 0 ? Delivery::kAsIfFirst : Delivery::kFine;
}

bool StreamLedger::Acked(uint64_t number, uint64_t delivery) {
  Add(number, kAcked);
  return Entry::Unpack(PlaceOf(number).load()).deliveries == delivery;
}

void StreamLedger::MaybeAcked(uint64_t number, uint64_t delivery) {
  uint64_t word = PlaceOf(number).load();
  for (;;) {
    Entry entry = Entry::Unpack(word);
    if (entry.number != number || entry.deliveries != delivery || (entry.facts & kAcked)) return;
    entry.facts |= kMaybeAcked;
    if (PlaceOf(number).compare_exchange_weak(word, entry.Pack())) return;
  }
}

bool StreamLedger::IsLost(const Entry& entry) const {
  if (entry.facts == 0 || (entry.facts & kSettled) != 0) return false;
  // What was delivered was sent, whether or not its producer lived to note it.
  if (acknowledged_) return (entry.facts & kAccepted) != 0 || entry.deliveries > 0;
  return (entry.facts & kAccepted) != 0 && entry.deliveries == 0;
}

uint64_t StreamLedger::CountLost(std::string& first) {
  uint64_t lost = acknowledged_ ? 0 : stream_.overwritten.exchange(0);
  for (std::atomic<uint64_t>& place : stream_.entries) {
    const Entry entry = Entry::Unpack(place.load());
    if (!IsLost(entry)) continue;
    if (lost++ == 0) first = entry.ToString();
    place.fetch_or(kCounted);
  }
  return lost;
}

}  // namespace thole::soak
