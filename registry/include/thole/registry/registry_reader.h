// RegistryReader: looks names up without a lock, without a seat, without writing a byte.
//
//   #include <thole/registry/registry_reader.h>
//   absl::StatusOr<size_t> CountNames(const thole::shm::Segment& segment) {  // may be read-only
//     auto reader = thole::registry::RegistryReader::Make(segment);
//     if (!reader.ok()) return reader.status();
//     return reader->List().size();
//   }
//
// Guarantees. Thread-safe; never waits, also while a writer is stopped or dead in the middle of a
// change: readers see only what was committed. Bounded on any bytes.
// Cost. Find looks at 1.25 entries on average in a full table, at `entries_max` in the worst case
// (every name in one chain), and starts again only when the entry it stands on is freed meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thole/registry/registry_data.h"
#include "thole/registry/registry_table.h"
#include "thole/shm/name_source.h"

namespace thole::registry {

/// What the registry knows about one name. A copy: it may be stale when you read it.
struct BufferInfo {
  std::string name;  ///< "(damaged)" when the bytes are no name
  uint64_t size_bytes = 0;
  uint64_t type_id = 0;
  uint32_t kind = 0;  ///< shm::PlaceKind
  EntryState state = EntryState::kFree;
  bool ephemeral = false;
  uint32_t holders = 0;  ///< participants that hold it now
  uint32_t creator_slot = 0;
  uint32_t creator_generation = 0;
  uint64_t created_ns = 0;  ///< CLOCK_REALTIME
  std::chrono::nanoseconds age{0};
  shm::NamedPlace place;  ///< where; `generation` tells it from later bearers of the name
};

class RegistryReader {
 public:
  static absl::StatusOr<RegistryReader> Make(const shm::Segment& segment);
  explicit RegistryReader(const RegistryTable& table) : table_(table) {}

  /// kOk, kNotFound, kInvalidName, kCorrupt; kBusy when others freed entries faster than it reads.
  /// `steps` counts the entries it looked at.
  shm::NameResult Find(std::string_view name, shm::NamedPlace& place,
                       uint32_t* steps = nullptr) const noexcept;
  /// The same for a valid name that is packed and hashed already.
  shm::NameResult FindPacked(const NameWords& name, uint64_t hash, shm::NamedPlace& place,
                             uint32_t* steps = nullptr) const noexcept;
  /// The entry at `index`, if it is in use and somebody did not change it without end meanwhile.
  std::optional<BufferInfo> Describe(uint32_t index) const;
  /// Every entry in use, by index. `whole` (if given) tells whether all of it is from one moment;
  /// otherwise each entry is.
  std::vector<BufferInfo> List(bool* whole = nullptr) const;
  /// Entries in use; their names may be gone already (REMOVED, DYING).
  uint32_t entry_count() const noexcept;
  /// Participants that hold the entry at `index`.
  uint32_t holders(uint32_t index) const noexcept;

  const RegistryTable& table() const { return table_; }

 private:
  RegistryTable table_;
};

}  // namespace thole::registry
