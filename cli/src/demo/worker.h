// A worker: takes a chunk, looks at every byte of it, sends a result, acknowledges the chunk.
#pragma once

#include "demo/stage.h"

namespace thole::cli::demo {

/// Works until the channel of chunks is closed and drained. The chunk is acknowledged after its
/// result was sent: a death in between repeats the result but never loses one.
absl::Status Work(Stage& stage);

}  // namespace thole::cli::demo
