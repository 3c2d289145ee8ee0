// The bytes of the heap: its control words, and the header in front of every block.
//
// The heap is one chain of blocks that tiles the blocks root: each block begins with a header, the
// next header follows where its size ends, and a sentinel ends the chain. Sizes and places are
// counted in units of 16 bytes from the segment's base, so that 32 bits reach 64 GiB.
//
//      header (16)                                       payload (16-aligned)
//     +---------------------+----------+----------+--------------------------------------+
//     | word (64)           | prev(32) | spare    | FREE: link (64)   USED: the user's   |
//     +---------------------+----------+----------+--------------------------------------+
//     ^ unit u                                    ^ offset (u + 1) * 16: what a loan names
//
// word
//  63       53 52   51     48 47       36 35    32 31              0
//  +----------+-----+--------+-----------+--------+-----------------+
//  | check(11)|clean|align(4)| slot (12) | kind(4)| size, units (32)|
//  +----------+-----+--------+-----------+--------+-----------------+
//   size   of the whole block with its header; at least 2
//   kind   FREE      in the list of its class
//          CACHED    in a magazine of a lane of `slot` (magazine_data.h), or on its way there
//          USED      held by exactly one holder: a loan, a queue cell, a registry entry, ...
//          META      taken out of the lists by the heap itself (not in use yet)
//          SENTINEL  the end of the chain, size 1, never free
//          0         no block: what stood here was merged into its predecessor
//          The values differ from one another in two bits or more, so no single flipped bit makes
//          one kind another.
//   slot   who allocated or cached it, plus 1: statistics, never the truth about its holder
//   align  log2 of the alignment asked for, less 4; 15 = that or more
//   clean  the payload is known to be zero (not in use yet: always 0)
//   check  a hash of unit and size: bytes that merely look like a header are not believed
// prev  size of the physical predecessor, for used blocks too; 0 for the first. A word of its own:
//       the lock's holder writes it while the owner of the block writes the header's word.
// link  of a FREE block: next unit of its class : 32 | previous unit : 32; 0 = none
//
// Who may write what: everything under the heap's lock, every word of a block that is not being
// formatted through the undo log. The owner of a USED block writes its payload without the lock.
//
// Lists. A class is {row, column}: rows by powers of two, 32 columns each. Row 0 holds the sizes 2
// to 31 one by one, row r the sizes from 2^(r+4), column c those from (32 + c) * 2^(r-1) on.
//
// Invariants (audit cites the numbers)
//   A1  the chain tiles the blocks root: every header has a kind, a fitting check and a size of at
//       least 2 units, and the last one ends at the sentinel
//   A2  `prev` of every block and of the sentinel is the size of its physical predecessor
//   A3  two neighbours are never both FREE
//   A4  a FREE block stands in exactly the list of its class, once, and nothing else stands there;
//       the links agree both ways
//   A5  a bit of a second-level map is set exactly where a list has blocks, a bit of the
//       first-level map exactly where a row has one
//   A6  the counters agree with the chain (CACHED blocks count as used); peak is not below used
//   A7  the lock word is 0 or names a slot and a lane that can be
//   A8  (quiet segment) every USED block has exactly one holder, and no holder names anything else
//
// Edges (release -> acquire)
//   L1   heap lock released  ->  heap lock taken    (owner_lock.h) all that follows it
//   A-a  header word, logged ->  BlockSize: word    a size that was committed, or is about to be
//   A-b  asked, by who finds the heap full  ->  asked, by who has magazines: nothing but the wish
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thole/shm/owner_lock.h"
#include "thole/shm/word.h"

namespace thole::alloc {

/// Root kinds of ComponentId::kAlloc.
inline constexpr uint16_t kControlRoot = 1;  // one HeapData
inline constexpr uint16_t kBlocksRoot = 2;   // the chain of blocks

inline constexpr uint64_t kUnitBytes = 16;
inline constexpr uint32_t kBlockUnitsMin = 2;
inline constexpr uint32_t kRows = 28;
inline constexpr uint32_t kColumns = 32;
/// Changes whenever a struct of this file changes its bytes.
inline constexpr uint64_t kHeapLayout = 0x7468'6f6c'6161'0002;

enum class BlockKind : uint32_t {
  kNone = 0,
  kFree = 0b0011,
  kCached = 0b0101,
  kUsed = 0b0110,
  kMeta = 0b1001,
  kSentinel = 0b1010,
};

/// 11 bits from unit and size. Any single flipped bit of a size changes them.
constexpr uint32_t HeaderCheck(uint32_t unit, uint32_t size) {
  return (unit * 0x9e37'79b1u ^ size * 0x85eb'ca6bu) >> 21;
}

/// The header's word, taken apart. A value.
struct HeaderWord {
  uint32_t size;
  BlockKind kind;
  uint32_t slot;
  uint32_t align;
  uint32_t clean;
  uint32_t check;

  static constexpr HeaderWord Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word),
            static_cast<BlockKind>(word >> 32 & 0xf),
            static_cast<uint32_t>(word >> 36 & 0xfff),
            static_cast<uint32_t>(word >> 48 & 0xf),
            static_cast<uint32_t>(word >> 52 & 1),
            static_cast<uint32_t>(word >> 53)};
  }
  constexpr uint64_t Pack() const {
    return uint64_t{size} | static_cast<uint64_t>(kind) << 32 | uint64_t{slot} << 36 |
           uint64_t{align} << 48 | uint64_t{clean} << 52 | uint64_t{check} << 53;
  }
};
/// The word of the same block with another kind, in the name of `slot`.
constexpr uint64_t WithKind(uint64_t word, BlockKind kind, uint32_t slot) {
  constexpr uint64_t kKindAndSlot = uint64_t{0xffff} << 32;
  return (word & ~kKindAndSlot) | static_cast<uint64_t>(kind) << 32 | uint64_t{slot + 1} << 36;
}
static_assert(32 + 4 + 12 + 4 + 1 + 11 == 64, "the header's word is full");
static_assert(HeaderWord::Unpack(HeaderWord{9, BlockKind::kUsed, 4095, 8, 0, 2047}.Pack()).slot ==
              4095);

struct BlockHeaderData {
  shm::Word64 word;
  shm::Word32 prev;
  uint32_t spare;
};
static_assert(sizeof(BlockHeaderData) == 16 && offsetof(BlockHeaderData, prev) == 8);
static_assert(std::has_unique_object_representations_v<BlockHeaderData>);

/// A FREE block: its header and its place in the list of its class.
struct FreeBlockData {
  BlockHeaderData header;
  shm::Word64 link;
  uint64_t unused;
};
static_assert(sizeof(FreeBlockData) == kBlockUnitsMin * kUnitBytes);
static_assert(offsetof(FreeBlockData, link) == 16);
static_assert(std::has_unique_object_representations_v<FreeBlockData>);

/// A FREE block's link, taken apart. A value.
struct Link {
  uint32_t next;
  uint32_t prev;

  static constexpr Link Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  constexpr uint64_t Pack() const { return uint64_t{prev} << 32 | next; }
};

/// Two counts in one word, so that both change by one store and are read together. A value.
struct CountPair {
  uint32_t units;
  uint32_t blocks;

  static constexpr CountPair Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  constexpr uint64_t Pack() const { return uint64_t{blocks} << 32 | units; }
};

/// The control root.
struct HeapData {
  // Line 0: the lock alone; whoever waits for it disturbs nobody.
  alignas(shm::kCacheLine) shm::OwnerLockData lock;
  uint64_t reserved[7];
  // Line 1: read by everybody, written when the heap is full.
  alignas(shm::kCacheLine) shm::Word32 asked;  // counts requests to flush all magazines
  uint32_t reserved_for_requests[15];
  // Line 2: counters and the first-level map, written by every operation under the lock.
  alignas(shm::kCacheLine) uint64_t layout;  // kHeapLayout, never written again
  shm::Word64 used;                          // CountPair: units and blocks that are not FREE
  shm::Word64 peak_and_free;                 // CountPair: most units ever used; FREE blocks
  shm::Word32 first_level;                   // bit r: row r has a block
  uint32_t reserved_too[9];
  // Lines 3, 4: bit c of word r: list {r, c} has a block.
  alignas(shm::kCacheLine) shm::Word32 second_level[kRows];
  uint32_t reserved_again[4];
  // Two lines a row: first unit of each list; 0 = empty.
  alignas(shm::kCacheLine) shm::Word32 heads[kRows][kColumns];
};
static_assert(offsetof(HeapData, asked) == 64 && offsetof(HeapData, layout) == 128);
static_assert(offsetof(HeapData, second_level) == 192 && offsetof(HeapData, heads) == 320);
static_assert(sizeof(HeapData) == 320 + 4 * kRows * kColumns);
static_assert(std::has_unique_object_representations_v<HeapData>);

/// Which list a size belongs to.
struct SizeClass {
  uint32_t row;
  uint32_t column;
  friend constexpr bool operator==(const SizeClass&, const SizeClass&) = default;
};
constexpr SizeClass ClassOf(uint32_t units) {
  if (units < kColumns) return {0, units};
  const uint32_t log = 31 - static_cast<uint32_t>(std::countl_zero(units));
  return {log - 4, (units >> (log - 5)) ^ kColumns};
}
/// The smallest size from which on a class holds only sizes that are not smaller. Up to 2^32.
constexpr uint64_t RoundUpToClass(uint64_t units) {
  if (units < kColumns) return units;
  const uint32_t log = 63 - static_cast<uint32_t>(std::countl_zero(units));
  return shm::RoundUp(units, uint64_t{1} << (log - 5));
}
static_assert(ClassOf(uint32_t{1} << 31).row == kRows - 1, "a free block of 32 GiB has a row");
static_assert(ClassOf(UINT32_MAX) == SizeClass{kRows - 1, kColumns - 1});
static_assert(ClassOf(31) == SizeClass{0, 31} && ClassOf(32) == SizeClass{1, 0});
static_assert(RoundUpToClass(65) == 66 && RoundUpToClass(UINT32_MAX) == uint64_t{1} << 32);

}  // namespace thole::alloc
