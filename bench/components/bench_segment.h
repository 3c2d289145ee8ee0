// What the benchmarks of the components stand on: an attachment to a segment without a name.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "thole/shm/attachment.h"
#include "thole/shm/segment.h"

namespace thole::bench {

/// The value, or the end: where something failed there is nothing to measure.
template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return *std::move(value);
}
inline void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(EXIT_FAILURE);
}
inline void Must(bool ok) {
  if (!ok) Must(absl::InternalError("a call that cannot fail here did"));
}

inline std::shared_ptr<shm::Attachment> NewAttachment(const std::vector<shm::RootRequest>& roots,
                                                      const shm::SegmentOptions& options = {}) {
  return Must(
      shm::Attachment::Make(Must(shm::Segment::Create(shm::Place::Descriptor(), options, roots))));
}

}  // namespace thole::bench
