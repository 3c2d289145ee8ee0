#include "weak_memory.h"

#include <algorithm>
#include <cstring>

namespace thole::shm::testing {
namespace {

// As the compilers number the memory orders; they may set higher bits.
constexpr int kOrderMask = 0x7fff;
constexpr int kConsume = 1;
constexpr int kAcquire = 2;
constexpr int kRelease = 3;
constexpr int kAcquireRelease = 4;
constexpr int kTotal = 5;
constexpr uint64_t kSpuriousFailureOneIn = 16;

bool Acquires(int order) {
  order &= kOrderMask;
  return order == kConsume || order == kAcquire || order == kAcquireRelease || order == kTotal;
}
bool Releases(int order) {
  order &= kOrderMask;
  return order == kRelease || order == kAcquireRelease || order == kTotal;
}
bool IsTotal(int order) { return (order & kOrderMask) == kTotal; }

void Join(WeakMemory::Clock& into, const WeakMemory::Clock& from) {
  for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

}  // namespace

WeakMemory::WeakMemory(const std::byte* image, uint64_t bytes,
                       std::function<void(const std::string&)> violate)
    : image_(image),
      violate_(std::move(violate)),
      word_at_(bytes / kGranule + 1),
      shadow_at_(bytes / kGranule + 1) {}

void WeakMemory::Begin(uint64_t seed) {
  for (const uint64_t granule : touched_) word_at_[granule] = shadow_at_[granule] = 0;
  touched_.clear();
  words_used_ = shadows_used_ = 0;
  kernel_.clear();
  for (uint32_t i = 0; i < kProcesses; ++i) {
    clocks_[i].fill(0);
    clocks_[i][i] = 1;
  }
  random_ = seed;
  stale_loads_ = 0;
}

uint64_t WeakMemory::Random(uint64_t limit) {  // splitmix64
  uint64_t z = (random_ += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (z ^ z >> 31) % limit;
}

uint64_t WeakMemory::Now(uint64_t at, uint32_t bytes) const {
  // Of fixed sizes: a call of memcpy would be shown to the simulator.
  uint64_t whole = 0;
  uint32_t half = 0;
  switch (bytes) {
    case 8:
      std::memcpy(&whole, image_ + at, 8);
      return whole;
    case 4:
      std::memcpy(&half, image_ + at, 4);
      return half;
    case 2:
      return static_cast<uint64_t>(image_[at]) | static_cast<uint64_t>(image_[at + 1]) << 8;
    default:
      return static_cast<uint64_t>(image_[at]);
  }
}

/// Whether the store, or that somebody saw it, happened before what `me` does now.
bool WeakMemory::Knows(uint32_t me, const Store& store) const {
  const Clock& mine = clocks_[me];
  if (store.by == kNobody || mine[store.by] >= store.time) return true;
  for (uint32_t i = 0; i < kProcesses; ++i) {
    if (store.first_seen[i] != 0 && mine[i] >= store.first_seen[i]) return true;
  }
  return false;
}

/// Null when the word is accessed in another size than before: then only its newest value counts.
WeakMemory::Word* WeakMemory::Find(uint64_t at, uint32_t bytes) {
  uint32_t& index = word_at_[at / kGranule];
  if (bytes < kGranule) return nullptr;
  if (index == 0) {
    if (words_used_ == words_.size()) words_.push_back(std::make_unique<Word>());
    Word& word = *words_[words_used_++];
    index = static_cast<uint32_t>(words_used_);
    touched_.push_back(at / kGranule);
    word.bytes = bytes;
    word.total_floor = 0;
    word.stores.clear();
    word.stores.emplace_back();
    word.stores.back().value = Now(at, bytes);
  }
  Word* word = words_[index - 1].get();
  return word->bytes == bytes ? word : nullptr;
}

size_t WeakMemory::Floor(uint32_t me, const Word& word, int order) const {
  size_t floor = word.stores.size() - 1;
  while (floor != 0 && !Knows(me, word.stores[floor])) --floor;
  return IsTotal(order) ? std::max(floor, word.total_floor) : floor;
}

void WeakMemory::See(uint32_t me, Word& word, size_t index, int order) {
  Store& store = word.stores[index];
  if (store.first_seen[me] == 0) store.first_seen[me] = clocks_[me][me];
  if (Acquires(order)) Join(clocks_[me], store.released);
  if (IsTotal(order)) word.total_floor = std::max(word.total_floor, index);
}

void WeakMemory::Append(uint32_t me, Word& word, uint64_t value, int order,
                        const Clock* inherited) {
  Store store;
  store.value = value;
  store.by = me;
  store.time = clocks_[me][me];
  if (inherited != nullptr) store.released = *inherited;
  if (Releases(order)) Join(store.released, clocks_[me]);
  if (word.stores.size() == kKept) {
    word.stores.erase(word.stores.begin());
    if (word.total_floor != 0) --word.total_floor;
  }
  word.stores.push_back(store);
  if (IsTotal(order)) word.total_floor = word.stores.size() - 1;
}

uint64_t WeakMemory::Load(uint32_t me, uint64_t at, uint32_t bytes, int order) {
  ++clocks_[me][me];
  NoteAtomic(me, at, bytes, false);
  Word* word = Find(at, bytes);
  if (word == nullptr) return Now(at, bytes);
  const size_t newest = word->stores.size() - 1;
  const size_t floor = Floor(me, *word, order);
  const bool old = floor != newest && Random(2) == 0;
  const size_t index = old ? floor + Random(newest - floor) : newest;
  if (index != newest) ++stale_loads_;
  See(me, *word, index, order);
  return word->stores[index].value;
}

void WeakMemory::Stored(uint32_t me, uint64_t at, uint32_t bytes, uint64_t value, int order) {
  ++clocks_[me][me];
  NoteAtomic(me, at, bytes, true);
  if (Word* word = Find(at, bytes)) Append(me, *word, value, order, nullptr);
}

void WeakMemory::Exchanged(uint32_t me, uint64_t at, uint32_t bytes, uint64_t value, int order) {
  ++clocks_[me][me];
  NoteAtomic(me, at, bytes, true);
  Word* word = Find(at, bytes);
  if (word == nullptr) return;
  See(me, *word, word->stores.size() - 1, order);
  const Clock inherited = word->stores.back().released;  // a release sequence goes on
  Append(me, *word, value, order, &inherited);
}

void WeakMemory::Compared(uint32_t me, uint64_t at, uint32_t bytes, int failure_order) {
  ++clocks_[me][me];
  NoteAtomic(me, at, bytes, false);
  if (Word* word = Find(at, bytes)) See(me, *word, word->stores.size() - 1, failure_order);
}

bool WeakMemory::FailsByOldValue(uint32_t me, uint64_t at, uint32_t bytes, uint64_t expected,
                                 bool weak, int failure_order, uint64_t& seen) {
  Word* word = Find(at, bytes);
  if (word == nullptr) return false;
  const size_t newest = word->stores.size() - 1;
  const size_t floor = Floor(me, *word, failure_order);
  const size_t index = floor + Random(newest - floor + 1);
  const bool for_nothing = weak && Random(kSpuriousFailureOneIn) == 0;
  if (word->stores[index].value == expected ? !for_nothing : index == newest) return false;
  ++clocks_[me][me];
  NoteAtomic(me, at, bytes, false);
  if (index != newest) ++stale_loads_;
  See(me, *word, index, failure_order);
  seen = word->stores[index].value;
  return true;
}

WeakMemory::Shadow& WeakMemory::ShadowOf(uint64_t at) {
  uint32_t& index = shadow_at_[at / kGranule];
  if (index == 0) {
    if (shadows_used_ == shadows_.size()) shadows_.push_back(std::make_unique<Shadow>());
    *shadows_[shadows_used_++] = Shadow{};
    index = static_cast<uint32_t>(shadows_used_);
    touched_.push_back(at / kGranule);
  }
  return *shadows_[index - 1];
}

void WeakMemory::CheckOrdered(uint32_t me, const Clock& times, const char* mine, const char* theirs,
                              uint64_t at) {
  for (uint32_t i = 0; i < kProcesses; ++i) {
    if (i == me || times[i] <= clocks_[me][i]) continue;
    violate_("a data race at offset " + std::to_string(at) + ": process " + std::to_string(me) +
             " does " + mine + ", process " + std::to_string(i) + " did " + theirs +
             ", and nothing orders the two");
  }
}

void WeakMemory::NoteAtomic(uint32_t me, uint64_t at, uint32_t bytes, bool write) {
  for (uint64_t granule = at & ~(kGranule - 1); granule < at + bytes; granule += kGranule) {
    Shadow& shadow = ShadowOf(granule);
    const char* mine = write ? "an atomic store" : "an atomic load";
    CheckOrdered(me, shadow.plain_writes, mine, "a plain store", granule);
    if (write) CheckOrdered(me, shadow.plain_reads, mine, "a plain load", granule);
    (write ? shadow.atomic_writes : shadow.atomic_reads)[me] = clocks_[me][me];
  }
}

void WeakMemory::Plain(uint32_t me, uint64_t at, uint64_t bytes, bool write) {
  ++clocks_[me][me];
  for (uint64_t granule = at & ~(kGranule - 1); granule < at + bytes; granule += kGranule) {
    Shadow& shadow = ShadowOf(granule);
    const char* mine = write ? "a plain store" : "a plain load";
    CheckOrdered(me, shadow.plain_writes, mine, "a plain store", granule);
    CheckOrdered(me, shadow.atomic_writes, mine, "an atomic store", granule);
    if (write) {
      CheckOrdered(me, shadow.plain_reads, mine, "a plain load", granule);
      CheckOrdered(me, shadow.atomic_reads, mine, "an atomic load", granule);
      // Whoever loads the word atomically is ordered after this, so older stores are out of sight;
      // the word begins anew with what it holds then.
      word_at_[granule / kGranule] = 0;
      word_at_[(granule & ~uint64_t{7}) / kGranule] = 0;
    }
    (write ? shadow.plain_writes : shadow.plain_reads)[me] = clocks_[me][me];
  }
}

void WeakMemory::Give(uint32_t me, uint64_t key) {
  ++clocks_[me][me];
  Join(kernel_[key], clocks_[me]);
}

void WeakMemory::Take(uint32_t me, uint64_t key) {
  ++clocks_[me][me];
  if (const auto given = kernel_.find(key); given != kernel_.end()) {
    Join(clocks_[me], given->second);
  }
}

}  // namespace thole::shm::testing
