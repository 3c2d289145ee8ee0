// Audit of the heap: whether the chain, the lists and the counters tell the same story.
//
//   #include <thole/alloc/audit.h>
//   #include <thole/shm/audit.h>
//   bool Clean(const thole::shm::Segment& segment) {
//     thole::shm::Findings findings;
//     thole::alloc::AuditHeap(segment, findings);
//     thole::shm::Holders holders;  // every component adds what it holds
//     thole::shm::CollectLoanHolders(segment, holders, findings);
//     thole::alloc::AuditHolders(segment, holders, findings);
//     return findings.empty();
//   }
//
// Read-only, bounded by the size of the heap, safe on any bytes. On a segment in use it may report
// what a live participant is in the middle of. A segment without a heap has no findings.
#pragma once

#include <cstdint>
#include <functional>

#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::alloc {

/// Checks A1..A7 of heap_data.h, A9 and A10 of magazine_data.h.
void AuditHeap(const shm::Segment& segment, shm::Findings& findings);
/// Checks A8: every block in use has exactly one holder, no holder names anything else.
void AuditHolders(const shm::Segment& segment, const shm::Holders& holders,
                  shm::Findings& findings);
/// Calls `visit` with offset and usable bytes of every block in use, in order of offset. False when
/// the chain broke off.
bool ForEachUsedBlock(const shm::Segment& segment,
                      const std::function<void(uint64_t offset, uint64_t size_bytes)>& visit);

}  // namespace thole::alloc
