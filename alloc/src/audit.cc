#include "thole/alloc/audit.h"

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "heap.h"
#include "thole/shm/participant_data.h"

namespace thole::alloc {
namespace {

using shm::Findings;

// Audits look at every word on its own: any value is checked, whoever wrote it when.
constexpr auto kAnyValue = std::memory_order_relaxed;

std::string At(uint64_t unit) { return "block at unit " + std::to_string(unit); }

bool KindExists(BlockKind kind) {
  switch (kind) {
    case BlockKind::kFree:
    case BlockKind::kCached:
    case BlockKind::kUsed:
    case BlockKind::kMeta:
      return true;
    default:
      return false;
  }
}

struct Audit {
  const Heap& heap;
  Findings& findings;
  std::unordered_map<uint32_t, bool> free_blocks = {};    // unit -> seen in a list
  std::unordered_map<uint32_t, bool> cached_blocks = {};  // unit -> seen in a magazine
  uint64_t used_units = 0;
  uint64_t used_blocks = 0;

  void Add(const char* invariant, uint64_t unit, const std::string& text) {
    findings.Add(invariant, unit * kUnitBytes, text);
  }
};

// The sentinel and what it says of the block before it.
void AuditSentinel(Audit& audit, uint32_t last_size) {
  const uint32_t unit = audit.heap.sentinel();
  const BlockHeaderData* header = audit.heap.HeaderAt(unit);
  const HeaderWord word = HeaderWord::Unpack(header->word.load(kAnyValue));  // any value is checked
  if (word.kind != BlockKind::kSentinel || word.size != 1 ||
      word.check != HeaderCheck(unit, word.size)) {
    audit.Add("A1", unit, "the sentinel is damaged");
  }
  if (header->prev.load(kAnyValue) != last_size) {  // any value is checked
    audit.Add("A2", unit, "the sentinel does not know the last block's size");
  }
}

// A1, A2, A3. False when the chain broke off.
bool AuditChain(Audit& audit) {
  uint32_t unit = audit.heap.first();
  uint32_t size_before = 0;
  bool free_before = false;
  while (unit < audit.heap.sentinel()) {
    const auto block = audit.heap.Read(unit);  // sizes of 2 units or more: the walk ends
    if (!block || !KindExists(block->kind())) {
      audit.Add("A1", unit, At(unit) + " has no header that can be: the chain breaks off");
      return false;
    }
    if (block->header->prev.load(kAnyValue) != size_before) {  // any value is checked
      audit.Add("A2", unit, At(unit) + " does not know its predecessor's size");
    }
    if (block->free()) {
      if (free_before) audit.Add("A3", unit, At(unit) + " and its predecessor are both free");
      audit.free_blocks.emplace(unit, false);
    } else {
      audit.used_units += block->size();
      ++audit.used_blocks;
      if (block->kind() == BlockKind::kCached) audit.cached_blocks.emplace(unit, false);
    }
    free_before = block->free();
    size_before = block->size();
    unit = block->end();
  }
  AuditSentinel(audit, size_before);
  return true;
}

void AuditList(Audit& audit, SizeClass list) {
  uint32_t unit = audit.heap.data().heads[list.row][list.column].load(kAnyValue);  // checked below
  uint32_t before = 0;
  uint64_t left = audit.free_blocks.size();
  while (unit != 0) {
    const auto block = audit.heap.Read(unit);
    const auto known = audit.free_blocks.find(unit);
    if (!block || !block->free() || known == audit.free_blocks.end()) {
      audit.Add("A4", unit, At(unit) + " is listed but is no free block of the chain");
      return;
    }
    if (ClassOf(block->size()) != list) audit.Add("A4", unit, At(unit) + " is in a wrong list");
    const Link link = Link::Unpack(audit.heap.LinkOf(unit).load(kAnyValue));  // checked here
    if (link.prev != before) audit.Add("A4", unit, At(unit) + " does not link back");
    if (known->second || left-- == 0) {
      audit.Add("A4", unit, At(unit) + " is listed twice");
      return;
    }
    known->second = true;
    before = unit;
    unit = link.next;
  }
}

// A4, A5.
void AuditLists(Audit& audit) {
  const HeapData& data = audit.heap.data();
  const uint32_t rows = data.first_level.load(kAnyValue);  // any value is checked
  if (rows >> kRows != 0) audit.Add("A5", 0, "the first-level map has bits of no row");
  for (uint32_t row = 0; row < kRows; ++row) {
    const uint32_t columns = data.second_level[row].load(kAnyValue);  // any value is checked
    if ((rows >> row & 1) != (columns != 0 ? 1u : 0u)) {
      audit.Add("A5", 0, "the first-level map is wrong about row " + std::to_string(row));
    }
    for (uint32_t column = 0; column < kColumns; ++column) {
      const bool listed = data.heads[row][column].load(kAnyValue) != 0;  // any value is checked
      if (listed != ((columns >> column & 1) != 0)) {
        audit.Add("A5", 0,
                  "the map of row " + std::to_string(row) + " is wrong about column " +
                      std::to_string(column));
      }
      AuditList(audit, {row, column});
    }
  }
  for (const auto& [unit, listed] : audit.free_blocks) {
    if (!listed) audit.Add("A4", unit, At(unit) + " is free but in no list");
  }
}

// A6, A7.
void AuditControl(Audit& audit, const shm::Segment& segment) {
  const HeapData& data = audit.heap.data();
  const CountPair used = CountPair::Unpack(data.used.load(kAnyValue));            // checked below
  const CountPair other = CountPair::Unpack(data.peak_and_free.load(kAnyValue));  // checked below
  if (used.units != audit.used_units || used.blocks != audit.used_blocks) {
    audit.Add("A6", 0,
              "used says " + std::to_string(used.units) + " units in " +
                  std::to_string(used.blocks) + " blocks, the chain has " +
                  std::to_string(audit.used_units) + " in " + std::to_string(audit.used_blocks));
  }
  if (other.blocks != audit.free_blocks.size()) {
    audit.Add("A6", 0,
              "free blocks are counted as " + std::to_string(other.blocks) + ", the chain has " +
                  std::to_string(audit.free_blocks.size()));
  }
  if (other.units < used.units || other.units > audit.heap.units()) {
    audit.Add("A6", 0, "the peak is below what is used, or above the heap");
  }
  const uint64_t lock = data.lock.word.load(kAnyValue);  // any value is checked
  if (lock == 0) return;
  const shm::OwnerId owner = shm::OwnerId::Unpack(lock);
  if ((lock & 0xfff) == 0 || owner.slot >= segment.participants_max() ||
      owner.lane >= segment.lanes_per_participant()) {
    audit.Add("A7", 0, "the heap's lock names nobody who can be");
  }
}

// One chain of a magazine, as far as it can be followed; adds what it holds to `found`.
void AuditMagazine(Audit& audit, const MagazinesData& magazines, uint32_t magazine, uint32_t slot,
                   const std::string& name, CountPair& found) {
  const MagazineHead head =
      MagazineHead::Unpack(magazines.heads[magazine].load(kAnyValue));  // checked below
  uint32_t unit = head.first;
  for (uint32_t left = head.blocks; left > 0; --left) {
    const auto block = audit.heap.Read(unit);
    const auto known = audit.cached_blocks.find(unit);
    if (!block || known == audit.cached_blocks.end() || known->second) {
      audit.Add("A9", unit, At(unit) + " is in " + name + " but is no cached block of its own");
      return;
    }
    known->second = true;
    if (MagazineOf(unit, block->bits) != magazine || block->word().slot != slot + 1) {
      audit.Add("A9", unit, At(unit) + " is in " + name + " and belongs to another magazine");
    }
    found.units += block->size();
    ++found.blocks;
    const Link link = Link::Unpack(audit.heap.LinkOf(unit).load(kAnyValue));  // checked here
    if (link.prev != 0) audit.Add("A9", unit, At(unit) + " is in " + name + " and links back");
    unit = link.next;
  }
  if (head.blocks == 0 && head.first != 0) {
    audit.Add("A9", head.first, name + " is empty and names a block");
  } else if (head.blocks != 0 && unit != 0) {
    audit.Add("A9", unit, name + " goes on behind its last block");
  }
}

void AuditLaneMagazines(Audit& audit, const shm::Segment& segment, uint32_t slot, uint32_t index) {
  const shm::LaneData& lane = *segment.LaneAt(slot, index);
  const MagazinesData& magazines = audit.heap.MagazinesOf(lane);
  const std::string name =
      "a magazine of slot " + std::to_string(slot) + " lane " + std::to_string(index);
  CountPair found{0, 0};
  for (uint32_t magazine = 0; magazine < kMagazines; ++magazine) {
    if (magazines.heads[magazine].load(kAnyValue) == 0) continue;  // any value is checked
    AuditMagazine(audit, magazines, magazine, slot, name, found);
  }
  const uint64_t counted = magazines.cached.load(kAnyValue);           // any value is checked
  if (lane.in_call.load(kAnyValue) == 0 && counted != found.Pack()) {  // any value is checked
    audit.Add("A9", 0, name + " counts blocks that are not there");
  }
  const uint64_t word = segment.Slot(slot)->word.load(kAnyValue);  // any value is checked
  if (shm::SlotWord::Unpack(word).state == shm::SlotState::kFree && found.blocks != 0) {
    audit.Add("A10", 0, name + " is not empty, and the slot is free");
  }
}

// A9, A10. A block on its way between magazine and holder is named by the lane's intent alone.
void AuditMagazines(Audit& audit, const shm::Segment& segment) {
  for (uint32_t slot = 0; slot < segment.participants_max(); ++slot) {
    for (uint32_t index = 0; index < segment.lanes_per_participant(); ++index) {
      AuditLaneMagazines(audit, segment, slot, index);
    }
  }
  for (const auto& [unit, seen] : audit.cached_blocks) {
    if (!seen) audit.Add("A9", unit, At(unit) + " is cached but in no magazine");
  }
}

// None: the segment has no heap (no finding), or not one that can be read (a finding).
std::optional<Heap> HeapOf(const shm::Segment& segment, Findings* findings) {
  auto heap = Heap::In(segment);
  if (heap.ok()) return *heap;
  if (findings != nullptr && heap.status().code() != absl::StatusCode::kNotFound) {
    findings->Add("A1", 0, std::string(heap.status().message()));
  }
  return std::nullopt;
}

}  // namespace

void AuditHeap(const shm::Segment& segment, Findings& findings) {
  const auto heap = HeapOf(segment, &findings);
  if (!heap) return;
  Audit audit{*heap, findings};
  // Without the whole chain nobody can say what the lists and counters should be.
  if (!AuditChain(audit)) return;
  AuditLists(audit);
  AuditControl(audit, segment);
  AuditMagazines(audit, segment);
}

bool ForEachUsedBlock(const shm::Segment& segment,
                      const std::function<void(uint64_t, uint64_t)>& visit) {
  const auto heap = HeapOf(segment, nullptr);
  if (!heap) return true;
  uint32_t unit = heap->first();
  while (unit < heap->sentinel()) {
    const auto block = heap->Read(unit);  // sizes of 2 units or more: the walk ends
    if (!block) return false;
    if (block->kind() == BlockKind::kUsed) {
      visit((uint64_t{unit} + 1) * kUnitBytes, (block->size() - 1) * kUnitBytes);
    }
    unit = block->end();
  }
  return true;
}

void AuditHolders(const shm::Segment& segment, const shm::Holders& holders, Findings& findings) {
  std::unordered_set<uint64_t> used;
  ForEachUsedBlock(segment, [&](uint64_t offset, uint64_t) { used.insert(offset); });
  for (const uint64_t offset : used) {
    if (!holders.by_block().contains(offset)) {
      findings.Add("A8", offset, "a block in use that nobody holds");
    }
  }
  for (const auto& [offset, names] : holders.by_block()) {
    if (!used.contains(offset)) {
      findings.Add("A8", offset, names.front() + " holds what is no block in use");
    }
    for (size_t i = 1; i < names.size(); ++i) {
      findings.Add("A8", offset, names[i] + " holds what " + names.front() + " holds");
    }
  }
}

}  // namespace thole::alloc
