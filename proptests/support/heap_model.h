// The reference for the heap: which blocks there are, whose, and where. Says nothing about how the
// free ones are kept.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace thole::proptests {

inline constexpr uint64_t kShelf = 8;  // holders that outlive their participants: keys 0 .. 7

struct ModelBlock {
  int life;        // 0: on the shelf
  uint64_t asked;  // its contents so far are its holder's
  uint64_t align;
  uint64_t offset = 0;      // 0: not seen yet, as after a death inside the call
  uint64_t size_bytes = 0;  // usable ones; 0: not seen yet
  bool operator==(const ModelBlock&) const = default;
};

struct HeapModel {
  static constexpr uint64_t kHeaderBytes = 16;
  std::map<uint64_t, ModelBlock> blocks = {};  // by shelf place or number
  bool operator==(const HeapModel&) const = default;

  bool IsFree(uint64_t place) const { return !blocks.contains(place); }
  std::vector<uint64_t> HeldBy(int life) const {
    std::vector<uint64_t> held;
    for (const auto& [key, block] : blocks) {
      if (block.life == life) held.push_back(key);
    }
    return held;
  }
  uint64_t UsedBytes() const {
    uint64_t used = 0;
    for (const auto& [key, block] : blocks) used += block.size_bytes + kHeaderBytes;
    return used;
  }
  bool Overlap() const {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (const auto& [key, block] : blocks) {
      ranges.emplace_back(block.offset, block.offset + block.size_bytes + kHeaderBytes);
    }
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) return true;
    }
    return false;
  }
  /// What is seen of a block must be what was known of it, and enough.
  static bool See(ModelBlock& block, uint64_t offset, uint64_t size_bytes) {
    if (block.offset != 0 && block.offset != offset) return false;
    if (block.size_bytes != 0 && block.size_bytes != size_bytes) return false;
    block.offset = offset;
    block.size_bytes = size_bytes;
    return offset != 0 && offset % block.align == 0 && size_bytes >= block.asked;
  }
  void Gone(const std::vector<int>& lives) {
    std::erase_if(blocks, [&](const auto& entry) {
      return std::find(lives.begin(), lives.end(), entry.second.life) != lives.end();
    });
  }
};

}  // namespace thole::proptests
