// Who is attached, and everything one thread of it may leave behind when it dies: slot, lane, loan.
//
// slot word
//  63              32 31         18 17     2 1     0
//  +-----------------+-------------+--------+-------+
//  | generation (32) | unused (14) | pending| state |   pending: a bit per RepairStep (16)
//  +-----------------+-------------+--------+-------+
// state: FREE    may be claimed (-> LIVE, generation + 1) by whoever holds the slot's life byte
//        LIVE    -> REPAIR with all pending bits, by the holder of the repair right, once dead
//                -> FREE by its owner, who has given everything back and set pid to 0
//        REPAIR  loses its pending bits in the order of RepairStep, by the holder of the repair
//                right; -> FREE by the same when none is left
//
// owner id (lock words; the slot half also stands in queue cells)
//  63              32 31      30        20 19    12 11        0
//  +-----------------+-------+-----------+--------+----------+
//  | generation (32) |waiters| unused(11)|  lane  | slot + 1 |   0 = nobody
//  +-----------------+-------+-----------+--------+----------+
//
// A lane is used by one thread at a time:
//   line 0      in_call | lock | block intent | first chunk | reserved loan
//   lines 1-2   intent of a larger step (word + 15 arguments), owned by the component it names
//   lines 3-10  undo log: count, 31 entries {where, old}
//   then        64 loans of 32 bytes, then the components' opaque areas
//
// loan   {block, ticket, where, lease}, the only truth about who holds a block outside of shared
//        structures. block 0 = empty, whatever else it says.
//   ticket  number : 60 | LoanKind : 4      the step that the holder was in; 0 = none
//   where   offset of the queue / 16 : 32 | its generation : 32
//   lease   offset of the channel's queue / 16 : 32 | generation : 24 | attempts : 8;  0 = plain
//
// Invariants (audit cites the numbers)
//   P1  a FREE slot has pid 0, no call, empty logs, no lock, no intent, and only empty loans
//   P2  the log count is at most 31, every entry names an aligned word of 4 or 8 bytes inside
//   P3  lock is 0 or the offset of a word inside the segment
//   P4  the chunk chain ends, and has at most kChunksPerLane links
//   P5  an empty loan has ticket 0 or a ticket whose step a repair finds done
//
// Edges (release -> acquire)
//   P-a  Attach: pid          -> probe: pid      generation, start time and namespaces fit the pid
//   P-b  owner's lane words   -> repair          through the kernel: the life byte falls after them
//   P-c  repair: slot FREE    -> Attach: claim   the lane is empty for its next owner
#pragma once

#include <cstdint>
#include <type_traits>

#include "thole/shm/word.h"

namespace thole::shm {

enum class SlotState : uint64_t { kFree = 0, kLive = 1, kRepair = 2 };

/// The slot word, taken apart. A value.
struct SlotWord {
  uint32_t generation;
  uint32_t pending;
  SlotState state;

  static constexpr SlotWord Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word >> 2 & 0xffff),
            static_cast<SlotState>(word & 3)};
  }
  constexpr uint64_t Pack() const {
    return static_cast<uint64_t>(generation) << 32 | static_cast<uint64_t>(pending) << 2 |
           static_cast<uint64_t>(state);
  }
};
static_assert(SlotWord::Unpack(SlotWord{7, 0x3f, SlotState::kRepair}.Pack()).pending == 0x3f);

inline constexpr uint64_t kWaitersBit = uint64_t{1} << 31;

/// Slot, lane and generation: who holds a lock. A value.
struct OwnerId {
  uint32_t generation;
  uint32_t lane;
  uint32_t slot;

  /// `word` must not be 0; the waiters bit is ignored.
  static constexpr OwnerId Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word >> 12 & 0xff),
            static_cast<uint32_t>(word & 0xfff) - 1};
  }
  constexpr uint64_t Pack() const {
    return static_cast<uint64_t>(generation) << 32 | static_cast<uint64_t>(lane) << 12 | (slot + 1);
  }
};
static_assert(12 + 8 + 11 + 1 + 32 == 64, "the owner id fills its word");
static_assert(OwnerId::Unpack(OwnerId{9, 3, 4094}.Pack() | kWaitersBit).slot == 4094);

inline constexpr uint32_t kSlotNameBytes = 40;

/// Two cache lines: the first is what a prober reads, the second changes only at attach.
struct alignas(kCacheLine) SlotData {
  Word64 word;
  Word32 pid;  // 0 = unknown, that is, alive; stored last at attach, first cleared at detach
  Word32 uid;
  Word64 start_time;  // of the process, in clock ticks since boot
  Word64 pid_namespace;
  Word64 time_namespace;
  Word64 attached_ns;  // CLOCK_REALTIME
  uint64_t reserved[2];
  Word64 name[kSlotNameBytes / 8];  // zero-padded
  uint64_t reserved_too[3];
};
static_assert(sizeof(SlotData) == 128 && offsetof(SlotData, name) == 64);
static_assert(std::has_unique_object_representations_v<SlotData>);

/// The step that a loan's holder was in. The values are bytes of the layout.
enum class LoanKind : uint64_t { kNone = 0, kSend = 1, kReceive = 2, kDrop = 3, kRecord = 4 };
constexpr uint64_t PackTicket(LoanKind kind, uint64_t number) {
  return number << 4 | static_cast<uint64_t>(kind);
}
constexpr LoanKind TicketKind(uint64_t ticket) { return static_cast<LoanKind>(ticket & 15); }
constexpr uint64_t TicketNumber(uint64_t ticket) { return ticket >> 4; }

/// A place in the segment that may be gone and come back as another: offset / 16 and generation.
constexpr uint64_t PackWhere(uint64_t offset, uint32_t generation) {
  return (offset >> 4) << 32 | generation;
}
constexpr uint64_t WhereOffset(uint64_t where) { return (where >> 32) << 4; }
constexpr uint32_t WhereGeneration(uint64_t where) { return static_cast<uint32_t>(where); }

/// A lease: the channel to which the block goes back, and how often it was handed out before.
constexpr uint64_t PackLease(uint64_t offset, uint32_t generation, uint32_t attempts) {
  return (offset >> 4) << 32 | static_cast<uint64_t>(generation & 0xffffff) << 8 |
         (attempts & 0xff);
}
constexpr uint64_t LeaseOffset(uint64_t lease) { return (lease >> 32) << 4; }
constexpr uint32_t LeaseGeneration(uint64_t lease) {
  return static_cast<uint32_t>(lease >> 8 & 0xffffff);
}
constexpr uint32_t LeaseAttempts(uint64_t lease) { return static_cast<uint32_t>(lease & 0xff); }

struct LoanData {
  Word64 block;
  Word64 ticket;
  Word64 where;
  Word64 lease;
};
static_assert(sizeof(LoanData) == 32 && std::has_unique_object_representations_v<LoanData>);

inline constexpr uint32_t kLogEntriesMax = 31;
struct LogEntryData {
  Word64 where;  // offset << 4 | width in bytes (4 or 8)
  Word64 old;    // the value before
};
static_assert(sizeof(LogEntryData) == 16 && std::has_unique_object_representations_v<LogEntryData>);
struct alignas(kCacheLine) UndoLogData {
  Word64 count;  // 0 = committed
  uint64_t reserved;
  LogEntryData entries[kLogEntriesMax];
};
static_assert(sizeof(UndoLogData) == 512 && std::has_unique_object_representations_v<UndoLogData>);

inline constexpr uint32_t kIntentArguments = 15;
/// A step that spans several structures (Transfer). The word is its COMMIT; `queue` defines it.
struct alignas(kCacheLine) IntentData {
  Word64 word;
  Word64 arguments[kIntentArguments];
};
static_assert(sizeof(IntentData) == 128 && std::has_unique_object_representations_v<IntentData>);

inline constexpr uint32_t kInlineLoans = 64;
struct alignas(kCacheLine) LaneData {
  Word64 in_call;       // 0 = outside of the library, else which call (a CallId)
  Word64 lock;          // offset of the owner lock it holds or is about to take
  Word64 block_intent;  // alloc's fast path: the block that it moves, and for which holder
  Word64 first_chunk;   // offset of the first loan chunk
  LoanData reserved;    // holds the next loan chunk between its allocation and its link
  IntentData intent;
  UndoLogData log;
  LoanData loans[kInlineLoans];
};
static_assert(offsetof(LaneData, intent) == 64 && offsetof(LaneData, log) == 192);
static_assert(offsetof(LaneData, loans) == 704 && sizeof(LaneData) == 2752);
static_assert(std::has_unique_object_representations_v<LaneData>);

inline constexpr uint32_t kChunkLoans = 256;
inline constexpr uint32_t kChunksPerLane = 64;
/// Further loans of a lane, in a block of the heap; linked in by one store once it is zeroed.
struct LoanChunkData {
  Word64 next;  // offset of the next chunk
  uint64_t reserved[3];
  LoanData loans[kChunkLoans];
};
static_assert(sizeof(LoanChunkData) == 32 + kChunkLoans * sizeof(LoanData));
static_assert(std::has_unique_object_representations_v<LoanChunkData>);

}  // namespace thole::shm
