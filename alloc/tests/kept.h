// Kept loans: holders in a root of the segment, which survive whoever filled them.
//
// A participant's loans are freed when it dies, so after a repair nobody can see what its last call
// did. A kept loan still shows it: it holds the block or it does not, and the audit of holders
// wants exactly one of the two in the heap, too.
#pragma once

#include <algorithm>
#include <string>

#include "thole/alloc/audit.h"
#include "thole/alloc/magazine_data.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/shm/audit.h"

namespace thole::alloc::testing {

inline constexpr uint32_t kKept = 16;
inline constexpr uint16_t kKeptRoot = 7;

/// In `where` of a kept loan: it holds a chain of blocks, each with the next one's offset in front.
inline constexpr uint64_t kChain = 1;

struct KeptData {
  shm::LoanData loans[kKept];
  shm::Word64 filled[kKept];  // so many bytes of its block carry the loan's pattern
};

inline shm::RootRequest KeptRoot() {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kShm;  // nobody's repair waits for it
  root.kind = kKeptRoot;
  root.size_bytes = sizeof(KeptData);
  root.align = shm::kCacheLine;
  root.name = "kept loans";
  return root;
}

inline KeptData* KeptOf(const shm::Segment& segment) {
  const auto root = segment.Root(shm::ComponentId::kShm, kKeptRoot);
  return root ? segment.view().At<KeptData>(root->offset) : nullptr;
}

inline shm::LoanRef KeptLoan(const shm::Segment& segment, uint32_t index) {
  return shm::LoanRef(&KeptOf(segment)->loans[index], 0, 0);
}

inline std::byte Pattern(uint32_t index, uint64_t at) {
  return static_cast<std::byte>(index * 37 + at * 11 + 1);
}

/// Writes the pattern into the block that kept loan `index` holds, all of it or so many bytes.
inline void FillKept(const shm::Segment& segment, const PersistentTlsfAllocator& heap,
                     uint32_t index, uint64_t bytes_max = UINT64_MAX) {
  KeptData& kept = *KeptOf(segment);
  const uint64_t offset = kept.loans[index].block.load();
  const uint64_t size = std::min(bytes_max, heap.BlockSize(offset));
  std::byte* bytes = segment.view().Bytes(offset, size);
  for (uint64_t i = 0; i < size; ++i) bytes[i] = Pattern(index, i);
  kept.filled[index] = size;
}

/// Before kept loan `index` grows: what an earlier shrink cut off was somebody else's meanwhile.
inline void ForgetBeyondTheEnd(const shm::Segment& segment, const PersistentTlsfAllocator& heap,
                               uint32_t index) {
  KeptData& kept = *KeptOf(segment);
  kept.filled[index] =
      std::min(kept.filled[index].load(), heap.BlockSize(kept.loans[index].block.load()));
}

/// The intent of a lane that moves the block of a loan to it, or away from it.
inline uint64_t IntentFor(const shm::Segment& segment, shm::LoanRef loan) {
  const uint64_t holder = segment.view().OffsetOf(&loan->block);
  return BlockIntent{static_cast<uint32_t>(loan->block.load() / kUnitBytes - 1),
                     static_cast<uint32_t>(holder / BlockIntent::kHolderStep)}
      .Pack();
}

/// Where a block of a chain names the next one; null if that cannot be.
inline shm::Word64* NextOf(const shm::Segment& segment, uint64_t block) {
  return segment.view().At<shm::Word64>(block);
}

/// Adds what the kept loans hold, and finds payloads that somebody else wrote to.
inline void AuditKept(const shm::Segment& segment, shm::Holders& holders, shm::Findings& findings) {
  KeptData* kept = KeptOf(segment);
  if (kept == nullptr) return;
  ForEachUsedBlock(segment, [&](uint64_t offset, uint64_t size) {
    for (uint32_t i = 0; i < kKept; ++i) {
      if (kept->loans[i].block.load() != offset) continue;
      const std::byte* bytes = segment.view().Bytes(offset, size);
      const uint64_t filled = std::min(size, kept->filled[i].load());
      for (uint64_t at = 0; at < filled; ++at) {
        if (bytes[at] == Pattern(i, at)) continue;
        findings.Add("payload", offset + at, "kept block " + std::to_string(i) + " was written to");
        break;
      }
    }
  });
  for (uint32_t i = 0; i < kKept; ++i) {
    uint64_t block = kept->loans[i].block.load();
    holders.Add(block, "kept loan " + std::to_string(i));
    if (kept->loans[i].where.load() != kChain) continue;
    for (int links = 0; block != 0 && links < 100; ++links) {
      const shm::Word64* next = NextOf(segment, block);
      block = next == nullptr ? 0 : next->load();
      holders.Add(block, "chain of kept loan " + std::to_string(i));
    }
  }
}

/// All that must hold of a quiet segment.
inline void AuditWhole(const shm::Segment& segment, shm::Findings& findings) {
  shm::Holders holders;
  shm::AuditSegment(segment, findings);
  AuditHeap(segment, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  AuditKept(segment, holders, findings);
  AuditHolders(segment, holders, findings);
}
inline std::string AuditText(const shm::Segment& segment) {
  shm::Findings findings;
  AuditWhole(segment, findings);
  return findings.ToString();
}

}  // namespace thole::alloc::testing
