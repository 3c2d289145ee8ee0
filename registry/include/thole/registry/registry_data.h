// The bytes of the registry: a table of entries, and an index over their names.
//
//   root +----------------+------------------------------+---------------------------------------+
//        | RegistryData   | buckets (2 x entries, 2^n)   | entries: EntryData, then holder words |
//        +----------------+------------------------------+---------------------------------------+
//
// An entry gives a block of the heap a name. It is the one holder of that block; who uses the block
// is a set, one bit per participant, so that taking the dead out can be repeated.
//
// state, seen                             link (bucket, next)
//  63            32 31       2 1   0       63            32 31         0
//  +---------------+----------+-----+      +---------------+------------+
//  | generation(32)| 0   (30) |state|      | generation(32)| index + 1  |   0 = end of the chain
//  +---------------+----------+-----+      +---------------+------------+
//
// state: FREE     -> LIVE     Publish: the block comes from the caller's loan
//        LIVE     -> REMOVED  Remove, while somebody holds it: the name is gone, the block stays
//                 -> DYING    the same for a queue that nobody holds
//                 -> FREE     the same for a buffer that nobody holds; or the last holder of an
//                             ephemeral one goes: the block goes into the loan of who does it
//        REMOVED  -> FREE     the last holder of a buffer goes: as above
//                 -> DYING    the last holder of a queue goes
//        DYING    -> FREE     comm has drained the queue: the block goes into its loan
// The generation goes up with every move to FREE, so that {index, generation} names one bearer.
//
// Who may make a move: the holder of the owner lock, in the name of its lane (a repairer: in the
// name of the dead), in one transaction of that lane's undo log. `state` and the holder words are
// the truth. Lock-free readers believe `seen` and the links instead, which follow each COMMIT under
// the same lock ("the entry is settled"): they are not logged and never go back, so that no reader
// sees what a death may still undo. `unsettled` names the entry whose move is under way; whoever
// takes the lock next settles it first.
//
// The fields from `hash` on are written only while the entry is FREE, both in `state` and `seen`,
// and before the COMMIT that makes it LIVE: bytes of a FREE entry mean nothing, they need no log.
//
// The index is a hash table with chains. A link names entry and generation: a reader that follows
// one to an entry of another generation starts again. An entry enters at the head of its chain by
// one store and leaves by one store, so a reader always walks a whole chain, and a name is found
// after 1.25 steps on average in a full table (open addressing would need moves or tombstones,
// which a stopped writer leaves half done).
//
// Invariants (audit cites the numbers)
//   R1  layout, entries_max, buckets, holder_words, entry_bytes fit each other and the root
//   R2  the lock word is 0 or names a slot and a lane that can be; unsettled is 0 or names an entry
//   R3  (settled) seen = state; unused bits are 0
//   R4  an entry that is not FREE has a valid, zero-padded name, its hash, a known kind and flags
//   R5  no two LIVE entries have the same name
//   R6  (settled) the LIVE entries and no others are linked, each once, in the bucket of its hash,
//       with its generation; every chain ends
//   R7  an entry that is not FREE names a block inside the segment, behind the registry's tables
//       or before them, of at least size_bytes
//   R8  holder bits stand only for participants that are LIVE or REPAIR; a FREE entry has none
//   R9  only queues are DYING; a REMOVED queue and a LIVE ephemeral entry have a holder
//   R10 orphans counts the REMOVED buffers without a holder
//
// Edges (release -> acquire)
//   N1  Settle: seen LIVE        ->  Find: seen       the entry's fields are visible
//   N2  Settle: bucket, next     ->  Find: the same   the next link of the entry is visible
//   N3  Publish: a field         ->  Find: the field  who reads a new field also reads that `seen`
//                                                     is no longer what it was
//   N4  Settle: changes          ->  List: changes    who reads a new `seen` reads a new count
//   L1, W1                       owner_lock.h, wait_list.h
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "thole/shm/owner_lock.h"
#include "thole/shm/wait_list.h"
#include "thole/shm/word.h"

namespace thole::registry {

/// Root kind of ComponentId::kRegistry.
inline constexpr uint16_t kRegistryRoot = 1;
/// Changes whenever a struct of this file changes its bytes.
inline constexpr uint64_t kRegistryLayout = 0x7468'6f6c'7265'0001;
inline constexpr uint32_t kEntriesMaxLimit = 65'536;
inline constexpr uint32_t kNameBytesMax = 63;
inline constexpr uint32_t kNameWords = 8;

enum class EntryState : uint32_t { kFree = 0, kLive = 1, kRemoved = 2, kDying = 3 };

/// The words `state` and `seen`, taken apart. A value.
struct StateWord {
  uint32_t generation;
  EntryState state;

  static constexpr StateWord Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<EntryState>(word & 3)};
  }
  constexpr uint64_t Pack() const {
    return uint64_t{generation} << 32 | static_cast<uint64_t>(state);
  }
};
static_assert(32 + 30 + 2 == 64, "generation, unused bits and state fill the word");

/// A bucket or a `next`, taken apart. A value.
struct LinkWord {
  uint32_t generation;
  uint32_t index_plus_one;

  static constexpr LinkWord Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
  }
  constexpr uint64_t Pack() const { return uint64_t{generation} << 32 | index_plus_one; }
};
static_assert(32 + 32 == 64 && LinkWord::Unpack(LinkWord{7, 9}.Pack()).generation == 7);

/// Flag: the entry goes with its last holder (otherwise only by Remove).
inline constexpr uint32_t kEphemeralFlag = 1;

using NameWords = std::array<uint64_t, kNameWords>;
/// A valid name as it stands in an entry: zero-padded, little-endian.
constexpr NameWords PackName(std::string_view name) {
  NameWords words{};
  for (size_t i = 0; i < name.size() && i < kNameBytesMax; ++i) {
    words[i / 8] |= uint64_t{static_cast<unsigned char>(name[i])} << (i % 8 * 8);
  }
  return words;
}
/// All eight words take part, so every name costs the same.
constexpr uint64_t HashName(const NameWords& words) {
  uint64_t hash = 0x9e37'79b9'7f4a'7c15;
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0xd6e8'feb8'6659'fd93;
    hash ^= hash >> 32;
  }
  return hash;
}

/// One entry; `holder_words` words with a bit per participant follow it.
struct EntryData {
  shm::Word64 state;  // the truth; logged
  shm::Word64 seen;   // what readers believe; follows `state`
  shm::Word64 next;   // link
  shm::Word64 hash;
  shm::Word64 name[kNameWords];
  shm::Word64 offset;  // of the block
  shm::Word64 size_bytes;
  shm::Word64 type_id;
  shm::Word64 creator;         // generation : 32 | slot : 32
  shm::Word64 created_ns;      // CLOCK_REALTIME
  shm::Word64 kind_and_flags;  // PlaceKind : 32 | flags : 32
};
static_assert(sizeof(EntryData) == 144 && offsetof(EntryData, name) == 32);
static_assert(offsetof(EntryData, offset) == 96);
static_assert(std::has_unique_object_representations_v<EntryData>);

/// Bytes from one entry to the next.
constexpr uint64_t EntryBytes(uint32_t holder_words) {
  return shm::RoundUp(sizeof(EntryData) + uint64_t{holder_words} * 8, shm::kCacheLine);
}
constexpr uint32_t HolderWords(uint32_t participants_max) { return (participants_max + 63) / 64; }
static_assert(EntryBytes(HolderWords(128)) < 256);

/// The head of the registry's root.
struct alignas(shm::kCacheLine) RegistryData {
  // Line 0: static facts, written before the segment gets its name.
  uint64_t layout;
  uint32_t entries_max;
  uint32_t buckets;  // a power of two
  uint32_t holder_words;
  uint32_t entry_bytes;
  uint64_t reserved[5];
  // Line 1: everything but the lock word itself is written under the lock.
  alignas(shm::kCacheLine) shm::OwnerLockData lock;
  shm::Word64 unsettled;  // index + 1 of the entry whose readers' words do not follow yet
  shm::Word64 orphans;    // REMOVED buffers without a holder; logged
  shm::Word64 changes;    // bumped before every change of a `seen`; only grows
  shm::Word64 free_hint;  // where to look for a FREE entry first
  uint64_t reserved_too[3];
  // Line 2: written by those who wait for a name, and by who publishes one.
  alignas(shm::kCacheLine) shm::WaitListData waiters;
  uint64_t reserved_again[7];
};
static_assert(sizeof(RegistryData) == 192 && offsetof(RegistryData, lock) == 64);
static_assert(offsetof(RegistryData, waiters) == 128);
static_assert(std::has_unique_object_representations_v<RegistryData>);

}  // namespace thole::registry
