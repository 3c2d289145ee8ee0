#include "thole/registry/registry_table.h"

#include <bit>
#include <string>

#include "thole/registry/shared_buffer_registry.h"

namespace thole::registry {
namespace {

uint32_t BucketsFor(uint32_t entries_max) { return std::bit_ceil(2 * entries_max); }

uint64_t BucketsOffset(uint64_t root_offset) { return root_offset + sizeof(RegistryData); }

uint64_t EntriesOffset(uint64_t root_offset, uint32_t buckets) {
  return shm::RoundUp(BucketsOffset(root_offset) + uint64_t{buckets} * 8, shm::kCacheLine);
}

uint64_t RootBytes(uint32_t entries_max, uint32_t holder_words) {
  return EntriesOffset(0, BucketsFor(entries_max)) +
         uint64_t{entries_max} * EntryBytes(holder_words);
}

absl::Status Format(const RegistryOptions& options, uint32_t holder_words, shm::SegmentView view,
                    const shm::RootData& root) {
  if (options.entries_max < 1 || options.entries_max > kEntriesMaxLimit) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "a registry of " + std::to_string(options.entries_max) +
                          " entries: use 1 to " + std::to_string(kEntriesMaxLimit));
  }
  auto* data = view.At<RegistryData>(root.offset);
  if (data == nullptr || root.size_bytes < RootBytes(options.entries_max, holder_words)) {
    return shm::Error(absl::StatusCode::kInvalidArgument, "the registry's root is too small");
  }
  data->layout = kRegistryLayout;
  data->entries_max = options.entries_max;
  data->buckets = BucketsFor(options.entries_max);
  data->holder_words = holder_words;
  data->entry_bytes = static_cast<uint32_t>(EntryBytes(holder_words));
  const uint64_t first = EntriesOffset(root.offset, data->buckets);
  const uint64_t free = StateWord{1, EntryState::kFree}.Pack();
  for (uint32_t i = 0; i < options.entries_max; ++i) {
    auto* entry = view.At<EntryData>(first + uint64_t{i} * data->entry_bytes);
    entry->state.store(free, std::memory_order_relaxed);  // nobody else sees it yet
    entry->seen.store(free, std::memory_order_relaxed);   // nobody else sees it yet
  }
  return absl::OkStatus();
}

absl::Status Damaged(const shm::Segment& segment, const std::string& what) {
  return shm::Error(absl::StatusCode::kDataLoss,
                    "the registry of " + segment.place().Describe() + " " + what +
                        ": run the check command, restore or recreate the segment",
                    ErrorKind::kDamaged);
}

}  // namespace

shm::RootRequest SharedBufferRegistry::Root(const RegistryOptions& options,
                                            uint32_t participants_max) {
  const uint32_t holder_words = HolderWords(participants_max);
  const bool sane = options.entries_max >= 1 && options.entries_max <= kEntriesMaxLimit;
  return {.component = shm::ComponentId::kRegistry,
          .kind = kRegistryRoot,
          .size_bytes = RootBytes(sane ? options.entries_max : 1, holder_words),
          .align = shm::kCacheLine,
          .name = "registry",
          .lane_area_bytes = 0,
          .format = [options, holder_words](shm::SegmentView view, const shm::RootData& root) {
            return Format(options, holder_words, view, root);
          }};
}

absl::StatusOr<RegistryTable> RegistryTable::Make(const shm::Segment& segment) {
  const auto root = segment.Root(shm::ComponentId::kRegistry, kRegistryRoot);
  if (!root) {
    return shm::Error(
        absl::StatusCode::kNotFound,
        segment.place().Describe() + " has no registry: create it with SharedBufferRegistry::Root");
  }
  // TRUST: every number is checked against the root, which `segment` checked against the mapping.
  RegistryTable table;
  table.view_ = segment.view();
  table.data_ = table.view_.At<RegistryData>(root->offset);
  if (table.data_ == nullptr || root->size_bytes < sizeof(RegistryData)) {
    return Damaged(segment, "lies outside");
  }
  const uint64_t layout = table.data_->layout;
  if (layout != kRegistryLayout) {
    if (layout >> 16 != kRegistryLayout >> 16) return Damaged(segment, "has no layout mark");
    return shm::Error(absl::StatusCode::kUnimplemented,
                      "the registry of " + segment.place().Describe() + " has layout " +
                          std::to_string(layout & 0xffff) + ", this library has " +
                          std::to_string(kRegistryLayout & 0xffff) + ": use matching versions",
                      ErrorKind::kOtherVersion);
  }
  table.entries_max_ = table.data_->entries_max;
  table.buckets_ = table.data_->buckets;
  table.holder_words_ = table.data_->holder_words;
  table.entry_bytes_ = table.data_->entry_bytes;
  table.participants_max_ = segment.participants_max();
  if (table.entries_max_ < 1 || table.entries_max_ > kEntriesMaxLimit ||
      table.buckets_ != BucketsFor(table.entries_max_) ||
      table.holder_words_ != HolderWords(table.participants_max_) ||
      table.entry_bytes_ != EntryBytes(table.holder_words_) ||
      root->size_bytes < RootBytes(table.entries_max_, table.holder_words_)) {
    return Damaged(segment, "has sizes that do not fit each other");
  }
  table.root_offset_ = root->offset;
  table.root_bytes_ = root->size_bytes;
  table.buckets_offset_ = BucketsOffset(root->offset);
  table.entries_offset_ = EntriesOffset(root->offset, table.buckets_);
  return table;
}

}  // namespace thole::registry
