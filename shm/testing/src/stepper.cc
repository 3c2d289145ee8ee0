#include "thole/shm/testing/stepper.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <unordered_set>

#include "process_maker.h"
#include "step_recorder.h"
#include "step_states.h"
#include "thole/shm/audit.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kChangesMax = 4 << 20;
// Every so many states it is checked in a further way.
constexpr uint64_t kOtherDeadEvery = 4;
constexpr uint64_t kRepairTwiceEvery = 4;
// Bytes that were audited before in the same run are audited again every so many times: the
// verdict must be the same, unless the survivor's memory outside of the bytes plays a part.
constexpr uint64_t kAuditAgainEvery = 8;
// ChildReport::counters.
enum Counter {
  kRuns,
  kInstructions,
  kStates,
  kDistinct,
  kRepairs,
  kPairs,
  kDistinctPairs,
  kAuditsSaved
};

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// One operation on one shape: records it, then judges every state.
class OperationRun {
 public:
  OperationRun(const Operation& operation, const StepOptions& options, uint64_t seed,
               ChildReport& report)
      : operation_(operation),
        options_(options),
        seed_(seed),
        report_(report),
        world_(operation.make_world()),
        image_(world_->segment_bytes(), 2),
        copy_(world_->segment_bytes(), 1),
        second_copy_(world_->segment_bytes(), 1),
        recorder_(image_.bytes(), kChangesMax) {}

  void Run() {
    if (!Prepare()) return;
    std::vector<std::byte> initial = BytesOf(image_.view(0));
    Random random(seed_ ^ 0xac7);
    recorder_.Record(image_.view(0).base(), image_.bytes(),
                     [&] { operation_.act(*world_, *victim_, random); });
    report_.counters[kInstructions] += recorder_.instructions();
    report_.counters[kRuns] += 1;
    if (recorder_.overflowed()) Fail("the operation changed more words than the stepper can note");
    if (std::memcmp(RebuildLast(initial).data(), image_.view(0).base(), image_.bytes()) != 0) {
      Fail("the recorded changes do not add up to what the operation did");
    }
    kernel_->Kill(PlatformOf(*victim_).process());
    CheckAll(initial);
  }

 private:
  static std::vector<std::byte> BytesOf(SegmentView view) {
    return {view.base(), view.base() + view.size_bytes()};
  }

  void Fail(const std::string& text) { report_.AddFailure(where_, text); }

  std::vector<std::byte> RebuildLast(const std::vector<std::byte>& initial) {
    StepStates states(initial, recorder_.changes());
    while (states.Next()) {
    }
    return states.bytes();
  }

  bool Prepare() {
    where_ = operation_.component + "/" + operation_.name + " (" + operation_.shape + ") seed " +
             std::to_string(seed_);
    report_.SetCurrent(where_);
    if (std::string error = FormatImage(*world_, image_.view(0)); !error.empty()) {
      Fail(error);
      return false;
    }
    kernel_ = std::make_shared<FakeKernel>(world_->options().participants_max);
    std::string error;
    victim_ = MakeProcess(*world_, kernel_, image_.view(0), &error);
    other_ = MakeProcess(*world_, kernel_, image_.view(1), &error);
    if (error.empty() && !operation_.joins_itself) error = JoinProcess(*world_, *victim_, "victim");
    if (error.empty()) error = JoinProcess(*world_, *other_, "other");
    if (!error.empty()) {
      Fail(error);
      return false;
    }
    Random random(seed_);
    if (operation_.prepare) operation_.prepare(*world_, *victim_, *other_, random);
    return true;
  }

  void CheckAll(const std::vector<std::byte>& initial) {
    StepStates states(initial, recorder_.changes());
    const uint64_t count = StepStates::Count(recorder_.changes());
    do {
      const uint64_t n = states.number();
      report_.SetCurrent(where_ + " state " + std::to_string(n));
      CheckState(states, /*other_dead=*/false, /*twice=*/false);
      if ((n + seed_) % kOtherDeadEvery == 0) CheckState(states, true, false);
      if ((n + seed_) % kRepairTwiceEvery == 1) CheckState(states, false, true);
      report_.counters[kStates] += 1;
      report_.counters[kDistinct] += options_.seen->states.Insert(states.hash());
      if (report_.failures >= options_.failures_max) return;
    } while (states.Next());
    // The recorder is used for the repairs as well, hence a copy of what it noted.
    const std::vector<bool> stepped = PickStates(count);
    const std::vector<StepRecorder::Change> changes(recorder_.changes().begin(),
                                                    recorder_.changes().end());
    StepStates state(initial, changes);
    do {
      if (!stepped[state.number()]) continue;
      if (report_.failures < options_.failures_max) StepRepair(state);
    } while (state.Next());
  }

  /// Which states' repairs are stepped: so many, none twice.
  std::vector<bool> PickStates(uint64_t count) {
    Random random(seed_ ^ 0x9e9a12);
    std::vector<bool> picked(count, options_.repairs >= count);
    for (uint64_t left = picked.front() ? 0 : options_.repairs; left > 0;) {
      const uint64_t n = random.Below(count);
      if (picked[n]) continue;
      picked[n] = true;
      --left;
    }
    return picked;
  }

  /// A survivor repairs a copy of `bytes` and finds everything in order, or the failure is noted.
  void CheckState(const StepStates& states, bool other_dead, bool twice) {
    std::memcpy(copy_.view(0).base(), states.bytes().data(), copy_.bytes());
    auto kernel = kernel_->CopyForImage();
    if (other_dead) kernel->Kill(PlatformOf(*other_).process());
    Findings findings;
    Survive(kernel, copy_.view(0), other_dead, twice, findings);
    if (!findings.empty()) {
      Fail(states.Describe() + (other_dead ? ", the other one dead too" : "") +
           (twice ? ", repaired twice" : "") + "\n" + findings.ToString());
    }
  }

  void Survive(const std::shared_ptr<FakeKernel>& kernel, SegmentView view, bool other_dead,
               bool twice, Findings& findings) {
    std::string error;
    std::unique_ptr<Process> survivor = MakeProcess(*world_, kernel, view, &error);
    if (survivor == nullptr) {
      findings.Add("open", 0, error);
      return;
    }
    Attachment& attachment = survivor->attachment();
    std::vector<uint64_t> before =
        twice ? SlotWords(attachment.segment()) : std::vector<uint64_t>{};
    attachment.RepairAll();
    FindUnrepairedSlots(attachment.segment(), *kernel, findings);
    CheckSecondRepair(attachment, view, findings);
    if (twice) {
      AskForRepairAgain(attachment.segment(), before);
      attachment.RepairAll();
    }
    // Identical bytes, and the same processes alive: the audit would say the same.
    const uint64_t repaired = HashOfBytes(view.base(), view.size_bytes()) + other_dead;
    const bool known = findings.empty() && audited_.contains(repaired);
    if (known && ++audits_known_ % kAuditAgainEvery != 0) {
      report_.counters[kAuditsSaved] += 1;
      return;
    }
    Audit(*survivor, other_dead, findings);
    if (findings.empty()) audited_.insert(repaired);
  }

  void Audit(Process& survivor, bool other_dead, Findings& findings) {
    const std::string error = JoinProcess(*world_, survivor, "survivor");
    if (!error.empty()) {
      findings.Add("join", 0, error);
      return;
    }
    if (operation_.check && !other_dead) operation_.check(*world_, survivor, findings);
    world_->Audit(survivor, findings);
    AuditSegment(survivor.attachment().segment(), findings);
  }

  /// A repair leaves nothing for a second one to do.
  static void CheckSecondRepair(Attachment& attachment, SegmentView view, Findings& findings) {
    const std::vector<std::byte> repaired = BytesOf(view);
    attachment.RepairAll();
    if (std::memcmp(repaired.data(), view.base(), repaired.size()) == 0) return;
    const auto differs = std::mismatch(repaired.begin(), repaired.end(), view.base());
    findings.Add("idempotence", static_cast<uint64_t>(differs.first - repaired.begin()),
                 "a second repair changed the bytes again");
  }

  static std::vector<uint64_t> SlotWords(const Segment& segment) {
    std::vector<uint64_t> words;
    for (uint32_t i = 0; i < segment.participants_max(); ++i) {
      words.push_back(segment.Slot(i)->word.load(std::memory_order_relaxed));  // one thread
    }
    return words;
  }

  /// The slots that a repair freed are as if it had died just before its last step, with every
  /// component's step to be done once more.
  static void AskForRepairAgain(const Segment& segment, const std::vector<uint64_t>& before) {
    for (uint32_t i = 0; i < segment.participants_max(); ++i) {
      Word64& word = segment.Slot(i)->word;
      const SlotWord was = SlotWord::Unpack(before[i]);
      const SlotWord now = SlotWord::Unpack(word.load(std::memory_order_relaxed));  // one thread
      if (was.state == SlotState::kFree || now.state != SlotState::kFree) continue;
      const SlotWord again{now.generation, segment.RepairStepsWanted() | 1, SlotState::kRepair};
      word.store(again.Pack(), std::memory_order_release);  // one thread
    }
  }

  /// The repair of a state, stepped: at each of its own states the repairer is dead as well.
  void StepRepair(const StepStates& state) {
    std::memcpy(copy_.view(0).base(), state.bytes().data(), copy_.bytes());
    auto kernel = kernel_->CopyForImage();
    std::string error;
    std::unique_ptr<Process> repairer = MakeProcess(*world_, kernel, copy_.view(0), &error);
    if (repairer == nullptr) return Fail(state.Describe() + "\n" + error);
    recorder_.Record(copy_.view(0).base(), copy_.bytes(),
                     [&] { repairer->attachment().RepairAll(); });
    report_.counters[kRepairs] += 1;
    kernel->Kill(PlatformOf(*repairer).process());
    StepStates repair(state.bytes(), recorder_.changes());
    while (repair.Next()) {
      report_.SetCurrent(where_ + " repair state " + std::to_string(repair.number()));
      std::memcpy(second_copy_.view(0).base(), repair.bytes().data(), second_copy_.bytes());
      Findings findings;
      Survive(kernel->CopyForImage(), second_copy_.view(0), false, false, findings);
      report_.counters[kPairs] += 1;
      report_.counters[kDistinctPairs] += options_.seen->pairs.Insert(repair.hash());
      if (findings.empty()) continue;
      if (report_.failures >= options_.failures_max) return;
      Fail(state.Describe() + ", then its repairer died in " + repair.Describe() + "\n" +
           findings.ToString());
    }
  }

  const Operation& operation_;
  const StepOptions& options_;
  const uint64_t seed_;
  ChildReport& report_;
  std::string where_;
  // In the order of destruction, backwards: processes, kernel, images, world.
  std::unique_ptr<World> world_;
  StepImage image_;
  StepImage copy_;
  StepImage second_copy_;
  StepRecorder recorder_;
  std::shared_ptr<FakeKernel> kernel_;
  std::unique_ptr<Process> victim_;
  std::unique_ptr<Process> other_;
  std::unordered_set<uint64_t> audited_;  // repaired bytes in which nothing was found
  uint64_t audits_known_ = 0;
};

void StepSeeds(const Operation& operation, const StepOptions& options, ChildReport& report) {
  const double end = Now() + options.seconds;
  for (uint64_t i = 0; i < options.seeds || Now() < end; ++i) {
    OperationRun(operation, options, options.seed + i, report).Run();
    if (report.failures >= options.failures_max) return;
  }
}

/// What runs a failed state again; also for a crash, whose place is all that the child left.
std::string Again(const Operation& operation, const Failure& failure) {
  const size_t at = failure.where.rfind(" seed ");
  const std::string seed =
      at == std::string::npos ? "1" : failure.where.substr(at + 6, failure.where.find(' ', at + 6));
  return "\nagain: --filter '" + operation.name + " (" + operation.shape + ")' --seed " +
         std::to_string(std::strtoull(seed.c_str(), nullptr, 10)) +
         " --seeds 1 --repairs all; where: addr2line -fiCe PROGRAM ADDRESS";
}

}  // namespace

StepResult Step(const Operation& operation, const StepOptions& given) {
  StepOptions options = given;
  std::unique_ptr<StepSeen> own = given.seen == nullptr ? std::make_unique<StepSeen>() : nullptr;
  if (own != nullptr) options.seen = own.get();
  ChildReport* report = NewChildReport();
  if (options.in_process) {
    StepSeeds(operation, options, *report);
  } else {
    RunInChild(*report, options.stall_seconds,
               [&](ChildReport& in_child) { StepSeeds(operation, options, in_child); });
  }
  StepResult result;
  result.operation = operation.component + "/" + operation.name + " (" + operation.shape + ")";
  result.runs = report->counters[kRuns];
  result.instructions = report->counters[kInstructions];
  result.states = report->counters[kStates];
  result.repairs_stepped = report->counters[kRepairs];
  result.distinct = report->counters[kDistinct];
  result.pairs = report->counters[kPairs];
  result.distinct_pairs = report->counters[kDistinctPairs];
  result.audits_saved = report->counters[kAuditsSaved];
  result.failed = report->failures;
  result.failures = report->Failures();
  for (Failure& failure : result.failures) failure.text += Again(operation, failure);
  return result;
}

}  // namespace thole::shm::testing
