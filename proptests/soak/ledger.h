// The ledger: what became of every message of one stream, outside of the segment.
//
// A stream is what one thread of one producer sends into one channel, numbered from 0; its next
// incarnation goes on where it was killed. Each fact is one store, made before or after the call
// that it is about, so that a kill can lose a call but no fact:
//
//   producer   next = n + 1 | BEGUN | the send | ACCEPTED or REFUSED
//   consumer   the receive | one delivery more | open ack noted | the ack | ACKED | none open
//   supervisor, when a consumer died: its open ack -> MAYBE (nobody knows, unless it comes again)
//
//     63          20           8       0
//     +------------+-----------+-------+
//     | number: 44 | count: 12 | facts |    of the message that lies in place number mod kPlaces
//     +------------+-----------+-------+
//
// A place is used again once its message is settled. That bounds the ledger, and a message that
// is never settled stops its stream, which somebody notices.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace thole::soak {

enum Fact : uint64_t {
  kBegun = 1,
  kAccepted = 2,
  kRefused = 4,
  kAcked = 8,
  kMaybeAcked = 16,
  kCounted = 32,  ///< as lost, so that it is counted once
};

/// A message's word, taken apart.
struct Entry {
  uint64_t number = 0;
  uint64_t deliveries = 0;
  uint64_t facts = 0;

  static constexpr uint64_t kDeliveriesMax = 4095;
  static Entry Unpack(uint64_t word) {
    return {word >> 20, word >> 8 & kDeliveriesMax, word & 0xff};
  }
  uint64_t Pack() const { return number << 20 | deliveries << 8 | facts; }
  std::string ToString() const;
};

/// Lies in memory that all processes share; zero is its beginning.
struct Stream {
  static constexpr uint64_t kPlaces = 8192;  // far more than a channel and its receivers hold

  std::atomic<uint64_t> next;
  std::atomic<uint64_t> overwritten;  // plain messages that were accepted and never delivered
  std::atomic<uint64_t> entries[kPlaces];
  std::atomic<int64_t> begun_ns[kPlaces];
};

/// What is wrong with a delivery.
enum class Delivery : uint8_t {
  kFine,
  kAfterAck,    ///< it was acknowledged, or it is plain and was delivered before
  kAsIfFirst,   ///< attempt 0, and it was delivered before
  kRefused,     ///< its send failed
  kImpossible,  ///< never sent, or settled so long ago that its place is another's
};
const char* ToString(Delivery delivery);

/// How long a message that may not have been sent at all, or that died with its receiver, keeps
/// its place. By then whoever has it received it.
inline constexpr int64_t kUnknownKeptNs = 5'000'000'000;

/// `acknowledged` says how the stream's channel works. A value.
class StreamLedger {
 public:
  StreamLedger(Stream& stream, bool acknowledged) : stream_(stream), acknowledged_(acknowledged) {}

  // Its producer.
  uint64_t next() const { return stream_.next.load(); }
  /// Whether message `number` may take its place.
  bool MayBegin(uint64_t number, int64_t now_ns) const;
  /// Takes the place of whoever was there, for `next()`.
  void Begin(uint64_t number, int64_t now_ns);
  void Accepted(uint64_t number) { Add(number, kAccepted); }
  void Refused(uint64_t number) { Add(number, kRefused); }

  // A consumer.
  /// Notes a delivery; `delivery` says which one it is, for `Acked`.
  Delivery Delivered(uint64_t number, uint32_t attempt, uint64_t& delivery);
  /// Notes an ack that returned OK; false when somebody else got the message in the meantime.
  bool Acked(uint64_t number, uint64_t delivery);

  // The supervisor.
  /// A consumer died between "ack" and "acked" of that delivery.
  void MaybeAcked(uint64_t number, uint64_t delivery);
  /// While nothing is in the channel and nobody holds anything: counts what was accepted and is
  /// gone, each once. `first` describes the first of them.
  uint64_t CountLost(std::string& first);

 private:
  std::atomic<uint64_t>& PlaceOf(uint64_t number) const {
    return stream_.entries[number % Stream::kPlaces];
  }
  void Add(uint64_t number, Fact fact) {
    if (Entry::Unpack(PlaceOf(number).load()).number == number) PlaceOf(number).fetch_or(fact);
  }
  bool IsLost(const Entry& entry) const;

  Stream& stream_;
  bool acknowledged_;
};

}  // namespace thole::soak
