#include "schedule.h"

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "byte_source.h"
#include "prepared_run.h"
#include "thole/shm/testing/systematic.h"

// libFuzzer's; where it is not linked in nobody mutates.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max)
    __attribute__((weak));

namespace thole::fuzz {
namespace {

using shm::testing::Operation;
using shm::testing::Random;
using shm::testing::Rows;
using shm::testing::SimEvent;

constexpr size_t kEventsMax = 48;
constexpr uint64_t kStepMax = 0x800;
constexpr uint64_t kRowsMax = 3;
constexpr uint64_t kRowMax = 3;
constexpr uint64_t kSeeds = 32;  // of what bodies choose: few, so that what they begin with is kept
constexpr size_t kRowsBytes = 1 + kRowsMax * (1 + kRowMax);
constexpr size_t kHeadBytes = 1 + 2 + kRowsBytes + 1 + 1;
constexpr size_t kEventBytes = 3;
constexpr size_t kMeetings = 16 << 10;

// libFuzzer takes these for coverage as well.
__attribute__((section("__libfuzzer_extra_counters"))) uint8_t meeting_counters[kMeetings];

enum Kind : uint8_t { kRows, kMoreRows, kProgram, kAlone, kKinds };

/// All that can run, in order of registration.
class Repertoire {
 public:
  Repertoire()
      : programs_(shm::testing::Programs()),
        alone_(shm::testing::AloneProgramsOf(shm::testing::Operations())) {
    // Components whose operations cannot stand in rows have programs of their own for that.
    for (auto& group : shm::testing::OperationsByWorld(shm::testing::Operations())) {
      if (!group[0]->joins_itself && MayStandInRows(*group[0])) groups_.push_back(std::move(group));
    }
    if (programs_.empty() && alone_.empty()) std::abort();
  }
  const std::vector<Program>& programs() const { return programs_; }
  const std::vector<Program>& alone() const { return alone_; }
  uint64_t ImageBytesMax() const {
    uint64_t most = 0;
    for (const auto* programs : {&programs_, &alone_}) {
      for (const Program& program : *programs) {
        most = std::max(most, program.make_world()->segment_bytes());
      }
    }
    return most;
  }
  /// Empty when this component has none.
  Rows RowsFrom(uint16_t which, ByteSource input) const {
    if (groups_.empty()) return {};
    const auto& group = groups_[which % groups_.size()];
    Rows rows(2 + input.Below(kRowsMax - 1));
    for (auto& row : rows) {
      const uint64_t operations = 1 + input.Below(kRowMax);
      for (uint64_t i = 0; i < operations; ++i) {
        row.push_back(group[input.Byte() % group.size()]);
      }
    }
    return rows;
  }

 private:
  /// comm's operations prepare for themselves alone: one closes the channel that another one uses.
  static bool MayStandInRows(const Operation& operation) { return operation.component != "comm"; }

  const std::vector<Program>& programs_;
  const std::vector<Program> alone_;
  std::vector<std::vector<const Operation*>> groups_;
};

SimScript ScriptFrom(ByteSource& input, uint32_t processes) {
  SimScript script;
  script.first = 1 + static_cast<uint32_t>(input.Below(processes));
  uint64_t at = 0;
  while (!input.empty() && script.events.size() < kEventsMax) {
    at += 1 + input.Number<uint16_t>() % kStepMax;
    const auto what = static_cast<uint32_t>(input.Below(8));
    SimEvent event{at};
    if (what < 6) event.to = 1 + what;
    if (what == 6) event.kind = SimEvent::Kind::kDie;
    if (what == 7) event.kind = SimEvent::Kind::kDieRepaired;
    script.events.push_back(event);
  }
  return script;
}

class Stage {
 public:
  Stage() : runs_(repertoire_.ImageBytesMax(), meeting_counters) {
    // What is kept comes and goes by some hundred kilobytes: none of it goes back to the kernel.
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    for (const auto* programs : {&repertoire_.programs(), &repertoire_.alone()}) {
      for (const Program& program : *programs) runs_.WarmUp(program);
    }
  }

  void Run(ByteSource input) {
    const uint64_t kind = input.Below(kKinds);
    const auto which = input.Number<uint16_t>();
    const ByteSource of_rows(input.Bytes(kRowsBytes));
    if (kind == kRows || kind == kMoreRows) {
      const Rows rows = repertoire_.RowsFrom(which, of_rows);
      if (!rows.empty()) return RunRows(rows, input);
    }
    const bool alone = repertoire_.programs().empty() || kind == kAlone;
    const auto& programs = alone ? repertoire_.alone() : repertoire_.programs();
    const Program& program = programs[which % programs.size()];
    RunProgram(program.name, program.processes, input, [&] { return program; });
  }

 private:
  void RunRows(const Rows& rows, ByteSource& input) {
    RunProgram(shm::testing::RowsName(rows), static_cast<uint32_t>(rows.size()), input,
               [&] { return shm::testing::RowsProgramOf(rows); });
  }

  template <typename MakeProgram>
  void RunProgram(const std::string& name, uint32_t processes, ByteSource& input,
                  MakeProgram make_program) {
    const uint64_t seed = input.Below(kSeeds);
    const SimScript script = ScriptFrom(input, processes);
    const SimOutcome outcome = runs_.Run(name, seed, script, make_program);
    if (outcome.violation.empty()) return;
    const std::string component = make_program().component;
    const SimReplay replay{component + "/" + name, shm::testing::SimMode::kScript, seed, 0,
                           script.ToString()};
    std::fprintf(stderr, "BROKEN: %s\n  again: %s_sim_test --replay '%s'\n",
                 outcome.violation.c_str(), component.c_str(), replay.ToString().c_str());
    std::abort();
  }

  const Repertoire repertoire_;
  PreparedRuns runs_;
};

/// An event changes a little, comes twice, or goes.
size_t MutateEvents(uint8_t* events, size_t size, size_t size_max, Random& random) {
  const size_t count = size / kEventBytes;
  const uint64_t how = random.Below(4);
  if (count == 0 || (how == 0 && size + kEventBytes <= size_max)) {
    uint8_t* event = events + random.Below(count + 1) * kEventBytes;
    std::memmove(event + kEventBytes, event, static_cast<size_t>(events + size - event));
    event[0] = static_cast<uint8_t>(random.Next() >> random.Below(8));
    event[1] = static_cast<uint8_t>(random.Chance(4) ? random.Below(4) : 0);
    event[2] = static_cast<uint8_t>(random.Below(8));
    return size + kEventBytes;
  }
  uint8_t* event = events + random.Below(count) * kEventBytes;
  if (how == 1) {
    std::memmove(event, event + kEventBytes,
                 static_cast<size_t>(events + size - event) - kEventBytes);
    return size - kEventBytes;
  }
  if (how == 2) {
    event[2] = static_cast<uint8_t>(random.Below(8));
  } else {
    event[0] = static_cast<uint8_t>(event[0] + random.Below(17) - 8);
  }
  return size;
}

}  // namespace

size_t MutateSchedule(uint8_t* data, size_t size, size_t size_max, unsigned seed) {
  Random random(seed);
  if (size < kHeadBytes || size_max < kHeadBytes + kEventBytes || random.Chance(8)) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  if (random.Chance(8)) {  // what runs
    LLVMFuzzerMutate(data, kHeadBytes, kHeadBytes);
    return size;
  }
  uint8_t* events = data + kHeadBytes;
  size -= kHeadBytes;
  for (uint64_t i = 1 + random.Below(4); i > 0; --i) {
    size = MutateEvents(events, size, size_max - kHeadBytes, random);
  }
  return kHeadBytes + size;
}

void RunSchedule(const uint8_t* data, size_t size) {
  static Stage stage;
  stage.Run(ByteSource(data, size));
}

}  // namespace thole::fuzz
