#include "prepared_run.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "run_heap.h"

extern "C" char __data_start;  // of the linker
extern "C" char _end;          // of the linker
// The counters of a fuzzer, where there is one: the linker makes this name.
extern "C" uint8_t counters_begin __asm__("__start___sancov_cntrs") __attribute__((weak));

namespace thole::fuzz {

using shm::testing::InsideRunHeap;
using shm::testing::RunHeap;

namespace {

static_assert(SimStage::kPieceBytes == ImageCopy::kPieceBytes);
constexpr uint64_t kLookOneIn = 1024;  // runs
constexpr size_t kEndsBits = 20;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "BROKEN: the harness: %s\n", what);
  std::abort();
}

}  // namespace

PreparedRuns::PreparedRuns(uint64_t image_bytes_max, std::span<uint8_t> counters)
    : stage_(image_bytes_max),
      meetings_(image_bytes_max, counters),
      ends_seen_(size_t{1} << kEndsBits) {}

void PreparedRuns::WarmUp(const Program& program) {
  const std::string name = program.component + "/" + program.name;
  for (const char* script : {"1", "1,40X", "1,9>2,60x"}) {
    std::memset(stage_.view(0), 0, stage_.bytes_max());
    SimRun run(program, stage_);
    run.Begin({name, shm::testing::SimMode::kScript, 1, 0, script});
    const SimOutcome outcome = run.Complete();
    if (outcome.violation.empty()) continue;
    std::fprintf(stderr, "BROKEN: %s\n  again: --replay '%s:x:0x1:%s'\n", outcome.violation.c_str(),
                 name.c_str(), script);
    std::abort();
  }
  there_now_ = nullptr;
}

std::unique_ptr<PreparedRuns::Prepared> PreparedRuns::Prepare(Program program, uint64_t seed,
                                                              const SimScript& script) {
  auto prepared = std::make_unique<Prepared>();
  prepared->program = std::move(program);
  std::memset(stage_.view(0), 0, stage_.bytes_max());
  there_now_ = nullptr;
  RunHeap::Clear();
  {
    const InsideRunHeap inside;
    auto* run = new SimRun(prepared->program, stage_);
    Require(static_cast<void*>(run) == RunHeap::used().data(), "a run does not come first");
    run->set_meetings(&meetings_);
    run->Begin({prepared->program.component + "/" + prepared->program.name,
                shm::testing::SimMode::kScript, seed, 0, script.ToString()});
  }
  prepared->memory.assign(RunHeap::used().begin(), RunHeap::used().end());
  prepared->image = ImageCopy(image());
  kept_bytes_ += prepared->memory.size() + prepared->image.bytes();
  return prepared;
}

void PreparedRuns::PutBack(const Prepared& prepared) {
  std::vector<uint8_t>& written = stage_.written();
  prepared.image.PutBack(image(), there_now_ == nullptr ? nullptr : &there_now_->image, written);
  std::fill(written.begin(), written.end(), uint8_t{0});
  there_now_ = &prepared;
  RunHeap::Restore(prepared.memory);
  if (++runs_ % kLookOneIn != 0) return;
  // The simulator has seen all stores, and nobody else stores there.
  Require(ImageCopy(image()) == prepared.image, "a store to the image was not seen");
}

bool PreparedRuns::EndedSoBefore(const Prepared& prepared, uint32_t died) {
  const uint64_t hash = HashOf(image(), stage_.written()) ^
                        std::bit_cast<uint64_t>(&prepared) * (2 * uint64_t{died} + 1);
  uint64_t& place = ends_seen_[hash >> (64 - kEndsBits)];
  const bool before = place == hash;
  place = hash;
  return before;
}

/// Globals outlive a run: what they point to must as well. A fuzzer's keep whatever was compared.
void PreparedRuns::ExpectNothingKept() const {
  if (&counters_begin != nullptr) return;
  auto& arena = shm::testing::sim_arena;
  const shm::testing::SimArena before = arena;
  arena = {};
  const void* where = RunHeap::FindAddress(&__data_start, &_end);
  arena = before;
  if (where == nullptr) return;
  std::fprintf(stderr, "BROKEN: the harness: the global at %p keeps what a run has made\n", where);
  std::abort();
}

SimOutcome PreparedRuns::RunOne(const Prepared& prepared, const SimScript& script) {
  PutBack(prepared);
  auto* run = std::launder(reinterpret_cast<SimRun*>(RunHeap::used().data()));
  run->Resume();
  meetings_.BeginRun();
  SimOutcome outcome;
  {
    const InsideRunHeap inside;
    run->set_script(script);
    run->set_audited_before([&](uint32_t died) { return EndedSoBefore(prepared, died); });
    outcome = run->Complete();
  }
  if (runs_ % kLookOneIn == 1) ExpectNothingKept();
  if (kept_bytes_ > kKeptBytesMax) {
    all_.clear();
    kept_bytes_ = 0;
    there_now_ = nullptr;
  }
  return outcome;
}

}  // namespace thole::fuzz
