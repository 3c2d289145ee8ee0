// StepRecorder: runs code one machine instruction at a time and notes what it does to a mapping.
//
// The trap flag raises SIGTRAP after every instruction. Pages of the mapping are write-protected
// first: a write faults once, its page is then watched, and only watched pages are compared after
// each instruction. Nothing is allocated while the code runs, so it may be inside malloc itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace thole::shm::testing {

class StepRecorder {
 public:
  /// A word of the mapping that an instruction changed.
  struct Change {
    uint64_t instruction;  // counted from 1
    uint64_t address;      // of the instruction after it, as an offset in the executable
    uint32_t word;         // offset in the mapping / 8
    uint32_t unused;
    uint64_t value;
  };

  /// Mappings of up to `bytes_max`, `changes_max` changes. One recorder at a time is in use.
  StepRecorder(uint64_t bytes_max, uint64_t changes_max);
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  /// Runs `work`. `base` is page-aligned. The changes of the run before are forgotten.
  void Record(std::byte* base, uint64_t bytes, const std::function<void()>& work);

  /// In the order in which they happened; those of one instruction are neighbours.
  std::span<const Change> changes() const { return {changes_, change_count_}; }
  uint64_t instructions() const { return instructions_; }
  /// More changes than there was room for.
  bool overflowed() const { return overflowed_; }

 private:
  static constexpr uint64_t kPage = 4096;
  static void OnTrap(int signal, void* info, void* context);
  static bool OnFault(void* address);
  void Protect(int protection) const;
  void Watch(uint64_t page);
  void ComparePage(uint64_t page, uint64_t address);

  const uint64_t bytes_max_;
  const uint64_t changes_max_;
  std::byte* mirror_ = nullptr;  // the mapping as it was after the last instruction
  Change* changes_ = nullptr;
  uint32_t* watched_ = nullptr;  // pages
  uint64_t change_count_ = 0;
  uint64_t watched_count_ = 0;
  uint64_t instructions_ = 0;
  bool overflowed_ = false;
  std::byte* base_ = nullptr;
  uint64_t bytes_ = 0;

  friend struct StepSignals;
};

}  // namespace thole::shm::testing
