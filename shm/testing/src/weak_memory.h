// WeakMemory: what the C++ memory model lets a load return, for the atomics of one image.
//
// Every store of a run is kept for a while. A load may return any store that is not older than what
// its process must know: stores and loads that happen before it. Happens-before follows from
// program order, from acquire loads that read release stores (or read-modify-writes behind them),
// and from the kernel: a byte lock, a wake-up. Knowledge is a vector clock of each process; each
// release store carries its writer's. Plain accesses are not chosen for: they must be ordered with
// every access that conflicts with them, else it is a data race.
//
// What it does not show: the order in which stores to one word happen is the order of execution,
// so no store slips in before an older one; and no load returns a store that comes later. Seq_cst
// loads return nothing older than what a seq_cst access of the same word has stored or seen, as
// C++20 demands; fences do not exist here, nor in thole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace thole::shm::testing {

class WeakMemory {
 public:
  static constexpr uint32_t kProcesses = 16;
  using Clock = std::array<uint32_t, kProcesses>;

  /// `violate` is told about a race and does not return.
  WeakMemory(const std::byte* image, uint64_t bytes,
             std::function<void(const std::string&)> violate);

  /// What the image holds now is known to all; `seed` decides what loads return.
  void Begin(uint64_t seed);
  /// How many loads returned something old in this run.
  uint64_t stale_loads() const { return stale_loads_; }

  // By process `me`, at offset `at`, of `bytes` 1, 2, 4 or 8; `order` as the compiler numbers them.
  uint64_t Load(uint32_t me, uint64_t at, uint32_t bytes, int order);
  /// Called before the store happens.
  void Stored(uint32_t me, uint64_t at, uint32_t bytes, uint64_t value, int order);
  /// A read-modify-write, which always sees the newest store: before it, and after it, when the
  /// word holds `value`, or after a comparison that failed.
  void BeginExchange(uint64_t at, uint32_t bytes) { Find(at, bytes); }
  void Compared(uint32_t me, uint64_t at, uint32_t bytes, int failure_order);
  void Exchanged(uint32_t me, uint64_t at, uint32_t bytes, uint64_t value, int order);
  /// Whether a compare-exchange fails here although the newest store is `expected`, or fails for
  /// another value than the newest: then `seen` is what it read. A weak one may see `expected`.
  bool FailsByOldValue(uint32_t me, uint64_t at, uint32_t bytes, uint64_t expected, bool weak,
                       int failure_order, uint64_t& seen);
  void Plain(uint32_t me, uint64_t at, uint64_t bytes, bool write);
  /// Through the kernel: what is given away under a key, and taken later, happened before.
  void Give(uint32_t me, uint64_t key);
  void Take(uint32_t me, uint64_t key);

 private:
  static constexpr size_t kKept = 12;       // stores of a word
  static constexpr uint32_t kNobody = 255;  // who stored what was there at the beginning
  static constexpr uint64_t kGranule = 4;   // bytes

  struct Store {
    uint64_t value = 0;
    Clock released{};    // all zero: nothing
    Clock first_seen{};  // by process: its own time
    uint32_t by = kNobody;
    uint32_t time = 0;
  };
  struct Word {
    uint32_t bytes = 0;
    std::vector<Store> stores;  // oldest first
    size_t total_floor = 0;     // index of the newest that a seq_cst access stored or saw
  };
  struct Shadow {  // times by process, of the last access of each kind
    Clock plain_reads{};
    Clock plain_writes{};
    Clock atomic_reads{};
    Clock atomic_writes{};
  };

  bool Knows(uint32_t me, const Store& store) const;
  Word* Find(uint64_t at, uint32_t bytes);
  size_t Floor(uint32_t me, const Word& word, int order) const;
  void See(uint32_t me, Word& word, size_t index, int order);
  void Append(uint32_t me, Word& word, uint64_t value, int order, const Clock* inherited);
  Shadow& ShadowOf(uint64_t at);
  void CheckOrdered(uint32_t me, const Clock& times, const char* mine, const char* theirs,
                    uint64_t at);
  void NoteAtomic(uint32_t me, uint64_t at, uint32_t bytes, bool write);
  uint64_t Now(uint64_t at, uint32_t bytes) const;
  uint64_t Random(uint64_t limit);

  const std::byte* image_;
  std::function<void(const std::string&)> violate_;
  uint64_t random_ = 0;
  uint64_t stale_loads_ = 0;
  std::array<Clock, kProcesses> clocks_{};
  std::unordered_map<uint64_t, Clock> kernel_;  // by key
  // By granule: 1 + index into the pools below, 0 = not touched in this run.
  std::vector<uint32_t> word_at_;
  std::vector<uint32_t> shadow_at_;
  std::vector<std::unique_ptr<Word>> words_;
  std::vector<std::unique_ptr<Shadow>> shadows_;
  size_t words_used_ = 0;
  size_t shadows_used_ = 0;
  std::vector<uint64_t> touched_;  // granules
};

}  // namespace thole::shm::testing
