// The reference for the registry: entries, and which handles hold them.
#pragma once

#include <algorithm>
#include <map>
#include <set>

#include "machine.h"

namespace thole::proptests {

struct ModelEntry {
  uint64_t name;
  uint64_t size_bytes;
  bool ephemeral;
  uint64_t content;                      // what its creator wrote into it, if it came to that
  std::map<uint64_t, int> handles = {};  // and whose they are
  bool removed = false;                  // the name is gone, the memory is held
  bool operator==(const ModelEntry&) const = default;

  uint64_t holders() const {
    std::set<int> lives;
    for (const auto& [handle, life] : handles) lives.insert(life);
    return lives.size();
  }
};

struct RegistryModel {
  static constexpr size_t kEntriesMax = 5;
  std::vector<ModelEntry> entries = {};
  bool operator==(const RegistryModel&) const = default;

  ModelEntry* Find(uint64_t name) {
    for (ModelEntry& entry : entries) {
      if (entry.name == name && !entry.removed) return &entry;
    }
    return nullptr;
  }
  ModelEntry* HeldBy(uint64_t handle) {
    for (ModelEntry& entry : entries) {
      if (entry.handles.contains(handle)) return &entry;
    }
    return nullptr;
  }
  std::vector<uint64_t> HandlesOf(int life) const {
    std::vector<uint64_t> own;
    for (const ModelEntry& entry : entries) {
      for (const auto& [handle, holder] : entry.handles) {
        if (holder == life) own.push_back(handle);
      }
    }
    return own;
  }
  Answer CanCreate(uint64_t name) {
    if (Find(name) != nullptr) return Answer::kExists;
    return entries.size() < kEntriesMax ? Answer::kOk : Answer::kFull;
  }
  Answer Remove(uint64_t name) {
    ModelEntry* entry = Find(name);
    if (entry == nullptr) return Answer::kNotFound;
    entry->removed = true;
    LetGo();
    return Answer::kOk;
  }
  /// What nobody holds goes, unless its name stays.
  void LetGo() {
    std::erase_if(entries,
                  [](const auto& e) { return e.handles.empty() && (e.removed || e.ephemeral); });
  }
  void Gone(const std::vector<int>& lives) {
    for (ModelEntry& entry : entries) {
      std::erase_if(entry.handles, [&](const auto& handle) {
        return std::find(lives.begin(), lives.end(), handle.second) != lives.end();
      });
    }
    LetGo();
  }
};

}  // namespace thole::proptests
