// The board: what supervisor and members tell one another beside the segment. Shared anonymous
// memory, so that no death takes it along; words only, each written by one side.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "ledger.h"
#include "options.h"
#include "thole/shm/word.h"

namespace thole::soak {

/// Values of `Board::phase`.
enum Phase : uint32_t {
  kRun,
  kPause,  ///< stop between two calls, with whatever is held
  kDrain,  ///< producers stop and hold nothing; consumers go on
  kEmpty,  ///< consumers give back what they hold, and stop
  kEnd,    ///< leave
};

/// Values of `MemberRecord::end`: what a member does at SIGUSR1, at whatever instruction it is.
enum End : uint32_t { kExit, kFault };

inline constexpr int kExitWithoutLeaving = 77;

struct ThreadRecord {
  std::atomic<uint64_t> beats;     // grows with each turn
  std::atomic<uint32_t> standing;  // the pause that it stands still for; 0 = it runs
  std::atomic<uint32_t> in_plain;  // between a receive without acknowledgement and its note
  std::atomic<uint64_t> open_ack;  // see OpenAck
  std::atomic<uint64_t> sent;      // accepted
  std::atomic<uint64_t> received;  // deliveries
  std::atomic<uint64_t> acked;
  std::atomic<uint64_t> longest_over_ns;  // by which a call missed its deadline
};

struct MemberRecord {
  std::atomic<uint64_t> seat;   // slot << 32 | generation, + 1; 0 = none yet
  std::atomic<uint32_t> end;    // an End
  std::atomic<uint32_t> stops;  // counted up before SIGSTOP and after SIGCONT
  std::atomic<uint32_t> complained;
  char complaint[400];  // why it ended by itself
  ThreadRecord threads[kThreadsMax];
};

/// An ack that may or may not take effect: the stream's index, the number, which delivery.
struct OpenAck {
  uint32_t stream = 0;
  uint64_t number = 0;
  uint64_t delivery = 0;
  /// Never 0.
  uint64_t Pack() const {
    return (uint64_t{stream} + 1) << 52 | (number & kNumberMax) << 12 | delivery;
  }
  static OpenAck Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 52) - 1, word >> 12 & kNumberMax, word & 0xfff};
  }
  static constexpr uint64_t kNumberMax = (uint64_t{1} << 40) - 1;
};

struct Board {
  shm::Word32 phase;            // a Phase; members sleep on it
  std::atomic<uint32_t> pause;  // number of the present pause
  std::atomic<uint64_t> duplicated;
  std::atomic<uint64_t> damaged;  // payloads that are not what was sent, buffers that are another's
  std::atomic<uint32_t> words;    // findings with text, below
  struct {
    std::atomic<uint32_t> written;
    char text[240];
  } findings[32];
  MemberRecord members[kMembersMax];

  /// Kept if there is room.
  void AddFinding(const char* text);
};

/// A board for so many streams. Goes with the last process that maps it.
class SharedBoard {
 public:
  explicit SharedBoard(uint32_t streams);
  ~SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const { return board_; }
  Stream& stream(uint32_t index) const { return streams_[index]; }

 private:
  uint64_t bytes_;
  Board* board_;
  Stream* streams_;  // acknowledged ones, then plain ones
};

/// Which stream is whose.
struct StreamMap {
  uint32_t producers;
  uint32_t threads;
  uint32_t each_kind() const { return producers * threads; }
  uint32_t count() const { return 2 * each_kind(); }
  uint32_t IndexOf(uint32_t producer, uint32_t thread, bool acknowledged) const {
    return (acknowledged ? 0 : each_kind()) + producer * threads + thread;
  }
  bool IsAcknowledged(uint32_t stream) const { return stream < each_kind(); }
  StreamLedger LedgerOf(const SharedBoard& board, uint32_t stream) const {
    return StreamLedger(board.stream(stream), IsAcknowledged(stream));
  }
};

}  // namespace thole::soak
