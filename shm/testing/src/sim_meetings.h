// SimMeetings: which places in the code met in a run - one that stored to a word, and one by which
// another process touched it next. A fuzzer of schedules looks for meetings that are new.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

extern "C" const char __executable_start;  // of the linker

namespace thole::shm::testing {

class SimMeetings {
 public:
  /// Each meeting sets one of the counters, chosen by a hash; the same in every run of a program.
  SimMeetings(uint64_t image_bytes_max, std::span<uint8_t> counters)
      : counters_(counters), words_(image_bytes_max / kWordBytes + 1) {}
  void BeginRun() { ++run_; }
  void Note(uint32_t fiber, uint64_t offset, bool write, const void* code) {
    Last& last = words_[offset / kWordBytes];
    // Relative to the program, which lies elsewhere in another process.
    const auto place = static_cast<uint32_t>(std::bit_cast<uint64_t>(code) -
                                             std::bit_cast<uint64_t>(&__executable_start));
    if (last.run == run_ && last.fiber != fiber) {
      const uint64_t hash = (uint64_t{last.place} * 0x9e3779b97f4a7c15 ^ place) * kSpread;
      counters_[(hash >> 32) % counters_.size()] = 1;
    }
    if (write) last = {run_, place, fiber};
  }

 private:
  static constexpr uint64_t kWordBytes = 8;
  static constexpr uint64_t kSpread = 0xbf58476d1ce4e5b9;
  struct Last {  // who stored
    uint32_t run = 0;
    uint32_t place = 0;
    uint32_t fiber = 0;
  };
  std::span<uint8_t> counters_;
  uint32_t run_ = 0;
  std::vector<Last> words_;
};

}  // namespace thole::shm::testing
