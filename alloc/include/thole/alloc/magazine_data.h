// The bytes of the magazines: blocks that one lane keeps for its next requests.
//
// Whoever has the lane takes blocks out of its magazines and puts them back without the heap's
// lock and without a shared cache line. A magazine is a chain of CACHED blocks, the one that was
// put in last first.
//
//   area of alloc in every lane
//     line 0   cached (CountPair) | asked (32) | spare
//     then     one head a magazine: blocks (32) : unit of the first (32); 0 = empty
//
//   CACHED block:  header | link: next unit (32), upper half 0 | ...
//
//   magazines   number            blocks in it
//     plain     0 .. 128          of one class of sizes (32 * row + column), up to 256 units
//     line      129 .. 192        of exactly 4, 8, .. 256 units whose payload begins, and whose
//                                 header ends the block before, at a cache line; only such as were
//                                 asked for with that alignment
//
//   block intent of the lane (participant_data.h): what the lane is about to move
//     63                    32 31               0
//     +-----------------------+-----------------+
//     | holder: offset / 16   | unit            |   0 = nothing is being moved
//     +-----------------------+-----------------+
//
// Invariants (audit cites the numbers)
//   A9   every CACHED block of the chain stands in exactly one magazine, that of its size and
//        alignment, and names the slot of that lane; nothing else stands there; heads and `cached`
//        agree with the chains (of a lane outside of a call)
//   A10  the magazines of a FREE slot are empty
//
// Only the lane's thread and, once it is dead, the holder of the repair right write here; a reader
// may see one moment's mixture. `asked` is the last request to flush that the lane has heard.
#pragma once

#include <bit>
#include <cstdint>

#include "thole/alloc/heap_data.h"

namespace thole::alloc {

inline constexpr uint32_t kMagazineUnitsMax = 256;  // 4 KiB
inline constexpr uint32_t kLineUnits = shm::kCacheLine / kUnitBytes;
inline constexpr uint32_t kPlainMagazines = 129;
inline constexpr uint32_t kLineMagazines = kMagazineUnitsMax / kLineUnits;
inline constexpr uint32_t kMagazines = kPlainMagazines + kLineMagazines;

/// log2 of the alignment of a header, less that of a unit: a cache line.
inline constexpr uint32_t kLineAlign = std::countr_zero(kLineUnits);

constexpr uint32_t PlainMagazine(uint32_t units) {
  if (units < 2 * kColumns) return units;  // the first two rows, where each size is a class
  const SizeClass list = ClassOf(units);
  return list.row * kColumns + list.column;
}
constexpr uint32_t LineMagazine(uint32_t units) { return kPlainMagazines + units / kLineUnits - 1; }
static_assert(PlainMagazine(kMagazineUnitsMax) == kPlainMagazines - 1);
static_assert(LineMagazine(kMagazineUnitsMax) == kMagazines - 1);

/// Whether a block of such a header stands on cache lines and was asked for so.
constexpr bool IsLineBlock(uint32_t unit, const HeaderWord& word) {
  return word.align >= kLineAlign && (unit + 1) % kLineUnits == 0 && word.size % kLineUnits == 0;
}
/// The magazine for a block with this header; kMagazines = none.
constexpr uint32_t MagazineOf(uint32_t unit, uint64_t bits) {
  const HeaderWord word = HeaderWord::Unpack(bits);
  if (word.size > kMagazineUnitsMax) return kMagazines;
  return IsLineBlock(unit, word) ? LineMagazine(word.size) : PlainMagazine(word.size);
}

/// A magazine's head, taken apart. A value.
struct MagazineHead {
  uint32_t first;
  uint32_t blocks;

  static constexpr MagazineHead Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  constexpr uint64_t Pack() const { return uint64_t{blocks} << 32 | first; }
};

/// The block intent, taken apart. A value.
struct BlockIntent {
  uint32_t unit;
  uint32_t holder;  // offset / 16

  static constexpr uint64_t kHolderStep = 16;
  static constexpr BlockIntent Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  constexpr uint64_t Pack() const { return uint64_t{holder} << 32 | unit; }
};

struct MagazinesData {
  alignas(shm::kCacheLine) shm::Word64 cached;
  shm::Word32 asked;
  uint32_t reserved[13];
  alignas(shm::kCacheLine) shm::Word64 heads[kMagazines];
  uint64_t reserved_too[7];
};
static_assert(offsetof(MagazinesData, asked) == 8 && offsetof(MagazinesData, heads) == 64);
static_assert(sizeof(MagazinesData) == 1664);
static_assert(std::has_unique_object_representations_v<MagazinesData>);

}  // namespace thole::alloc
