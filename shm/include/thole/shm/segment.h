// Segment: a mapped piece of memory that outlives the processes which use it.
//
//   #include <thole/shm/segment.h>
//   absl::Status Example() {
//     using thole::shm::Place;
//     using thole::shm::Segment;
//     auto made = Segment::Create(Place::Named("demo"), {.size_bytes = 1 << 20}, {});
//     if (!made.ok()) return made.status();
//     auto opened = Segment::Open(Place::Named("demo"), {});  // any process
//     return Segment::Remove(Place::Named("demo"));           // the name goes; mappings stay
//   }
//
// A segment appears complete or not at all: it is formatted without a name and then linked. Opening
// checks everything before it maps: type of file, owner, mode, size, magic, version, layout. Only
// mapping: to take part, see attachment.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/component_id.h"
#include "thole/shm/participant_data.h"
#include "thole/shm/segment_data.h"
#include "thole/shm/segment_view.h"
#include "thole/shm/status.h"

namespace thole::shm {

/// Where a segment lives. A value.
class Place {
 public:
  /// /dev/shm, gone at reboot. A name is 1 to 63 bytes of UTF-8 without '/' and control characters,
  /// and neither "." nor "..".
  static Place Named(std::string_view name);
  /// A file of a local file system; persists.
  static Place File(std::string_view path);
  /// A memfd (created), or a descriptor that was inherited or received (opened); not closed by us.
  static Place Descriptor(int fd = -1);
  /// Memory that the caller maps and keeps mapped; threads of one process, or simulated processes.
  static Place Memory(void* base, uint64_t size_bytes);

  enum class Kind { kNamed, kFile, kDescriptor, kMemory };
  Kind kind() const { return kind_; }
  const std::string& text() const { return text_; }  // name or path
  int descriptor() const { return descriptor_; }
  void* base() const { return base_; }
  uint64_t size_bytes() const { return size_bytes_; }
  /// "segment 'demo'", "file '/x/y'": for messages.
  std::string Describe() const;

 private:
  Kind kind_ = Kind::kNamed;
  std::string text_;
  int descriptor_ = -1;
  void* base_ = nullptr;
  uint64_t size_bytes_ = 0;
};

/// Sizes of a new segment. 0 = a default that fits the size.
struct SegmentOptions {
  uint64_t size_bytes = uint64_t{64} << 20;  ///< 1 MiB .. 64 GiB, rounded up to pages
  uint32_t participants_max = 0;             ///< 1 .. 4095; default 128, below 16 MiB 8 a MiB
  uint32_t lanes_per_participant = 0;        ///< 1 .. 64; default 8, below 16 MiB 2
  uint32_t mode = 0600;                      ///< permission bits, also what chmod would take
};
/// The options with the defaults for a segment of `size_bytes` filled in.
SegmentOptions WithDefaults(SegmentOptions options, uint64_t size_bytes);
/// Memory places may be smaller, down to what header, participants and roots need.
inline constexpr uint64_t kSegmentBytesMin = uint64_t{1} << 20;
inline constexpr uint64_t kSegmentBytesMax = uint64_t{64} << 30;
inline constexpr uint64_t kRestOfSegment = 0;  ///< RootRequest::size_bytes, for the last root only

/// A region that a component wants in a new segment.
struct RootRequest {
  ComponentId component;
  uint16_t kind;
  uint64_t size_bytes;
  uint64_t align;
  std::string name;
  /// Bytes of opaque area in every lane (once per component).
  uint32_t lane_area_bytes = 0;
  /// Writes the region, which is all zero. Runs before anybody else can see the segment.
  std::function<absl::Status(SegmentView view, const RootData& root)> format;
};

struct OpenOptions {
  bool read_only = false;  ///< takes no seat, never writes; works on a dead or copied segment
  /// Of read-only looks: where somebody cuts the file meanwhile one reads zeros, and no SIGBUS ends
  /// the process. Installs a handler of that signal. See `was_cut`.
  bool survive_cuts = false;
};

class CutGuard;
class ForkGuard;

/// Move-only owner of one mapping. Thread-safe to read; nothing in it changes after creation. A
/// forked child inherits no mapping: the child opens the segment again.
class Segment {
 public:
  /// Makes a segment. AlreadyExists, InvalidArgument (name, sizes), ResourceExhausted (no space:
  /// nothing is left behind), PermissionDenied.
  static absl::StatusOr<Segment> Create(const Place& place, const SegmentOptions& options,
                                        std::span<const RootRequest> roots);
  /// Opens one. NotFound, PermissionDenied (owner, mode), InvalidArgument with kNotOurs (what is
  /// there is not a segment), Unimplemented with kOtherVersion, DataLoss with kDamaged; with
  /// `survive_cuts` also InvalidArgument (not read-only: what is written would go nowhere) and
  /// ResourceExhausted (more than 64 at once).
  static absl::StatusOr<Segment> Open(const Place& place, const OpenOptions& options);
  /// Opens, or creates if there is none; who loses a race of two creators opens the winner's.
  static absl::StatusOr<Segment> OpenOrCreate(const Place& place, const SegmentOptions& options,
                                              std::span<const RootRequest> roots);
  /// Takes the name away. Mappings stay valid. NotFound; refuses what is not a segment of ours.
  static absl::Status Remove(const Place& place);
  /// The names under /dev/shm that look like segments, sorted.
  static std::vector<std::string> List();

  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  SegmentView view() const { return view_; }
  SegmentHeaderData& header() const { return *header_; }
  bool read_only() const { return read_only_; }
  /// True in a child of fork: there is no mapping, and nothing that points into it may be used.
  bool forked() const;
  const Place& place() const { return place_; }
  /// Whether this process read where the file had been cut off (opened with `survive_cuts`): then
  /// what it found there says nothing.
  bool was_cut() const;
  /// The file behind the mapping, for `MakeKernelPlatform`; -1 for memory places.
  int file() const { return file_; }

  /// The first root of a component and kind, checked against the view.
  std::optional<RootData> Root(ComponentId component, uint16_t kind) const;
  /// All roots in use, checked.
  std::vector<RootData> Roots() const;
  /// Bits of RepairStep for every component that has a root.
  uint32_t RepairStepsWanted() const;
  /// Slots and lanes; nullptr when out of range.
  SlotData* Slot(uint32_t slot) const;
  LaneData* LaneAt(uint32_t slot, uint32_t lane) const;
  /// A component's area in a lane; nullptr when it has none.
  void* LaneArea(LaneData* lane, ComponentId component) const;
  uint32_t participants_max() const { return participants_max_; }
  uint32_t lanes_per_participant() const { return lanes_per_participant_; }

 private:
  Segment();
  absl::Status Adopt(const Place& place, void* base, uint64_t mapped_bytes, int file,
                     bool read_only, bool owns_mapping);
  static absl::Status Format(void* base, uint64_t size_bytes, const SegmentOptions& options,
                             std::span<const RootRequest> roots);
  void Release() noexcept;

  Place place_;
  SegmentView view_;
  SegmentHeaderData* header_ = nullptr;
  uint32_t participants_max_ = 0;  // checked copies: the header is only read once
  uint32_t lanes_per_participant_ = 0;
  uint64_t slots_offset_ = 0;
  uint64_t lanes_offset_ = 0;
  uint64_t lane_bytes_ = 0;
  LaneAreaData lane_areas_[kComponents] = {};
  RootData roots_[kRootsMax] = {};
  uint64_t mapped_bytes_ = 0;
  int file_ = -1;
  bool read_only_ = false;
  bool owns_mapping_ = false;
  std::unique_ptr<ForkGuard> guard_;  // in a forked child nothing is unmapped
  std::unique_ptr<CutGuard> cut_guard_;
};

/// Boot id of the running kernel as two words; zeros when it cannot be read.
struct BootId {
  uint64_t words[2] = {0, 0};
};
BootId ReadBootId();

}  // namespace thole::shm
