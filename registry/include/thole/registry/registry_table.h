// RegistryTable: where the registry's words are, with every number checked once.
//
//   #include <thole/registry/registry_table.h>
//   uint32_t Capacity(const thole::shm::Segment& segment) {
//     const auto table = thole::registry::RegistryTable::Make(segment);
//     return table.ok() ? table->entries_max() : 0;
//   }
//
// The other parts of the component stand on it; programs use shared_buffer_registry.h, or
// registry_reader.h on a segment in which they have no seat.
#pragma once

#include <cstdint>
#include <span>

#include "thole/registry/registry_data.h"
#include "thole/shm/segment.h"

namespace thole::registry {

/// A value that refers to a mapping, which must outlive it. Thread-safe. Geometry is read from the
/// segment once and kept: no later change of those bytes leads outside of the root.
class RegistryTable {
 public:
  /// NotFound: the segment has no registry. Unimplemented with kOtherVersion. DataLoss (R1).
  static absl::StatusOr<RegistryTable> Make(const shm::Segment& segment);

  RegistryData& data() const { return *data_; }
  uint32_t entries_max() const { return entries_max_; }
  uint32_t bucket_count() const { return buckets_; }
  uint32_t participants_max() const { return participants_max_; }
  shm::SegmentView view() const { return view_; }
  /// `index` must be below entries_max().
  EntryData& entry(uint32_t index) const { return *view_.At<EntryData>(EntryOffset(index)); }
  /// The set of holders, a bit per participant.
  std::span<shm::Word64> holders(uint32_t index) const {
    const uint64_t offset = EntryOffset(index) + sizeof(EntryData);
    return {view_.Array<shm::Word64>(offset, holder_words_), holder_words_};
  }
  shm::Word64& bucket(uint32_t index) const {
    return *view_.At<shm::Word64>(buckets_offset_ + uint64_t{index} * 8);
  }
  shm::Word64& bucket_of(uint64_t hash) const {
    return bucket(static_cast<uint32_t>(hash >> 32) & (buckets_ - 1));
  }
  uint64_t EntryOffset(uint32_t index) const {
    return entries_offset_ + uint64_t{index} * entry_bytes_;
  }
  /// Where the root begins and how long it is.
  uint64_t root_offset() const { return root_offset_; }
  uint64_t root_bytes() const { return root_bytes_; }

 private:
  shm::SegmentView view_;
  RegistryData* data_ = nullptr;
  uint64_t root_offset_ = 0;
  uint64_t root_bytes_ = 0;
  uint64_t buckets_offset_ = 0;
  uint64_t entries_offset_ = 0;
  uint64_t entry_bytes_ = 0;
  uint32_t entries_max_ = 0;
  uint32_t buckets_ = 0;
  uint32_t holder_words_ = 0;
  uint32_t participants_max_ = 0;
};

}  // namespace thole::registry
