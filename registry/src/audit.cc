#include "thole/registry/audit.h"

#include <bit>
#include <map>
#include <string>
#include <vector>

#include "entry_fields.h"
#include "thole/registry/registry_table.h"
#include "thole/shm/participant_data.h"

namespace thole::registry {
namespace {

using shm::Findings;

/// One audit. Reads each word once into a local; walks are bounded by the number of entries.
class Audit {
 public:
  Audit(const shm::Segment& segment, const RegistryTable& table, Findings& findings)
      : segment_(segment),
        table_(table),
        findings_(findings),
        links_(table.entries_max()),
        states_(table.entries_max()) {}

  void Run() {
    CheckHead();
    for (uint32_t i = 0; i < table_.entries_max(); ++i) CheckEntry(i);
    if (settled_) CheckIndex();
    const uint64_t orphans = table_.data().orphans.load(std::memory_order_relaxed);  // any value
    if (orphans != orphans_) {
      findings_.Add(
          "R10", table_.root_offset(),
          "orphans is " + std::to_string(orphans) + ", there are " + std::to_string(orphans_));
    }
  }

 private:
  void Add(std::string_view invariant, uint32_t index, std::string_view text) {
    findings_.Add(invariant, table_.EntryOffset(index),
                  "entry " + std::to_string(index) + ": " + std::string(text));
  }

  void CheckHead() {
    const RegistryData& data = table_.data();
    const uint64_t lock = data.lock.word.load(std::memory_order_relaxed);  // any value is checked
    const auto owner = shm::OwnerId::Unpack(lock);
    if (lock != 0 && (owner.slot >= segment_.participants_max() ||
                      owner.lane >= segment_.lanes_per_participant())) {
      findings_.Add("R2", table_.root_offset(), "the lock names nobody that can be");
    }
    const uint64_t unsettled = data.unsettled.load(std::memory_order_relaxed);  // any value
    if (unsettled > table_.entries_max()) {
      findings_.Add("R2", table_.root_offset(), "unsettled names no entry");
    }
    settled_ = unsettled == 0;
  }

  void CheckEntry(uint32_t index) {
    const EntryData& entry = table_.entry(index);
    const uint64_t word = entry.state.load(std::memory_order_acquire);  // N1
    const StateWord now = StateWord::Unpack(word);
    states_[index] = now;
    if (settled_ && entry.seen.load(std::memory_order_acquire) != word) {  // N1
      Add("R3", index, "seen is not state");
    }
    if (now.Pack() != word) Add("R3", index, "state has unused bits");
    const uint32_t holders = CheckHolders(index, now);
    if (now.state == EntryState::kFree) return;
    CheckFields(index, entry);
    CheckLife(index, now, ReadPlace(entry, index, now.generation).kind, holders);
  }

  uint32_t CheckHolders(uint32_t index, StateWord now) {
    uint32_t count = 0;
    uint32_t slot = 0;
    for (const shm::Word64& word : table_.holders(index)) {
      const uint64_t bits = word.load(std::memory_order_relaxed);  // any value is checked
      count += static_cast<uint32_t>(std::popcount(bits));
      for (uint32_t i = 0; i < 64; ++i, ++slot) {
        if ((bits >> i & 1) != 0 && !IsThere(slot)) {
          Add("R8", index, "is held by slot " + std::to_string(slot) + ", where nobody is");
        }
      }
    }
    if (now.state == EntryState::kFree && count != 0) Add("R8", index, "is free but held");
    return count;
  }

  bool IsThere(uint32_t slot) {
    if (slot >= segment_.participants_max()) return false;
    const uint64_t word = segment_.Slot(slot)->word.load(std::memory_order_acquire);  // P-a
    return shm::SlotWord::Unpack(word).state != shm::SlotState::kFree;
  }

  void CheckFields(uint32_t index, const EntryData& entry) {
    const NameWords name = ReadNameWords(entry);
    if (ReadName(entry) == "(damaged)") Add("R4", index, "the name is none");
    if (entry.hash.load(std::memory_order_relaxed) != HashName(name)) {  // any value is checked
      Add("R4", index, "the hash is not the name's");
    }
    if ((ReadFlags(entry) & ~kEphemeralFlag) != 0) Add("R4", index, "has unknown flags");
    const shm::NamedPlace place = ReadPlace(entry, index, states_[index].generation);
    if (place.kind != shm::kBufferPlace && place.kind != shm::kQueuePlace) {
      Add("R4", index, "has no kind that exists");
    }
    const uint64_t end = table_.root_offset() + table_.root_bytes();
    const bool inside = table_.view().Bytes(place.offset, place.size_bytes) != nullptr;
    if (!inside || place.size_bytes == 0 ||
        (place.offset < end && place.offset + place.size_bytes > table_.root_offset())) {
      Add("R7", index, "the block lies outside of the segment or in the registry");
    }
    if (states_[index].state == EntryState::kLive) {
      const auto [other, fresh] = names_.emplace(name, index);
      if (!fresh) Add("R5", index, "has the name of entry " + std::to_string(other->second));
    }
  }

  void CheckLife(uint32_t index, StateWord now, uint32_t kind, uint32_t holders) {
    const bool queue = kind == shm::kQueuePlace;
    switch (now.state) {
      case EntryState::kDying:
        if (!queue) Add("R9", index, "is dying but no queue");
        break;
      case EntryState::kRemoved:
        if (queue && holders == 0) Add("R9", index, "is a removed queue that nobody holds");
        if (!queue && holders == 0) ++orphans_;
        break;
      case EntryState::kLive:
        if (IsEphemeral(table_.entry(index)) && holders == 0) {
          Add("R9", index, "is ephemeral and nobody holds it");
        }
        break;
      case EntryState::kFree:
        break;
    }
  }

  void CheckIndex() {
    uint64_t left = table_.entries_max();  // links in all chains together
    for (uint32_t bucket = 0; bucket < table_.bucket_count(); ++bucket) {
      if (!CheckChain(table_.bucket(bucket), left)) {
        findings_.Add("R6", table_.view().OffsetOf(&table_.bucket(bucket)),
                      "the chain of bucket " + std::to_string(bucket) + " does not end");
      }
    }
    for (uint32_t i = 0; i < table_.entries_max(); ++i) {
      const uint32_t wanted = states_[i].state == EntryState::kLive ? 1 : 0;
      if (links_[i] != wanted) {
        Add("R6", i,
            "is linked " + std::to_string(links_[i]) + " times instead of " +
                std::to_string(wanted));
      }
    }
  }

  bool CheckChain(const shm::Word64& head, uint64_t& left) {
    const shm::Word64* link = &head;
    for (;;) {
      const uint64_t word = link->load(std::memory_order_acquire);  // N2
      if (word == 0) return true;
      const LinkWord to = LinkWord::Unpack(word);
      if (to.index_plus_one == 0 || to.index_plus_one > table_.entries_max() || left == 0) {
        return false;
      }
      --left;
      const uint32_t index = to.index_plus_one - 1;
      const EntryData& entry = table_.entry(index);
      ++links_[index];
      if (to.generation != states_[index].generation) {
        Add("R6", index, "is linked with another generation");
      }
      const uint64_t hash = entry.hash.load(std::memory_order_relaxed);  // any value is checked
      if (&table_.bucket_of(hash) != &head) Add("R6", index, "is linked in a wrong bucket");
      link = &entry.next;
    }
  }

  const shm::Segment& segment_;
  const RegistryTable& table_;
  Findings& findings_;
  std::vector<uint32_t> links_;
  std::vector<StateWord> states_;
  std::map<NameWords, uint32_t> names_;
  uint64_t orphans_ = 0;
  bool settled_ = false;
};

}  // namespace

void AuditRegistry(const shm::Segment& segment, Findings& findings) {
  const auto table = RegistryTable::Make(segment);
  if (!table.ok()) {
    if (!absl::IsNotFound(table.status())) {
      findings.Add("R1", 0, std::string(table.status().message()));
    }
    return;
  }
  Audit(segment, *table, findings).Run();
}

void CollectRegistryHolders(const shm::Segment& segment, shm::Holders& holders, Findings&) {
  const auto table = RegistryTable::Make(segment);
  if (!table.ok()) return;  // AuditRegistry tells
  for (uint32_t index = 0; index < table->entries_max(); ++index) {
    const EntryData& entry = table->entry(index);
    const uint64_t state = entry.state.load(std::memory_order_acquire);  // N1
    if (StateWord::Unpack(state).state == EntryState::kFree) continue;
    holders.Add(entry.offset.load(std::memory_order_acquire),  // N3
                "registry entry " + std::to_string(index) + " '" + ReadName(entry) + "'");
  }
}

}  // namespace thole::registry
