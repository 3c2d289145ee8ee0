// Audit of the registry: whether entries, names, index and holders tell the same story.
//
//   #include <thole/registry/audit.h>
//   bool Clean(const thole::shm::Segment& segment) {
//     thole::shm::Findings findings;
//     thole::registry::AuditRegistry(segment, findings);
//     return findings.empty();
//   }
//
// Read-only, bounded, safe on any bytes. On a segment in use it may report what a live participant
// is in the middle of. A segment without a registry has no findings.
#pragma once

#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::registry {

/// Checks R1..R10 of registry_data.h.
void AuditRegistry(const shm::Segment& segment, shm::Findings& findings);
/// Adds the block of every entry.
void CollectRegistryHolders(const shm::Segment& segment, shm::Holders& holders,
                            shm::Findings& findings);

}  // namespace thole::registry
