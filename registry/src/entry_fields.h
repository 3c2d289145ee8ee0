// Reading and writing the fields of one entry. Readers check the entry's `seen` around it.
#pragma once

#include <ctime>
#include <string>

#include "thole/registry/registry_data.h"
#include "thole/shm/name_source.h"

namespace thole::registry {

/// What Publish writes into a FREE entry.
struct NewEntry {
  NameWords name{};
  uint64_t hash = 0;
  uint64_t size_bytes = 0;
  uint64_t type_id = 0;
  uint32_t kind = 0;
  uint32_t flags = 0;
  uint64_t creator = 0;
  uint64_t created_ns = 0;
};

/// The clock of `created_ns`.
inline uint64_t RealtimeNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

inline bool HasName(const EntryData& entry, const NameWords& name, uint64_t hash) {
  if (entry.hash.load(std::memory_order_acquire) != hash) return false;  // N3
  for (uint32_t i = 0; i < kNameWords; ++i) {
    if (entry.name[i].load(std::memory_order_acquire) != name[i]) return false;  // N3
  }
  return true;
}

inline shm::NamedPlace ReadPlace(const EntryData& entry, uint32_t index, uint32_t generation) {
  shm::NamedPlace place;
  place.offset = entry.offset.load(std::memory_order_acquire);          // N3
  place.size_bytes = entry.size_bytes.load(std::memory_order_acquire);  // N3
  place.type_id = entry.type_id.load(std::memory_order_acquire);        // N3
  place.kind =
      static_cast<uint32_t>(entry.kind_and_flags.load(std::memory_order_acquire) >> 32);  // N3
  place.index = index;
  place.generation = generation;
  return place;
}

inline uint32_t ReadFlags(const EntryData& entry) {
  return static_cast<uint32_t>(entry.kind_and_flags.load(std::memory_order_acquire));  // N3
}
inline bool IsEphemeral(const EntryData& entry) { return (ReadFlags(entry) & kEphemeralFlag) != 0; }

inline NameWords ReadNameWords(const EntryData& entry) {
  NameWords words;
  for (uint32_t i = 0; i < kNameWords; ++i) {
    words[i] = entry.name[i].load(std::memory_order_acquire);  // N3
  }
  return words;
}

/// The name, or "(damaged)".
inline std::string ReadName(const EntryData& entry) {
  const NameWords words = ReadNameWords(entry);
  std::string name;
  for (uint32_t i = 0; i < kNameBytesMax; ++i) {
    const char c = static_cast<char>(words[i / 8] >> (i % 8 * 8));
    if (c == 0) break;
    name += c;
  }
  return shm::IsValidName(name) && PackName(name) == words ? name : "(damaged)";
}

/// Fills a FREE entry: no log, nobody believes its fields before the COMMIT that follows.
inline void WriteFields(EntryData& entry, const NewEntry& fields, uint64_t offset) {
  entry.hash.store(fields.hash, std::memory_order_release);  // N3
  for (uint32_t i = 0; i < kNameWords; ++i) {
    entry.name[i].store(fields.name[i], std::memory_order_release);  // N3
  }
  entry.offset.store(offset, std::memory_order_release);                 // N3
  entry.size_bytes.store(fields.size_bytes, std::memory_order_release);  // N3
  entry.type_id.store(fields.type_id, std::memory_order_release);        // N3
  entry.creator.store(fields.creator, std::memory_order_release);        // N3
  entry.created_ns.store(fields.created_ns, std::memory_order_release);  // N3
  entry.kind_and_flags.store(uint64_t{fields.kind} << 32 | fields.flags,
                             std::memory_order_release);  // N3
}

}  // namespace thole::registry
