// Making the bytes of a new segment: layout, header, roots.
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "segment_files.h"
#include "thole/shm/crc32c.h"
#include "thole/shm/name_source.h"
#include "thole/shm/segment.h"

namespace thole::shm {
namespace {

constexpr uint64_t kSmallSegment = uint64_t{16} << 20;
constexpr uint32_t kLaneAreaBytesMax = uint32_t{1} << 20;

uint64_t SlotsOffset() { return RoundUp(sizeof(SegmentHeaderData), kCacheLine); }

absl::Status TooSmall(uint64_t size_bytes, uint64_t needed) {
  return Error(absl::StatusCode::kInvalidArgument,
               "a segment of " + std::to_string(size_bytes) +
                   " bytes is too small: its tables need " + std::to_string(needed) +
                   "; ask for a larger one or for fewer participants");
}

// Places the lane areas and the roots; returns the bytes of a lane.
uint64_t LayOutLanes(SegmentHeaderData& header, std::span<const RootRequest> requests) {
  uint64_t lane_bytes = sizeof(LaneData);
  for (const RootRequest& request : requests) {
    if (request.lane_area_bytes == 0) continue;
    LaneAreaData& area = header.lane_areas[static_cast<uint16_t>(request.component)];
    area.offset = static_cast<uint32_t>(lane_bytes);
    area.size_bytes = request.lane_area_bytes;
    lane_bytes = RoundUp(lane_bytes + request.lane_area_bytes, kCacheLine);
  }
  return lane_bytes;
}

// What a component may not ask for; the sizes are checked as the roots are placed.
absl::Status CheckRequests(std::span<const RootRequest> requests) {
  const auto refuse = [](const std::string& what) {
    return Error(absl::StatusCode::kInvalidArgument, what);
  };
  if (requests.size() > kRootsMax) {
    return refuse(std::to_string(requests.size()) + " roots asked for: a segment has at most " +
                  std::to_string(kRootsMax));
  }
  for (const RootRequest& request : requests) {
    const std::string what = "root '" + request.name + "' ";
    if (static_cast<uint32_t>(request.component) >= kComponents) {
      return refuse(what + "is of component " +
                    std::to_string(static_cast<uint32_t>(request.component)) + ": use 0 to 7");
    }
    if (request.align != 0 && !std::has_single_bit(request.align)) {
      return refuse(what + "wants an alignment that is no power of two");
    }
    if (request.name.size() >= kRootNameBytes)
      return refuse(what + "has more than 31 bytes of name");
    if (request.lane_area_bytes > kLaneAreaBytesMax) {
      return refuse(what + "wants more than 1 MiB in every lane");
    }
    if (request.size_bytes == kRestOfSegment && &request != &requests.back()) {
      return refuse(what + "is not the last: only the last root may take the rest of the segment");
    }
  }
  return absl::OkStatus();
}

absl::Status LayOutRoots(SegmentHeaderData& header, std::span<const RootRequest> requests,
                         uint64_t at) {
  uint32_t index = 0;
  for (const RootRequest& request : requests) {
    RootData& root = header.roots[index];
    at = RoundUp(at, std::max<uint64_t>(request.align, kCacheLine));
    const bool rest = request.size_bytes == kRestOfSegment;
    const uint64_t needed = rest ? kCacheLine : request.size_bytes;
    if (at > header.size_bytes || needed > header.size_bytes - at) {
      return TooSmall(header.size_bytes, at > UINT64_MAX - needed ? UINT64_MAX : at + needed);
    }
    root.component = static_cast<uint16_t>(request.component);
    root.kind = request.kind;
    root.generation = index + 1;
    root.offset = at;
    root.size_bytes =
        rest ? (header.size_bytes - at) / kCacheLine * kCacheLine : request.size_bytes;
    request.name.copy(root.name, kRootNameBytes - 1);
    at += root.size_bytes;
    ++index;
  }
  return absl::OkStatus();
}

}  // namespace

SegmentOptions WithDefaults(SegmentOptions options, uint64_t size_bytes) {
  const bool small = size_bytes < kSmallSegment;
  if (options.participants_max == 0) {
    const uint64_t by_size = 8 * ((size_bytes + kSegmentBytesMin - 1) / kSegmentBytesMin);
    options.participants_max = small ? static_cast<uint32_t>(by_size) : 128;
  }
  if (options.lanes_per_participant == 0) options.lanes_per_participant = small ? 2 : 8;
  return options;
}

void CopyFacts(const void* base, SegmentHeaderData& copy) {
  auto* bytes = static_cast<std::byte*>(static_cast<void*>(&copy));
  const auto take = [&](size_t from, size_t to) {
    const auto* source = static_cast<const std::byte*>(base) + from;
    std::memcpy(bytes + from, source, to - from);  // payload: the facts
  };
  take(0, offsetof(SegmentHeaderData, boot_id));
  take(offsetof(SegmentHeaderData, static_check), offsetof(SegmentHeaderData, frozen));
  take(offsetof(SegmentHeaderData, lane_areas), sizeof copy);
}

uint64_t StaticCheck(const SegmentHeaderData& header) {
  uint32_t sum = Crc32c(&header, offsetof(SegmentHeaderData, boot_id));
  sum = Crc32c(&header.slots_offset, 3 * sizeof(uint64_t), sum);
  sum = Crc32c(header.lane_areas, sizeof header.lane_areas, sum);
  return Crc32c(header.roots, sizeof header.roots, sum);
}

absl::Status CheckCounts(const SegmentOptions& options) {
  if (options.participants_max > kParticipantsMax) {
    return Error(absl::StatusCode::kInvalidArgument,
                 std::to_string(options.participants_max) + " participants: use 1 to 4095");
  }
  if (options.lanes_per_participant > kLanesMax) {
    return Error(absl::StatusCode::kInvalidArgument,
                 std::to_string(options.lanes_per_participant) + " lanes: use 1 to 64");
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const SegmentOptions& options) {
  if (options.size_bytes < kSegmentBytesMin || options.size_bytes > kSegmentBytesMax) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "segment size " + std::to_string(options.size_bytes) +
                     " is out of range: use 1 MiB (1048576) to 64 GiB (68719476736)");
  }
  if ((options.mode & ~uint32_t{0777}) != 0 || (options.mode & 0600) != 0600) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "mode must be permission bits with read and write for the owner, like 0600");
  }
  return absl::OkStatus();
}

absl::Status Segment::Format(void* base, uint64_t size_bytes, const SegmentOptions& wanted,
                             std::span<const RootRequest> requests) {
  const SegmentOptions options = WithDefaults(wanted, size_bytes);
  if (size_bytes < sizeof(SegmentHeaderData))
    return TooSmall(size_bytes, sizeof(SegmentHeaderData));
  if (auto checked = CheckRequests(requests); !checked.ok()) return checked;
  auto* header = new (base) SegmentHeaderData{};
  header->format_version = kFormatVersion;
  header->header_bytes = sizeof(SegmentHeaderData);
  header->layout_hash = kLayoutHash;
  if (getrandom(header->uuid, sizeof header->uuid, 0) != sizeof header->uuid) {
    return Error(absl::StatusCode::kInternal, "the kernel gave no random bytes");
  }
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  header->created_ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
  header->size_bytes = size_bytes;
  header->participants_max = options.participants_max;
  header->lanes_per_participant = options.lanes_per_participant;
  header->slots_offset = SlotsOffset();
  header->lanes_offset =
      header->slots_offset + uint64_t{options.participants_max} * sizeof(SlotData);
  header->lane_bytes = LayOutLanes(*header, requests);
  const uint64_t lanes = uint64_t{options.participants_max} * options.lanes_per_participant;
  const uint64_t tables_end = header->lanes_offset + lanes * header->lane_bytes;
  if (tables_end > size_bytes) return TooSmall(size_bytes, tables_end);
  if (auto laid_out = LayOutRoots(*header, requests, tables_end); !laid_out.ok()) return laid_out;
  header->generations.store(kRootsMax + 1, std::memory_order_relaxed);  // nobody else sees it yet
  header->state.store(static_cast<uint64_t>(SegmentState::kClean),
                      std::memory_order_relaxed);  // nobody else sees it yet
  const SegmentView view(base, size_bytes);
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!requests[i].format) continue;
    if (auto done = requests[i].format(view, header->roots[i]); !done.ok()) return done;
  }
  header->magic = kSegmentMagic;
  header->static_check = StaticCheck(*header);
  return absl::OkStatus();
}

}  // namespace thole::shm
