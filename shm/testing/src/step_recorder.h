// StepRecorder: runs code and notes what every single machine instruction does to a mapping.
//
// The mapping is write-protected. An instruction that stores to it faults; the page is opened,
// the trap flag set, the instruction runs again alone, and the trap after it notes the words that
// changed and closes the page. When it comes again it runs through a second mapping
// (displaced_store.h) and its words are compared at the next fault. Instructions that do not store
// to the mapping cannot change its bytes and run at full speed. Nothing is allocated while the code
// runs, so it may be inside malloc itself.
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
    uint64_t instruction;  // which store to the mapping, counted from 1
    uint64_t address;      // of the instruction, as an offset in the executable
    uint32_t word;         // offset in the mapping / 8
    uint32_t unused;
    uint64_t value;
  };

  /// Mappings of up to `bytes_max`, `changes_max` changes. One recorder at a time is in use.
  StepRecorder(uint64_t bytes_max, uint64_t changes_max);
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  /// Runs `work`. `base` is page-aligned and shared memory. The changes of the run before are
  /// forgotten.
  void Record(std::byte* base, uint64_t bytes, const std::function<void()>& work);

  /// In the order in which they happened; those of one instruction are neighbours.
  std::span<const Change> changes() const { return {changes_, change_count_}; }
  /// Instructions that stored to the mapping, also what was there already.
  uint64_t instructions() const { return instructions_; }
  /// Those of them that ran through the second mapping.
  uint64_t displaced() const { return displaced_; }
  /// More changes than there was room for.
  bool overflowed() const { return overflowed_; }

 private:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint32_t kOpenMax = 8;  // pages that one instruction stores to
  enum class Fault { kForeign, kStep, kDisplaced };
  /// How the instruction that faulted shall go on.
  Fault OnFault(const std::byte* address, uint64_t instruction);
  void OnTrap(uint64_t next);
  void ComparePending();
  void ComparePage(uint64_t page);
  void CompareWord(uint64_t at, uint64_t address);
  bool MapAlias();

  const uint64_t bytes_max_;
  const uint64_t changes_max_;
  std::byte* mirror_ = nullptr;  // the mapping as it was after the last instruction
  Change* changes_ = nullptr;
  uint64_t change_count_ = 0;
  uint64_t instructions_ = 0;
  uint64_t displaced_ = 0;
  bool overflowed_ = false;
  std::byte* base_ = nullptr;
  uint64_t bytes_ = 0;
  uint64_t instruction_ = 0;      // that runs alone
  uint64_t open_[kOpenMax] = {};  // its pages
  uint32_t open_count_ = 0;
  bool alias_ = false;       // there is a second mapping
  bool pending_ = false;     // a displaced store was not compared yet
  uint64_t pending_at_ = 0;  // where it faulted, in the mapping
  uint64_t pending_instruction_ = 0;

  friend struct StepSignals;
};

}  // namespace thole::shm::testing
