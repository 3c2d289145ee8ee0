// The stage: the segment of one demonstration, its two channels and its buffers.
//
//   channel "work"        chunks, from feeders to workers (acknowledged)
//   channel "results"     results, from workers to the collector (acknowledged)
//   buffer  "catalog"     the files (catalog.h), written before anybody else starts
//   buffer  "control"     one word: 1 = feeders stop
//   buffer  "position-N"  one word: chunks that feeder N has sent for certain
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "demo/catalog.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::cli::demo {

/// One word of a named buffer that processes share.
struct SharedWordData {
  uint64_t value;
};
static_assert(sizeof(SharedWordData) == 8);
static_assert(std::has_unique_object_representations_v<SharedWordData>);

inline uint64_t LoadWord(const registry::BufferHandle& buffer) {
  auto* word = buffer.As<SharedWordData>();
  return word == nullptr
             ? 0
             : std::atomic_ref(word->value).load(std::memory_order_acquire);  // StoreWord
}
inline void StoreWord(const registry::BufferHandle& buffer, uint64_t value) {
  if (auto* word = buffer.As<SharedWordData>()) {
    std::atomic_ref(word->value).store(value, std::memory_order_release);  // after what it tells of
  }
}

class Stage {
 public:
  /// Makes the segment and everything in it; whatever fails, nothing is left behind.
  static absl::StatusOr<Stage> Build(const std::string& name, const Tree& tree, uint32_t feeders);
  /// Connects to what `Build` made.
  static absl::StatusOr<Stage> Enter(const std::string& name, const std::string& participant);

  UnifiedCommunicationSystem& system() { return system_; }
  const UnifiedCommunicationSystem& system() const { return system_; }
  const Channel& work() const { return *work_; }
  const Channel& results() const { return *results_; }
  const Catalog& catalog() const { return catalog_; }
  registry::BufferHandle& control() { return control_; }
  registry::BufferHandle& position(uint32_t feeder) { return positions_[feeder]; }
  bool stopped() const { return LoadWord(control_) != 0; }

 private:
  explicit Stage(UnifiedCommunicationSystem system) : system_(std::move(system)) {}
  absl::Status Fill(const Tree& tree, uint32_t feeders);
  absl::Status Connect();
  absl::Status ReadCatalog();

  UnifiedCommunicationSystem system_;
  std::unique_ptr<Channel> work_;
  std::unique_ptr<Channel> results_;
  registry::BufferHandle catalog_bytes_;
  Catalog catalog_;
  registry::BufferHandle control_;
  std::vector<registry::BufferHandle> positions_;
};

/// Takes the segment's name away when the demonstration ends, however it ends.
class SegmentRemover {
 public:
  explicit SegmentRemover(std::string name) : name_(std::move(name)) {}
  ~SegmentRemover() { (void)shm::Segment::Remove(shm::Place::Named(name_)); }
  SegmentRemover(const SegmentRemover&) = delete;
  SegmentRemover& operator=(const SegmentRemover&) = delete;

 private:
  std::string name_;
};

}  // namespace thole::cli::demo
