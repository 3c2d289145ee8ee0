#include "thole/shm/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "cut_guard.h"
#include "fork_guard.h"
#include "segment_files.h"
#include "thole/shm/participant_data.h"

namespace thole::shm {
namespace {

constexpr uint64_t kPage = 4096;

absl::StatusOr<void*> MapFile(const Place& place, int file, uint64_t size_bytes, bool read_only) {
  const int protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* base = mmap(nullptr, size_bytes, protection, MAP_SHARED, file, 0);
  if (base == MAP_FAILED) return SystemError("map " + place.Describe(), errno);
  // A forked child must not act as its parent: it gets no mapping, and handles answer an error.
  madvise(base, size_bytes, MADV_DONTFORK);
  return base;
}

absl::Status CheckMemory(const Place& place) {
  const auto address = std::bit_cast<uintptr_t>(place.base());
  if (address != 0 && address % kCacheLine == 0) return absl::OkStatus();
  return Error(
      absl::StatusCode::kInvalidArgument,
      place.Describe() + " is null or does not begin at a multiple of 64: map whole pages");
}

bool RootFits(const RootData& root, uint64_t size_bytes) {
  return root.offset != 0 && root.offset % kCacheLine == 0 && root.offset < size_bytes &&
         root.size_bytes <= size_bytes - root.offset &&
         std::memchr(root.name, 0, kRootNameBytes) != nullptr;
}

}  // namespace

absl::StatusOr<Segment> Segment::Create(const Place& place, const SegmentOptions& wanted,
                                        std::span<const RootRequest> roots) {
  Segment segment;
  SegmentOptions options = wanted;
  if (auto checked = CheckCounts(options); !checked.ok()) return checked;
  if (place.kind() == Place::Kind::kMemory) {
    if (auto checked = CheckMemory(place); !checked.ok()) return checked;
    std::memset(place.base(), 0, place.size_bytes());  // payload: nobody else has it yet
    if (auto made = Format(place.base(), place.size_bytes(), options, roots); !made.ok())
      return made;
    auto adopted = segment.Adopt(place, place.base(), place.size_bytes(), -1, false, false);
    if (!adopted.ok()) return adopted;
    return segment;
  }
  if (auto checked = CheckOptions(options); !checked.ok()) return checked;
  options.size_bytes = RoundUp(options.size_bytes, kPage);
  const bool unnamed = place.kind() == Place::Kind::kDescriptor;
  std::string path;
  if (!unnamed) {
    auto found = PathOf(place);
    if (!found.ok()) return found.status();
    path = *std::move(found);
    if (access(path.c_str(), F_OK) == 0) return SystemError("create " + place.Describe(), EEXIST);
  }
  auto file = unnamed ? MakeMemoryFile(options.size_bytes)
                      : MakeUnnamedFile(place, path, options.size_bytes, options.mode);
  if (!file.ok()) return file.status();
  auto base = MapFile(place, file->get(), options.size_bytes, false);
  if (!base.ok()) return base.status();
  segment.view_ = SegmentView(*base, options.size_bytes);
  segment.mapped_bytes_ = options.size_bytes;
  segment.owns_mapping_ = true;  // from here on its destructor unmaps
  if (auto made = Format(*base, options.size_bytes, options, roots); !made.ok()) return made;
  if (!unnamed) {
    if (auto named = GiveName(place, *file, path); !named.ok()) return named;
  }
  auto adopted = segment.Adopt(place, *base, options.size_bytes, file->Take(), false, true);
  if (!adopted.ok()) return adopted;
  return segment;
}

absl::StatusOr<Segment> Segment::Open(const Place& place, const OpenOptions& options) {
  Segment segment;
  if (options.survive_cuts && !options.read_only) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "survive_cuts is for looking: open " + place.Describe() + " read-only with it");
  }
  if (place.kind() == Place::Kind::kMemory) {
    if (auto checked = CheckMemory(place); !checked.ok()) return checked;
    auto adopted =
        segment.Adopt(place, place.base(), place.size_bytes(), -1, options.read_only, false);
    if (!adopted.ok()) return adopted;
    return segment;
  }
  uint64_t size_bytes = 0;
  auto file = OpenChecked(place, options.read_only, size_bytes);
  if (!file.ok()) return file.status();
  auto base = MapFile(place, file->get(), size_bytes, options.read_only);
  if (!base.ok()) return base.status();
  segment.view_ = SegmentView(*base, size_bytes);
  segment.mapped_bytes_ = size_bytes;
  segment.owns_mapping_ = true;
  if (options.survive_cuts) {
    auto guard = CutGuard::Of(*base, size_bytes);
    if (!guard.ok()) return guard.status();
    segment.cut_guard_ = *std::move(guard);
  }
  auto adopted = segment.Adopt(place, *base, size_bytes, file->Take(), options.read_only, true);
  if (!adopted.ok()) return adopted;
  return segment;
}

absl::StatusOr<Segment> Segment::OpenOrCreate(const Place& place, const SegmentOptions& options,
                                              std::span<const RootRequest> roots) {
  // Each turn ends unless another process removed or created the name in between.
  for (int turn = 0; turn < 100; ++turn) {
    auto opened = Open(place, {});
    if (opened.ok() || !absl::IsNotFound(opened.status())) return opened;
    auto made = Create(place, options, roots);
    if (made.ok() || !absl::IsAlreadyExists(made.status())) return made;
  }
  return Error(absl::StatusCode::kUnavailable,
               place.Describe() + " is created and removed by others all the time");
}

absl::Status Segment::Remove(const Place& place) {
  if (place.kind() != Place::Kind::kNamed && place.kind() != Place::Kind::kFile) {
    return Error(absl::StatusCode::kInvalidArgument, place.Describe() + " has no name to remove");
  }
  uint64_t size_bytes = 0;
  auto file = OpenChecked(place, true, size_bytes);
  // Damaged and foreign-version segments are ours all the same; what is no segment is not.
  if (!file.ok() && !absl::IsDataLoss(file.status()) && !absl::IsUnimplemented(file.status())) {
    return file.status();
  }
  auto path = PathOf(place);
  if (!path.ok()) return path.status();
  if (unlink(path->c_str()) != 0) return SystemError("remove " + place.Describe(), errno);
  return absl::OkStatus();
}

std::vector<std::string> Segment::List() {
  std::vector<std::string> names;
  DIR* directory = opendir(kNamedDirectory);
  if (directory == nullptr) return names;
  const size_t prefix = std::strlen(kNamedPrefix);
  while (const dirent* entry = readdir(directory)) {
    const std::string_view file(entry->d_name);
    if (file.size() > prefix && file.substr(0, prefix) == kNamedPrefix) {
      names.emplace_back(file.substr(prefix));
    }
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Segment::Adopt(const Place& place, void* base, uint64_t mapped_bytes, int file,
                            bool read_only, bool owns_mapping) {
  place_ = place;
  view_ = SegmentView(base, mapped_bytes);
  mapped_bytes_ = mapped_bytes;
  file_ = file;
  read_only_ = read_only;
  owns_mapping_ = owns_mapping;
  if (mapped_bytes < sizeof(SegmentHeaderData)) {
    return Error(absl::StatusCode::kInvalidArgument,
                 place.Describe() + " is too short for a segment", ErrorKind::kNotOurs);
  }
  // TRUST: a private copy is checked and used; the shared header's static part is not read again.
  header_ = static_cast<SegmentHeaderData*>(base);
  SegmentHeaderData copy{};
  CopyFacts(base, copy);
  if (auto checked = CheckHeader(place.Describe(), copy, mapped_bytes); !checked.ok())
    return checked;
  view_ = SegmentView(base, copy.size_bytes);  // the smaller of header and file
  participants_max_ = copy.participants_max;
  lanes_per_participant_ = copy.lanes_per_participant;
  slots_offset_ = copy.slots_offset;
  lanes_offset_ = copy.lanes_offset;
  lane_bytes_ = copy.lane_bytes;
  std::copy(std::begin(copy.lane_areas), std::end(copy.lane_areas), lane_areas_);
  std::copy(std::begin(copy.roots), std::end(copy.roots), roots_);
  for (const RootData& root : roots_) {
    if (root.offset != 0 && !RootFits(root, copy.size_bytes)) {
      return Error(absl::StatusCode::kDataLoss,
                   place.Describe() +
                       " is damaged: a root lies outside; restore it from a copy or remove it",
                   ErrorKind::kDamaged);
    }
  }
  return absl::OkStatus();
}

Segment::Segment() : guard_(std::make_unique<ForkGuard>()) {}

Segment::Segment(Segment&& other) noexcept { *this = std::move(other); }

Segment& Segment::operator=(Segment&& other) noexcept {
  if (this == &other) return *this;
  Release();
  place_ = std::move(other.place_);
  view_ = other.view_;
  header_ = other.header_;
  participants_max_ = other.participants_max_;
  lanes_per_participant_ = other.lanes_per_participant_;
  slots_offset_ = other.slots_offset_;
  lanes_offset_ = other.lanes_offset_;
  lane_bytes_ = other.lane_bytes_;
  std::copy(std::begin(other.lane_areas_), std::end(other.lane_areas_), lane_areas_);
  std::copy(std::begin(other.roots_), std::end(other.roots_), roots_);
  mapped_bytes_ = other.mapped_bytes_;
  read_only_ = other.read_only_;
  guard_ = std::move(other.guard_);
  cut_guard_ = std::move(other.cut_guard_);
  file_ = std::exchange(other.file_, -1);
  owns_mapping_ = std::exchange(other.owns_mapping_, false);
  return *this;
}

Segment::~Segment() { Release(); }

bool Segment::forked() const { return guard_ && guard_->valid() && *guard_->canary() == 0; }

bool Segment::was_cut() const { return cut_guard_ && cut_guard_->was_cut(); }

void Segment::Release() noexcept {
  cut_guard_.reset();
  // In a forked child addresses and descriptors may belong to something else by now.
  if (!forked()) {
    if (owns_mapping_) munmap(view_.base(), mapped_bytes_);
    if (file_ >= 0) close(file_);
  }
  owns_mapping_ = false;
  file_ = -1;
}

std::optional<RootData> Segment::Root(ComponentId component, uint16_t kind) const {
  for (const RootData& root : roots_) {
    if (root.offset != 0 && root.component == static_cast<uint16_t>(component) &&
        root.kind == kind) {
      return root;
    }
  }
  return std::nullopt;
}

std::vector<RootData> Segment::Roots() const {
  std::vector<RootData> used;
  for (const RootData& root : roots_) {
    if (root.offset != 0) used.push_back(root);
  }
  return used;
}

uint32_t Segment::RepairStepsWanted() const {
  uint32_t steps = StepsOf(ComponentId::kShm);
  for (const RootData& root : roots_) {
    if (root.offset != 0) steps |= StepsOf(static_cast<ComponentId>(root.component));
  }
  return steps;
}

SlotData* Segment::Slot(uint32_t slot) const {
  if (slot >= participants_max_) return nullptr;
  return view_.At<SlotData>(slots_offset_ + uint64_t{slot} * sizeof(SlotData));
}

LaneData* Segment::LaneAt(uint32_t slot, uint32_t lane) const {
  if (slot >= participants_max_ || lane >= lanes_per_participant_) return nullptr;
  const uint64_t index = uint64_t{slot} * lanes_per_participant_ + lane;
  return view_.At<LaneData>(lanes_offset_ + index * lane_bytes_);
}

void* Segment::LaneArea(LaneData* lane, ComponentId component) const {
  const LaneAreaData area = lane_areas_[static_cast<uint16_t>(component)];
  if (area.offset == 0 || area.offset > lane_bytes_ ||
      area.size_bytes > lane_bytes_ - area.offset) {
    return nullptr;
  }
  return view_.Bytes(view_.OffsetOf(lane) + area.offset, area.size_bytes);
}

BootId ReadBootId() {
  BootId id;
  const int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (file < 0) return id;
  char text[64] = {};
  const ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  int digits = 0;
  for (ssize_t i = 0; i < bytes && digits < 32; ++i) {
    const char c = text[i];
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0) continue;
    id.words[digits / 16] = id.words[digits / 16] << 4 | static_cast<uint64_t>(value);
    ++digits;
  }
  return id;
}

}  // namespace thole::shm
