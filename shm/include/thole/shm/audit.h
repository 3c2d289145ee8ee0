// Audit of what `shm` itself keeps: header, roots, slots, lanes.
//
//   #include <thole/shm/audit.h>
//   bool Clean(const thole::shm::Segment& segment) {
//     thole::shm::Findings findings;
//     thole::shm::AuditSegment(segment, findings);
//     return findings.empty();
//   }
#pragma once

#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::shm {

/// Checks S1..S4 and P1..P5. Read-only, bounded, safe on any bytes; on a segment in use it may
/// report a step that a live participant is in the middle of.
void AuditSegment(const Segment& segment, Findings& findings);
/// Adds every block that a loan, a reserved loan or the chunk chain of some lane holds.
void CollectLoanHolders(const Segment& segment, Holders& holders, Findings& findings);

}  // namespace thole::shm
