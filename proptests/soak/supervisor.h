// The supervisor: makes the segment, starts the crew, ends and stops somebody all the time, pauses
// everybody now and then to audit and to compare the ledger, and counts.
#pragma once

#include "options.h"
#include "report.h"
#include "thole/shm/status.h"

namespace thole::soak {

/// On a segment of its own, which is gone afterwards, also after Ctrl-C. An error only when it
/// could not run; what went wrong with the promise is in the report. Ends early at the first such
/// thing, after one more audit.
absl::StatusOr<SoakReport> RunSoak(const SoakOptions& options);

}  // namespace thole::soak
