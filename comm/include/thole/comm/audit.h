// Audit of a whole segment: every component, and that every block has exactly one holder.
//
//   #include <thole/comm/audit.h>
//   bool Clean(const thole::shm::Segment& segment) {
//     return thole::comm::AuditSystem(segment).findings.empty();
//   }
#pragma once

#include <cstdint>

#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::comm {

struct SystemAudit {
  shm::Findings findings;
  uint64_t used_bytes = 0;    ///< of the heap, by its counters
  uint64_t held_bytes = 0;    ///< of blocks that have a holder
  uint64_t orphan_bytes = 0;  ///< of blocks in use that nobody holds: a leak
};

/// Read-only, bounded, safe on any bytes. Exact when nobody is inside a call and no dead
/// participant waits for repair; otherwise it may report steps that are under way.
SystemAudit AuditSystem(const shm::Segment& segment);

}  // namespace thole::comm
