// A feeder: reads its files straight into zero-copy writers and sends them, chunk by chunk.
#pragma once

#include "demo/stage.h"

namespace thole::cli::demo {

/// Sends from where the last feeder of this number came to, until the stage says stop. The place is
/// stored after each send, so that a death in between sends a chunk twice but never skips one.
absl::Status Feed(Stage& stage, uint32_t index);

/// Errors that pass by themselves: full, nothing there yet, somebody in the middle of a step.
inline bool PassesByItself(const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
         absl::IsUnavailable(status);
}

}  // namespace thole::cli::demo
