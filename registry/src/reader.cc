// Reading without the lock: what `seen` and the links say, checked before and after.
#include <bit>

#include "entry_fields.h"
#include "thole/registry/registry_reader.h"
#include "thole/shm/untrusted.h"

namespace thole::registry {
namespace {

using shm::NameResult;

// A walk starts again when the entry it stands on is freed meanwhile. Each of these turns needs a
// whole removal by somebody else between two loads.
constexpr uint32_t kTurnsMax = 64;
constexpr uint32_t kListTurns = 4;
constexpr uint32_t kDescribeTurns = 16;

enum class WalkEnd : uint8_t { kFound, kEnd, kChanged, kStale, kCorrupt };

struct Walk {
  WalkEnd end = WalkEnd::kEnd;
  uint64_t stale_link = 0;  // kStale: it names an earlier bearer of the entry
  uint32_t steps = 0;
  shm::NamedPlace place;
};

Walk WalkChain(const RegistryTable& table, const NameWords& name, uint64_t hash) noexcept {
  Walk walk;
  uint64_t link = table.bucket_of(hash).load(std::memory_order_acquire);  // N2
  while (link != 0) {
    // TRUST: the index by the table; the length of the walk by the number of entries.
    const LinkWord to = LinkWord::Unpack(link);
    const auto number = shm::Untrusted(to.index_plus_one).Within(1, table.entries_max());
    if (!number || walk.steps == table.entries_max()) {
      walk.end = WalkEnd::kCorrupt;
      return walk;
    }
    ++walk.steps;
    const EntryData& entry = table.entry(*number - 1);
    const uint64_t seen = entry.seen.load(std::memory_order_acquire);  // N1
    const StateWord state = StateWord::Unpack(seen);
    if (state.generation != to.generation) {
      walk.end = WalkEnd::kStale;
      walk.stale_link = link;
      return walk;
    }
    if (state.state == EntryState::kLive && HasName(entry, name, hash)) {
      walk.place = ReadPlace(entry, *number - 1, state.generation);
      const uint64_t again = entry.seen.load(std::memory_order_acquire);  // N3, after the fields
      walk.end = again == seen ? WalkEnd::kFound : WalkEnd::kChanged;
      return walk;
    }
    link = entry.next.load(std::memory_order_acquire);                  // N2
    const uint64_t after = entry.seen.load(std::memory_order_acquire);  // still the same bearer?
    if (StateWord::Unpack(after).generation != to.generation) {
      walk.end = WalkEnd::kChanged;
      return walk;
    }
  }
  return walk;
}

}  // namespace

absl::StatusOr<RegistryReader> RegistryReader::Make(const shm::Segment& segment) {
  auto table = RegistryTable::Make(segment);
  if (!table.ok()) return table.status();
  return RegistryReader(*table);
}

NameResult RegistryReader::Find(std::string_view name, shm::NamedPlace& place,
                                uint32_t* steps) const noexcept {
  if (!shm::IsValidName(name)) return NameResult::kInvalidName;
  const NameWords words = PackName(name);
  return FindPacked(words, HashName(words), place, steps);
}

NameResult RegistryReader::FindPacked(const NameWords& name, uint64_t hash, shm::NamedPlace& place,
                                      uint32_t* steps) const noexcept {
  uint64_t stale_link = 0;
  if (steps != nullptr) *steps = 0;
  for (uint32_t turn = 0; turn < kTurnsMax; ++turn) {
    const Walk walk = WalkChain(table_, name, hash);
    if (steps != nullptr) *steps += walk.steps;
    switch (walk.end) {
      case WalkEnd::kEnd:
        return NameResult::kNotFound;
      case WalkEnd::kFound:
        if (table_.view().Bytes(walk.place.offset, walk.place.size_bytes) == nullptr) {
          return NameResult::kCorrupt;
        }
        place = walk.place;
        return NameResult::kOk;
      case WalkEnd::kCorrupt:
        return NameResult::kCorrupt;
      case WalkEnd::kStale:
        // An entry leaves its chain before its generation goes up: no later walk meets that link.
        if (walk.stale_link == stale_link) return NameResult::kCorrupt;
        stale_link = walk.stale_link;
        break;
      case WalkEnd::kChanged:
        break;
    }
  }
  return NameResult::kBusy;
}

std::optional<BufferInfo> RegistryReader::Describe(uint32_t index) const {
  if (index >= table_.entries_max()) return std::nullopt;
  const EntryData& entry = table_.entry(index);
  for (uint32_t turn = 0; turn < kDescribeTurns; ++turn) {
    const uint64_t seen = entry.seen.load(std::memory_order_acquire);  // N1
    const StateWord state = StateWord::Unpack(seen);
    if (state.state == EntryState::kFree) return std::nullopt;
    BufferInfo info;
    info.place = ReadPlace(entry, index, state.generation);
    info.name = ReadName(entry);
    info.size_bytes = info.place.size_bytes;
    info.type_id = info.place.type_id;
    info.kind = info.place.kind;
    info.state = state.state;
    info.ephemeral = IsEphemeral(entry);
    const uint64_t creator = entry.creator.load(std::memory_order_acquire);  // N3
    info.creator_slot = static_cast<uint32_t>(creator);
    info.creator_generation = static_cast<uint32_t>(creator >> 32);
    info.created_ns = entry.created_ns.load(std::memory_order_acquire);  // N3
    info.holders = holders(index);
    if (entry.seen.load(std::memory_order_acquire) != seen) continue;  // N3, after the fields
    const uint64_t now = RealtimeNs();
    info.age = std::chrono::nanoseconds(now > info.created_ns ? now - info.created_ns : 0);
    return info;
  }
  return std::nullopt;
}

std::vector<BufferInfo> RegistryReader::List(bool* whole) const {
  std::vector<BufferInfo> list;
  for (uint32_t turn = 0; turn < kListTurns; ++turn) {
    list.clear();
    // Between two equal counts at most one `seen` changed, so either value of it is one moment.
    const uint64_t before = table_.data().changes.load(std::memory_order_acquire);  // N4
    for (uint32_t i = 0; i < table_.entries_max(); ++i) {
      if (auto info = Describe(i)) list.push_back(std::move(*info));
    }
    const uint64_t after = table_.data().changes.load(std::memory_order_acquire);  // N4
    if (whole != nullptr) *whole = after == before;
    if (after == before) break;
  }
  return list;
}

uint32_t RegistryReader::entry_count() const noexcept {
  uint32_t count = 0;
  for (uint32_t i = 0; i < table_.entries_max(); ++i) {
    const uint64_t seen = table_.entry(i).seen.load(std::memory_order_relaxed);  // a count
    if (StateWord::Unpack(seen).state != EntryState::kFree) ++count;
  }
  return count;
}

uint32_t RegistryReader::holders(uint32_t index) const noexcept {
  if (index >= table_.entries_max()) return 0;
  int count = 0;
  for (const shm::Word64& word : table_.holders(index)) {
    count += std::popcount(word.load(std::memory_order_relaxed));  // a count
  }
  return static_cast<uint32_t>(count);
}

}  // namespace thole::registry
