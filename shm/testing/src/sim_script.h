// SimScript: an order of accesses written down, and what a run says about where others branch off.
//
// Under a script nothing is left to chance: a process goes on until it sleeps, hands over, ends or
// dies, then the next one in the order of their numbers does. Events interfere with that: before
// access `at`, counted over all processes, the running one makes room for another or dies.
//
// As text, which a replay string carries: "1,17>2,33X,50x" - process 1 begins; before access 17
// process 2 goes on; whoever runs at access 33 dies and a repairer begins at once; whoever runs at
// access 50 dies, and is repaired when the others are done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace thole::shm::testing {

struct SimEvent {
  enum class Kind : char { kSwitch = '>', kDie = 'x', kDieRepaired = 'X' };
  uint64_t at = 0;
  Kind kind = Kind::kSwitch;
  uint32_t to = 0;  // kSwitch
  friend bool operator==(const SimEvent&, const SimEvent&) = default;
};

struct SimScript {
  uint32_t first = 1;
  std::vector<SimEvent> events;  // by `at`, which grows

  std::string ToString() const;
  static std::optional<SimScript> Parse(std::string_view text);
};

/// What could be done before an access of a run that followed a script.
struct SimPoint {
  uint8_t fiber = 0;
  bool may_switch = false;  // another order would not be the same as one that switches later
  bool may_die = false;     // likewise: the access stores, or enters the kernel
  uint32_t ready = 0;       // bits of the others that could go on
};

/// The words that two living processes touch, at least one of them storing. A switch before any
/// other access can as well come later, since nobody sees the difference. Lives in memory that the
/// children of a harness share, and only grows: what a run finds is known to all later ones.
class ConflictMap {
 public:
  explicit ConflictMap(uint64_t bytes);
  ~ConflictMap();
  ConflictMap(const ConflictMap&) = delete;
  ConflictMap& operator=(const ConflictMap&) = delete;
  bool Contains(uint64_t word) const { return shared_[1 + word] != 0; }
  void Add(uint64_t word);
  /// How many words it has.
  uint64_t size() const { return shared_[0]; }

 private:
  uint64_t words_;
  uint32_t* shared_;
};

/// Who touched what in one run, as far as it is still alive.
class ConflictFinder {
 public:
  void Begin(ConflictMap* map, uint64_t bytes);
  bool active() const { return map_ != nullptr; }
  /// Whether one of the words is in conflict.
  bool Note(uint32_t fiber, uint32_t dead, uint64_t offset, uint64_t bytes, bool write);

 private:
  struct Touched {
    uint32_t readers = 0;
    uint32_t writers = 0;
  };
  ConflictMap* map_ = nullptr;
  std::vector<Touched> words_;
  std::vector<uint64_t> dirty_;
};

}  // namespace thole::shm::testing
