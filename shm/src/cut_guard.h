// What a reader sees where somebody cut off the file under its mapping: zeros instead of SIGBUS.
#pragma once

#include <cstdint>
#include <memory>

#include "thole/shm/status.h"

namespace thole::shm {

/// Guards one read-only mapping as long as it lives. The first one installs a handler of SIGBUS for
/// the whole process and leaves it there; a fault outside of guarded mappings goes on to whoever
/// handled the signal before. Thread-safe.
class CutGuard {
 public:
  /// ResourceExhausted when `kGuardsMax` mappings are guarded already; Internal when the handler
  /// cannot be installed.
  static absl::StatusOr<std::unique_ptr<CutGuard>> Of(const void* base, uint64_t size_bytes);
  /// Before the mapping goes.
  ~CutGuard();
  CutGuard(const CutGuard&) = delete;
  CutGuard& operator=(const CutGuard&) = delete;

  /// Whether something was read that is not there any more.
  bool was_cut() const;

  static constexpr int kGuardsMax = 64;

 private:
  explicit CutGuard(int range) : range_(range) {}
  int range_;
};

}  // namespace thole::shm
