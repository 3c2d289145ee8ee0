// Audit of work queues: structure on any bytes, and which blocks they hold.
//
//   #include <thole/queue/audit.h>
//   bool Clean(const thole::shm::Segment& segment, thole::shm::NameSource& names) {
//     thole::shm::Findings findings;
//     thole::queue::AuditQueues(segment, names, findings);
//     return findings.empty();
//   }
#pragma once

#include "thole/shm/findings.h"
#include "thole/shm/name_source.h"
#include "thole/shm/segment.h"

namespace thole::queue {

/// Checks Q1..Q10 of every queue. Read-only, bounded, safe on any bytes; on a segment in use it may
/// report a step that a live participant is in the middle of.
void AuditQueues(const shm::Segment& segment, shm::NameSource& names, shm::Findings& findings);
/// Adds every block that a FULL cell or the return list of some queue holds.
void CollectQueueHolders(const shm::Segment& segment, shm::NameSource& names, shm::Holders& holders,
                         shm::Findings& findings);

}  // namespace thole::queue
