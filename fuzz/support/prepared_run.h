// PreparedRuns: simulated runs that begin where their processes are to run together. What it took
// to come there is kept - the image and the run's memory - and copied back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "image_copy.h"
#include "sim_run.h"

namespace thole::fuzz {

using shm::testing::Program;
using shm::testing::SimOutcome;
using shm::testing::SimReplay;
using shm::testing::SimRun;
using shm::testing::SimScript;
using shm::testing::SimStage;

class PreparedRuns {
 public:
  explicit PreparedRuns(uint64_t image_bytes_max, std::span<uint8_t> counters);

  /// Runs it once from the very beginning: what code keeps for good is made outside of the run's
  /// memory.
  void WarmUp(const Program& program);
  /// `program` is only asked for where nothing is kept under this key, to which the seed and what
  /// the script demands are added.
  template <typename MakeProgram>
  SimOutcome Run(const std::string& key, uint64_t seed, const SimScript& script,
                 MakeProgram program) {
    const std::string whole_key =
        key + '/' + std::to_string(seed) + '/' + std::to_string(SimRun::RepairersFor(script));
    auto& prepared = all_[whole_key];
    if (prepared == nullptr) prepared = Prepare(program(), seed, script);
    return RunOne(*prepared, script);
  }

 private:
  static constexpr size_t kKeptBytesMax = size_t{256} << 20;

  struct Prepared {
    Program program;
    std::vector<std::byte> memory;
    ImageCopy image;
  };
  std::unique_ptr<Prepared> Prepare(Program program, uint64_t seed, const SimScript& script);
  SimOutcome RunOne(const Prepared& prepared, const SimScript& script);
  void PutBack(const Prepared& prepared);
  /// Whether a run from there ended with the same bytes before.
  bool EndedSoBefore(const Prepared& prepared, uint32_t died);
  std::span<std::byte> image() { return {stage_.view(0), stage_.bytes_max()}; }
  void ExpectNothingKept() const;

  SimStage stage_;
  shm::testing::SimMeetings meetings_;
  std::map<std::string, std::unique_ptr<Prepared>> all_;
  const Prepared* there_now_ = nullptr;  // of whom the image was last
  std::vector<uint64_t> ends_seen_;      // a hash table of hashes; what was in a place is forgotten
  size_t kept_bytes_ = 0;
  uint64_t runs_ = 0;
};

}  // namespace thole::fuzz
