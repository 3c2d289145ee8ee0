#include "thole/shm/audit.h"

#include <algorithm>
#include <string>

#include "segment_files.h"
#include "thole/shm/participant_data.h"
#include "thole/shm/repair.h"

namespace thole::shm {
namespace {

std::string LaneName(uint32_t slot, uint32_t lane) {
  return "slot " + std::to_string(slot) + " lane " + std::to_string(lane);
}

void AuditRoots(const Segment& segment, Findings& findings) {
  auto roots = segment.Roots();
  std::sort(roots.begin(), roots.end(),
            [](const RootData& a, const RootData& b) { return a.offset < b.offset; });
  const LaneData* last =
      segment.LaneAt(segment.participants_max() - 1, segment.lanes_per_participant() - 1);
  const uint64_t first = segment.view().OffsetOf(last) + sizeof(LaneData);
  for (size_t i = 0; i < roots.size(); ++i) {
    if (roots[i].offset < first) findings.Add("S3", roots[i].offset, "a root lies in the tables");
    if (i > 0 && roots[i - 1].offset + roots[i - 1].size_bytes > roots[i].offset) {
      findings.Add("S3", roots[i].offset, "two roots overlap");
    }
  }
}

void AuditLog(const Segment& segment, const LaneData& lane, const std::string& name,
              Findings& findings) {
  const uint64_t count = lane.log.count.load(std::memory_order_acquire);  // the entries below it
  if (count > kLogEntriesMax) {
    findings.Add("P2", segment.view().OffsetOf(&lane), name + ": log count out of range");
    return;
  }
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t where = lane.log.entries[i].where.load(std::memory_order_relaxed);  // counted
    const bool inside = (where & 15) == 8   ? segment.view().At<Word64>(where >> 4) != nullptr
                        : (where & 15) == 4 ? segment.view().At<Word32>(where >> 4) != nullptr
                                            : false;
    if (!inside) findings.Add("P2", segment.view().OffsetOf(&lane), name + ": log entry outside");
  }
}

void AuditFreeLane(const Segment& segment, LaneData& lane, const std::string& name,
                   Findings& findings) {
  const uint64_t offset = segment.view().OffsetOf(&lane);
  const auto want_zero = [&](const Word64& word, const char* what) {
    if (word.load(std::memory_order_relaxed) != 0) {  // nobody owns it
      findings.Add("P1", offset, name + " of a free slot has " + what);
    }
  };
  want_zero(lane.in_call, "a call");
  want_zero(lane.log.count, "a log");
  want_zero(lane.lock, "a lock");
  want_zero(lane.block_intent, "a block intent");
  want_zero(lane.intent.word, "an intent");
  want_zero(lane.first_chunk, "loan chunks");
  want_zero(lane.reserved.block, "a reserved chunk");
  for (LoanData& loan : lane.loans) {
    want_zero(loan.block, "a loan");
    if (loan.ticket.load(std::memory_order_relaxed) != 0) {  // nobody owns it
      findings.Add("P5", offset, name + " of a free slot has a ticket without a step");
    }
  }
}

void AuditLane(const Segment& segment, LaneData& lane, bool free_slot, const std::string& name,
               Findings& findings) {
  AuditLog(segment, lane, name, findings);
  const uint64_t lock = lane.lock.load(std::memory_order_relaxed);  // any value is checked
  if (lock != 0 && segment.view().At<Word64>(lock) == nullptr) {
    findings.Add("P3", segment.view().OffsetOf(&lane), name + ": names a lock outside");
  }
  if (!ForEachLoan(segment.view(), lane, [](LoanData&) {})) {
    findings.Add("P4", segment.view().OffsetOf(&lane), name + ": the chunk chain does not end");
  }
  if (free_slot) AuditFreeLane(segment, lane, name, findings);
}

// S1 and S2, of the bytes as they are now.
void AuditHeader(const Segment& segment, Findings& findings) {
  SegmentHeaderData copy{};
  CopyFacts(segment.view().base(), copy);
  const auto facts = CheckFacts("the header", copy, segment.view().size_bytes());
  if (!facts.ok()) findings.Add("S1", 0, std::string(facts.message()));
  const auto tables = CheckTables("the header", copy);
  if (!tables.ok()) findings.Add("S2", 0, std::string(tables.message()));
}

bool IsInherited(const Segment& segment, Findings& findings) {
  if (segment.forked()) findings.Add("S1", 0, std::string(ForkedHandleError().message()));
  return segment.forked();
}

}  // namespace

void AuditSegment(const Segment& segment, Findings& findings) {
  if (IsInherited(segment, findings)) return;
  AuditHeader(segment, findings);
  AuditRoots(segment, findings);
  bool all_free = true;
  for (uint32_t slot = 0; slot < segment.participants_max(); ++slot) {
    const SlotData& data = *segment.Slot(slot);
    const SlotWord word = SlotWord::Unpack(data.word.load(std::memory_order_acquire));  // P-a
    const bool free_slot = word.state == SlotState::kFree;
    all_free = all_free && free_slot;
    if (static_cast<uint64_t>(word.state) > static_cast<uint64_t>(SlotState::kRepair)) {
      findings.Add("P1", segment.view().OffsetOf(&data), "a slot has no state that exists");
    }
    if (free_slot && data.pid.load(std::memory_order_relaxed) != 0) {  // any value is checked
      findings.Add("P1", segment.view().OffsetOf(&data), "a free slot has a pid");
    }
    for (uint32_t lane = 0; lane < segment.lanes_per_participant(); ++lane) {
      AuditLane(segment, *segment.LaneAt(slot, lane), free_slot, LaneName(slot, lane), findings);
    }
  }
  const uint64_t state = segment.header().state.load(std::memory_order_acquire) & 3;  // H1
  const bool clean = state == static_cast<uint64_t>(SegmentState::kClean);
  if (!clean && state != static_cast<uint64_t>(SegmentState::kDirty)) {
    findings.Add("S4", 0, "the segment is neither clean nor dirty");
  }
  if (clean && !all_free) findings.Add("S4", 0, "the segment is clean but somebody is attached");
}

void CollectLoanHolders(const Segment& segment, Holders& holders, Findings& findings) {
  if (IsInherited(segment, findings)) return;
  for (uint32_t slot = 0; slot < segment.participants_max(); ++slot) {
    for (uint32_t index = 0; index < segment.lanes_per_participant(); ++index) {
      LaneData& lane = *segment.LaneAt(slot, index);
      const std::string name = "loan of " + LaneName(slot, index);
      holders.Add(lane.reserved.block.load(std::memory_order_acquire),
                  name + " (reserved)");  // P-b
      const bool ended = ForEachLoan(segment.view(), lane, [&](LoanData& loan) {
        holders.Add(loan.block.load(std::memory_order_acquire), name);  // P-b
      });
      if (!ended) findings.Add("P4", segment.view().OffsetOf(&lane), name + ": chunk chain broken");
      uint32_t left = kChunksPerLane;
      uint64_t chunk = lane.first_chunk.load(std::memory_order_acquire);  // P-b
      while (chunk != 0 && left-- > 0) {
        holders.Add(chunk, "loan chunk of " + LaneName(slot, index));
        const auto* data = segment.view().At<LoanChunkData>(chunk);
        chunk = data == nullptr ? 0 : data->next.load(std::memory_order_acquire);  // P-b
      }
    }
  }
}

std::string Findings::ToString() const {
  if (empty()) return "none";
  std::string text;
  for (const Finding& finding : kept_) {
    text +=
        finding.invariant + " at " + std::to_string(finding.offset) + ": " + finding.text + "\n";
  }
  if (count_ > kept_.size()) text += "and " + std::to_string(count_ - kept_.size()) + " more\n";
  return text;
}

}  // namespace thole::shm
