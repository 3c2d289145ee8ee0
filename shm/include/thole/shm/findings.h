// Findings: what an audit found. Empty = the bytes are as they must be.
//
//   #include <thole/shm/findings.h>
//   bool Clean(const thole::shm::Findings& findings) { return findings.empty(); }
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace thole::shm {

/// One broken invariant: its number in the `_data.h` that states it, where, and a sentence.
struct Finding {
  std::string invariant;  // "S1", "A3", ...
  uint64_t offset = 0;
  std::string text;
};

/// Collects findings; keeps the first 1,000 and counts the rest. Not thread-safe.
class Findings {
 public:
  static constexpr size_t kKept = 1000;
  void Add(std::string_view invariant, uint64_t offset, std::string_view text) {
    ++count_;
    if (kept_.size() < kKept) kept_.push_back({std::string(invariant), offset, std::string(text)});
  }
  bool empty() const { return count_ == 0; }
  uint64_t count() const { return count_; }
  const std::vector<Finding>& kept() const { return kept_; }
  /// "none", or a line per finding.
  std::string ToString() const;

 private:
  uint64_t count_ = 0;
  std::vector<Finding> kept_;
};

/// Who holds which block, gathered from every component; the heap's audit wants exactly one each.
class Holders {
 public:
  void Add(uint64_t block, std::string_view holder) {
    if (block != 0) by_block_[block].emplace_back(holder);
  }
  const std::unordered_map<uint64_t, std::vector<std::string>>& by_block() const {
    return by_block_;
  }

 private:
  std::unordered_map<uint64_t, std::vector<std::string>> by_block_;
};

}  // namespace thole::shm
