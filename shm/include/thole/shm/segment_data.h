// The first page of a segment: what it is, who made it, where everything lies.
//
//   offset  0        64                128                        192          256 .. 2048
//           +--------+-----------------+--------------------------+------------+----------------+
//           | static | boot, state,    | frozen, counters         | lane areas | roots (32)     |
//           | facts  | epoch           | (written while in use)   |            |                |
//           +--------+-----------------+--------------------------+------------+----------------+
//
// The static facts and the roots are written before the segment gets its name and never again.
//
// state    CLEAN  -> DIRTY  by whoever attaches (the change count goes up with every attach)
//          DIRTY  -> CLEAN  by whoever detaches, or repairs without a seat, and then sees every
//                           slot FREE, by CAS on the whole word: an attach in between changed the
//                           count, and the CAS fails
//
// Invariants (audit cites the numbers)
//   S1  magic, format_version, layout_hash and static_check fit; size_bytes is at most the mapping
//   S2  slots and lanes lie inside the segment and do not overlap the header
//   S3  every root in use lies inside the segment, behind the lanes, and overlaps no other root
//   S4  state is CLEAN or DIRTY; CLEAN implies that every slot is FREE
//
// Edges (release -> acquire)
//   H1  Attach: state DIRTY  ->  Detach: state    the detacher's scan sees the attacher's slot LIVE
//   H2  repair: recovery_epoch -> readers         what the repair gave back is visible
#pragma once

#include <cstdint>
#include <type_traits>

#include "thole/shm/component_id.h"
#include "thole/shm/word.h"

namespace thole::shm {

inline constexpr uint64_t kSegmentMagic = 0x4745'5345'4c4f'4854;  // "THOLESEG"
inline constexpr uint32_t kFormatVersion = 1;
/// Changes whenever a stored struct of `shm` changes its bytes.
inline constexpr uint64_t kLayoutHash = 0x7468'6f6c'6500'0001;
inline constexpr uint32_t kRootsMax = 32;
inline constexpr uint32_t kRootNameBytes = 32;
inline constexpr uint32_t kParticipantsMax = 4095;  // 12 bits, one value for "nobody"
inline constexpr uint32_t kLanesMax = 64;

/// A region of the segment that one component owns from the format on. component 0 with offset 0 =
/// not in use.
struct RootData {
  uint16_t component;   // ComponentId
  uint16_t kind;        // the component's own numbering
  uint32_t generation;  // unique within the segment
  uint64_t offset;
  uint64_t size_bytes;
  char name[kRootNameBytes];  // zero-terminated, may be empty
};
static_assert(sizeof(RootData) == 56 && std::has_unique_object_representations_v<RootData>);

/// Where a component's opaque area lies inside every lane.
struct LaneAreaData {
  uint32_t offset;  // from the start of the lane; 0 = none
  uint32_t size_bytes;
};
static_assert(sizeof(LaneAreaData) == 8 && std::has_unique_object_representations_v<LaneAreaData>);

struct alignas(kCacheLine) SegmentHeaderData {
  // Line 0: static facts.
  uint64_t magic;
  uint32_t format_version;
  uint32_t header_bytes;
  uint64_t layout_hash;
  uint64_t uuid[2];
  uint64_t size_bytes;
  uint64_t created_ns;  // CLOCK_REALTIME
  uint32_t participants_max;
  uint32_t lanes_per_participant;
  // Line 1: identity of the boot, clean or dirty. Written by attach and detach.
  alignas(kCacheLine) Word64 boot_id[2];
  Word64 state;           // change count : 62 | SegmentState : 2
  Word64 recovery_epoch;  // completed repairs
  uint64_t static_check;  // CRC32C of line 0, the lane areas and the roots
  uint64_t slots_offset;
  uint64_t lanes_offset;
  uint64_t lane_bytes;
  // Line 2: words that live calls read or bump.
  alignas(kCacheLine) Word32 frozen;  // slot + 1 of who asks every lane to stay outside; 0 = nobody
  uint32_t reserved_word;
  Word64 generations;  // source of generations for queues and the like; only grows
  uint64_t reserved[6];
  LaneAreaData lane_areas[kComponents];
  RootData roots[kRootsMax];
};
enum class SegmentState : uint64_t { kClean = 1, kDirty = 2 };
static_assert(offsetof(SegmentHeaderData, boot_id) == 64);
static_assert(offsetof(SegmentHeaderData, frozen) == 128);
static_assert(offsetof(SegmentHeaderData, lane_areas) == 192);
static_assert(offsetof(SegmentHeaderData, roots) == 256);
static_assert(sizeof(SegmentHeaderData) == 2048);
static_assert(std::has_unique_object_representations_v<SegmentHeaderData>);

}  // namespace thole::shm
