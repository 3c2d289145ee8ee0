// The supervisor: sets the stage, starts feeders and workers, kills one every few milliseconds and
// starts it again, then lets everything drain and counts.
#pragma once

#include "demo/demo_options.h"
#include "demo/report.h"
#include "demo/tree.h"

namespace thole::cli::demo {

/// Runs the whole demonstration on a segment of its own, which is gone afterwards, also after
/// Ctrl-C (which ends the run early; a second one gives it up). An error only when it could not
/// run; a broken promise is in the report.
absl::StatusOr<DemoReport> RunDemo(const DemoOptions& options, const Tree& tree);

}  // namespace thole::cli::demo
