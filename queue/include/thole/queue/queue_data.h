// The bytes of a work queue: a header, then one cell per place in the ring.
//
//   offset  0       128    192    256          320           384       448          960
//           +-------+------+------+------------+-------------+---------+------------+--------- ...
//           | facts | tail | head | closed,    | return list | counters| holder map | cells
//           |       |      |      | wait lists | (leased)    |         | (4,096 bit)|
//           +-------+------+------+------------+-------------+---------+------------+--------- ...
//
// `facts` are written before the queue has a name and never again; static_check covers them.
//
// cell state
//  63              24 23       19 18   16 15            0
//  +-----------------+-----------+-------+---------------+
//  |   ticket (40)   | attempts  | phase |     owner     |   followed by 56, 120 or 248 bytes
//  +-----------------+-----------+-------+---------------+
// ticket  running number of the message (its low 40 bits); ticket mod capacity = index of the cell
// owner   slot + 1 : 12 | low bits of the participant's generation : 4;  0 = nobody
// phase   EMPTY    -> WRITING  by any producer (CAS): claim
//                  -> CLOSED   by any consumer of a closed queue (CAS): the seal
//         WRITING  -> FULL     by its owner: COMMIT of a push
//                  -> EMPTY of the next lap by the repairer of its owner: not given
//         FULL     -> TAKEN    by any consumer (CAS): claim
//         TAKEN    -> EMPTY of the next lap by its owner: COMMIT of a pop
//                  -> FULL, attempts + 1, by the repairer of its owner: not taken
//         CLOSED   for ever; DROPPING is reserved for the overflow policy drop-oldest
//
// tail    ticket (48 bits) of the next claim; anybody helps it one step on (CAS)
// head    epoch : 16 | ticket : 48 of the next message; anybody helps it on over cells that are
// taken
//         or done; only a repairer moves it back, and always counts the epoch up (CAS)
// Both are hints: the cells are the truth. All comparisons are differences modulo their width.
//
// return list  messages of a leased queue whose receiver gave them back or died: a chain through
// the
//         messages' control words (message_control.h), changed under its owner lock and undo log.
//         `changes` is bumped, unlogged, before each transaction; never goes back.
// holder map   a bit per participant, set before its first claim, cleared at detach or by repair: a
//         superset of those who may hold a cell or a lease here.
//
// Invariants (audit cites the numbers)
//   Q1  magic, layout version and static_check fit; capacity is a power of two, 1 .. 524,288; the
//       element fits into a cell; everything lies inside the segment
//   Q2  a cell's ticket mod capacity is its index; its phase is known; the owner is 0 unless the
//       phase is WRITING or TAKEN
//   Q3  a cell's ticket is not more than one lap away from tail
//   Q4  head is at most one ahead of tail
//   Q5  no FULL cell lies behind head
//   Q6  the owner of a cell is a LIVE participant of that generation whose holder bit is set
//   Q7  the return list has `count` links from head to tail, each inside the segment; its lock is
//       free or held by a LIVE participant; it is empty on a queue that is not leased
//   Q8  no holder bit is set beyond the last participant or for a FREE slot
//   Q9  no FULL or WRITING cell lies at or behind a seal; a sealed queue is closed
//   Q10 word 0 of a FULL cell of a descriptor queue is a block inside the segment
//
// Edges (release -> acquire)
//   Q-a  TryPush: state FULL            ->  TryPop: state     the payload is visible
//   Q-b  TryPop: state EMPTY, next lap  ->  TryPush: state    the payload may be overwritten
//   Q-c  help: tail, head               ->  next call: the same   nobody walks a step twice
//   Q-d  Close: closed                  ->  TryPush, TryPop: closed   the close comes after it
//   Q-e  list transaction: changes      ->  TryPop: changes   count and links are not older
//   Q-f  Announce: holder bit           ->  repair, through the kernel, and the next claim
//   Q-g  repair: cells, head            ->  everybody         as Q-a to Q-c
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thole/shm/owner_lock.h"
#include "thole/shm/wait_list.h"
#include "thole/shm/word.h"

namespace thole::queue {

inline constexpr uint32_t kQueueMagic = 0x5545'5551;  // "QUEU"
/// Changes whenever a stored struct of `queue` changes its bytes.
inline constexpr uint32_t kQueueLayoutVersion = 1;
inline constexpr uint32_t kCapacityMax = 524'288;
inline constexpr uint32_t kElementBytesMax = 248;
/// Attempts saturate at 31 in the cell; limits stay below.
inline constexpr uint32_t kMaxDeliveriesMax = 30;

inline constexpr uint32_t kOwnerBits = 16;
inline constexpr uint32_t kPhaseBits = 3;
inline constexpr uint32_t kAttemptBits = 5;
inline constexpr uint32_t kCellTicketBits = 40;
static_assert(kOwnerBits + kPhaseBits + kAttemptBits + kCellTicketBits == 64);
inline constexpr uint64_t kAttemptsSaturated = (1u << kAttemptBits) - 1;
inline constexpr uint32_t kTicketBits = 48;
inline constexpr uint32_t kEpochBits = 16;
static_assert(kTicketBits + kEpochBits == 64);
inline constexpr uint64_t kTicketMask = (uint64_t{1} << kTicketBits) - 1;
inline constexpr uint64_t kCellTicketMask = (uint64_t{1} << kCellTicketBits) - 1;

/// Values are bytes of the layout.
enum class CellPhase : uint64_t {
  kEmpty = 0,
  kWriting = 1,
  kFull = 2,
  kTaken = 3,
  kClosed = 4,
  kDropping = 5,
};

/// Somebody is in the middle of a move on the cell.
constexpr bool IsTaken(CellPhase phase) {
  return phase == CellPhase::kTaken || phase == CellPhase::kDropping;
}
constexpr bool IsClaim(CellPhase phase) { return phase == CellPhase::kWriting || IsTaken(phase); }

/// The state word of a cell, taken apart. A value.
struct CellState {
  uint64_t ticket;  // 40 bits
  uint64_t attempts;
  CellPhase phase;
  uint64_t owner;

  static constexpr CellState Unpack(uint64_t word) {
    return {word >> 24, word >> 19 & kAttemptsSaturated, static_cast<CellPhase>(word >> 16 & 7),
            word & 0xffff};
  }
  /// `ticket` may be wider than 40 bits.
  constexpr uint64_t Pack() const {
    return ticket << 24 | attempts << 19 | static_cast<uint64_t>(phase) << 16 | owner;
  }
};
static_assert(CellState::Unpack(CellState{5, 31, CellPhase::kDropping, 0xffff}.Pack()).ticket == 5);

/// What stands in the owner field for a participant.
constexpr uint64_t CellOwner(uint32_t slot, uint32_t generation) {
  return (slot + 1) | static_cast<uint64_t>(generation & 15) << 12;
}
/// The slot of an owner field that is not 0.
constexpr uint32_t CellOwnerSlot(uint64_t owner) {
  return static_cast<uint32_t>(owner & 0xfff) - 1;
}

/// How far `a` lies ahead of `b`, of which only the low 40 (48) bits count.
constexpr int64_t CellTicketDistance(uint64_t a, uint64_t b) {
  return static_cast<int64_t>((a - b) << (64 - kCellTicketBits)) >> (64 - kCellTicketBits);
}
constexpr int64_t TicketDistance(uint64_t a, uint64_t b) {
  return static_cast<int64_t>((a - b) << (64 - kTicketBits)) >> (64 - kTicketBits);
}

constexpr uint64_t PackHead(uint64_t epoch, uint64_t ticket) {
  return epoch << kTicketBits | (ticket & kTicketMask);
}
constexpr uint64_t HeadEpoch(uint64_t head) { return head >> kTicketBits; }

/// The smallest of the three cells; the larger ones have 120 and 248 bytes of payload.
struct alignas(shm::kCacheLine) CellData {
  shm::Word64 state;
  shm::Word64 payload[7];
};
static_assert(sizeof(CellData) == 64 && offsetof(CellData, payload) == 8);
static_assert(std::has_unique_object_representations_v<CellData>);

/// Bits of SharedQueueData::flags.
inline constexpr uint32_t kFlagLeased = 1;       // receives are leases; implies kFlagDescriptors
inline constexpr uint32_t kFlagDescriptors = 2;  // an element begins with a MessageDescriptor
// Bits 8 .. 11 are the overflow policy (0 = reject); more are refused by this version.
inline constexpr uint32_t kFlagsKnown = kFlagLeased | kFlagDescriptors;

/// The messages that came back (leased queues).
struct ReturnListData {
  shm::OwnerLockData lock;
  shm::Word64 changes;
  shm::Word64 head;  // offset of the block that is served next, 0 = none
  shm::Word64 tail;  // offset of the block that came last
  shm::Word64 count;
  uint64_t reserved[3];
};
static_assert(sizeof(ReturnListData) == 64);
static_assert(std::has_unique_object_representations_v<ReturnListData>);

/// Numbers for people; relaxed, never decided upon. Pushed and popped follow from tail and head.
struct QueueCountersData {
  shm::Word64 rejected_full;
  shm::Word64 timed_out;
  shm::Word64 redelivered;
  shm::Word64 dropped_oldest;  // reserved
  shm::Word64 dead_lettered;   // reserved
  uint64_t reserved[3];
};
static_assert(sizeof(QueueCountersData) == 64);
static_assert(std::has_unique_object_representations_v<QueueCountersData>);

inline constexpr uint32_t kHolderWords = 64;  // 4,096 bits: every slot a segment can have

/// What a queue is; written before it has a name and never again.
struct QueueFactsData {
  uint32_t magic;
  uint32_t layout_version;
  uint32_t capacity;
  uint32_t cell_bytes;  // 64, 128 or 256
  uint32_t element_bytes;
  uint32_t generation;
  uint32_t flags;
  uint32_t max_deliveries;  // 0 = no limit
  uint64_t type_id;         // 0 = not named
  uint64_t first_ticket;    // 0, except in tests of the wrap
  uint64_t dead_letter;     // PackWhere of that queue; reserved, 0
  uint64_t static_check;    // CRC32C of the facts before it
};
static_assert(sizeof(QueueFactsData) == 64 && offsetof(QueueFactsData, static_check) == 56);
static_assert(std::has_unique_object_representations_v<QueueFactsData>);

struct alignas(shm::kCacheLine) SharedQueueData {
  QueueFactsData facts;
  uint64_t reserved[8];  // more facts
  // Written by producers, and by consumers once in a lap.
  alignas(shm::kCacheLine) shm::Word64 tail;
  uint64_t reserved_tail[7];
  // Written by consumers.
  alignas(shm::kCacheLine) shm::Word64 head;
  uint64_t reserved_head[7];
  // Read by everybody, written only by close and by those who sleep.
  alignas(shm::kCacheLine) shm::Word64 closed;
  shm::WaitListData consumers;
  shm::WaitListData producers;
  uint64_t reserved_line[5];
  // Cold unless the queue is leased.
  alignas(shm::kCacheLine) ReturnListData returned;
  alignas(shm::kCacheLine) QueueCountersData counters;
  shm::Word64 holders[kHolderWords];
};
static_assert(offsetof(SharedQueueData, tail) == 128 && offsetof(SharedQueueData, head) == 192);
static_assert(offsetof(SharedQueueData, closed) == 256);
static_assert(offsetof(SharedQueueData, returned) == 320);
static_assert(offsetof(SharedQueueData, counters) == 384);
static_assert(offsetof(SharedQueueData, holders) == 448);
static_assert(sizeof(SharedQueueData) == 960, "the cells follow, on their own lines");
static_assert(std::has_unique_object_representations_v<SharedQueueData>);

/// The cell size that fits an element; 0 when none does.
constexpr uint32_t CellBytesFor(uint32_t element_bytes) {
  return element_bytes == 0     ? 0
         : element_bytes <= 56  ? 64
         : element_bytes <= 120 ? 128
         : element_bytes <= 248 ? 256
                                : 0;
}
/// Bytes of a queue of this shape.
constexpr uint64_t QueueBytes(uint32_t capacity, uint32_t cell_bytes) {
  return sizeof(SharedQueueData) + uint64_t{capacity} * cell_bytes;
}

}  // namespace thole::queue
