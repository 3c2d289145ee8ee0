// NameSource: how a component finds its shared structures by name. `registry` implements it; a
// segment whose structures were laid out at creation answers through its roots (RootNames).
//
//   #include <thole/shm/name_source.h>
//   bool Exists(thole::shm::NameSource& names) {
//     thole::shm::NamedPlace place;
//     return names.Find("jobs", place) == thole::shm::NameResult::kOk;
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "thole/shm/block_source.h"
#include "thole/shm/deadline.h"
#include "thole/shm/lane.h"
#include "thole/shm/segment.h"

namespace thole::shm {

/// What a name stands for. `generation` and `index` tell it from an earlier bearer of the name.
struct NamedPlace {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  uint64_t type_id = 0;
  uint32_t kind = 0;  // PlaceKind
  uint32_t index = 0;
  uint32_t generation = 0;
};
enum PlaceKind : uint32_t { kBufferPlace = 1, kQueuePlace = 2 };

enum class NameResult : uint8_t {
  kOk,
  kNotFound,
  kExists,       ///< the name stands for something already
  kInvalidName,  ///< empty, longer than 63 bytes, not UTF-8, or with '/' or control characters
  kWrongType,    ///< another kind, type id or size than the caller expects
  kFull,         ///< no entry left
  kBusy,         ///< the deadline passed while a live participant held the names' lock
  kCorrupt,
  kUnsupported,  ///< this source cannot be changed
};

class NameSource {
 public:
  virtual ~NameSource() = default;
  /// Finds without taking a reference.
  virtual NameResult Find(std::string_view name, NamedPlace& place) noexcept = 0;
  /// Gives the block in `loan` the name and leaves the loan empty, in one atomic step; the caller's
  /// participant holds a reference afterwards. `place` brings size, type and kind and takes the
  /// rest.
  virtual NameResult Publish(Lane& lane, LoanRef loan, std::string_view name, NamedPlace& place,
                             Deadline deadline) noexcept = 0;
  /// Takes a reference for the caller's participant (one bit, however often it is taken).
  virtual NameResult Hold(Lane& lane, const NamedPlace& place, Deadline deadline) noexcept = 0;
  /// Calls `visit` for every place of `kind`, also those that are being removed. Bounded.
  virtual void ForEach(uint32_t kind, const std::function<void(const NamedPlace&)>& visit) = 0;
};

/// The roots of a segment as names: those of one component, root kind = place kind. Read-only.
class RootNames final : public NameSource {
 public:
  RootNames(const Segment& segment, ComponentId component)
      : segment_(&segment), component_(component) {}
  NameResult Find(std::string_view name, NamedPlace& place) noexcept override;
  NameResult Publish(Lane&, LoanRef, std::string_view, NamedPlace&, Deadline) noexcept override {
    return NameResult::kUnsupported;
  }
  NameResult Hold(Lane&, const NamedPlace&, Deadline) noexcept override {
    return NameResult::kOk;  // a root is there as long as its segment
  }
  void ForEach(uint32_t kind, const std::function<void(const NamedPlace&)>& visit) override;

 private:
  const Segment* segment_;
  ComponentId component_;
};

/// Whether `name` may stand in a segment: 1 to 63 bytes of UTF-8 without '/' and control
/// characters, and neither "." nor "..".
bool IsValidName(std::string_view name) noexcept;
/// What is wrong with it, as a sentence; empty when nothing is.
std::string DescribeNameProblem(std::string_view what, std::string_view name);

}  // namespace thole::shm
