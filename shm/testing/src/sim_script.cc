#include "sim_script.h"

#include <sys/mman.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "run_heap.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kWordBytes = 8;

bool ReadNumber(std::string_view& text, uint64_t& number) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  return true;
}

}  // namespace

std::string SimScript::ToString() const {
  std::string text = std::to_string(first);
  for (const SimEvent& event : events) {
    text += "," + std::to_string(event.at) + static_cast<char>(event.kind);
    if (event.kind == SimEvent::Kind::kSwitch) text += std::to_string(event.to);
  }
  return text;
}

std::optional<SimScript> SimScript::Parse(std::string_view text) {
  SimScript script;
  uint64_t number = 0;
  if (!ReadNumber(text, number)) return std::nullopt;
  script.first = static_cast<uint32_t>(number);
  while (!text.empty()) {
    SimEvent event;
    if (text[0] != ',') return std::nullopt;
    text.remove_prefix(1);
    if (!ReadNumber(text, event.at) || text.empty()) return std::nullopt;
    if (std::string_view(">xX").find(text[0]) == std::string_view::npos) return std::nullopt;
    event.kind = static_cast<SimEvent::Kind>(text[0]);
    text.remove_prefix(1);
    if (event.kind == SimEvent::Kind::kSwitch) {
      if (!ReadNumber(text, number)) return std::nullopt;
      event.to = static_cast<uint32_t>(number);
    }
    script.events.push_back(event);
  }
  return script;
}

ConflictMap::ConflictMap(uint64_t bytes) : words_(bytes / kWordBytes + 1) {
  void* memory = mmap(nullptr, (1 + words_) * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the map of conflicts");
    std::abort();
  }
  shared_ = static_cast<uint32_t*>(memory);
}

ConflictMap::~ConflictMap() { munmap(shared_, (1 + words_) * sizeof(uint32_t)); }

void ConflictMap::Add(uint64_t word) {
  if (Contains(word)) return;
  shared_[1 + word] = 1;
  ++shared_[0];
}

void ConflictFinder::Begin(ConflictMap* map, uint64_t bytes) {
  map_ = map;
  if (map == nullptr) return;
  words_.resize(bytes / kWordBytes + 1);
  for (const uint64_t word : dirty_) words_[word] = {};
  dirty_.clear();
}

bool ConflictFinder::Note(uint32_t fiber, uint32_t dead, uint64_t offset, uint64_t bytes,
                          bool write) {
  const uint32_t me = 1u << fiber;
  bool found = false;
  for (uint64_t word = offset / kWordBytes; word * kWordBytes < offset + bytes; ++word) {
    Touched& touched = words_[word];
    if ((touched.readers | touched.writers) == 0) {
      const OutsideRunHeap outside;
      dirty_.push_back(word);
    }
    const uint32_t others = (write ? touched.readers | touched.writers : touched.writers);
    if ((others & ~me & ~dead) != 0) map_->Add(word);
    (write ? touched.writers : touched.readers) |= me;
    found = found || map_->Contains(word);
  }
  return found;
}

}  // namespace thole::shm::testing
