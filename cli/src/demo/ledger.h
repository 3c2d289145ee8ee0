// The ledger: which chunks of a feeder have arrived. Its memory is bounded by how far chunks
// overtake one another.
#pragma once

#include <cstdint>
#include <deque>

namespace thole::cli::demo {

enum class Arrival {
  kNew,
  kDuplicate,
  kImpossible,  ///< so far ahead of all others that it cannot have been sent
};

class Ledger {
 public:
  /// Chunk number `sequence` arrived.
  Arrival Mark(uint64_t sequence);
  /// Every chunk below `sent` arrived.
  bool HasAll(uint64_t sent) const { return complete_ >= sent; }
  /// How many chunks below `sent` did not.
  uint64_t CountMissing(uint64_t sent) const;

 private:
  uint64_t complete_ = 0;          // every number below has arrived
  std::deque<bool> out_of_order_;  // of those from complete_ on
};

}  // namespace thole::cli::demo
