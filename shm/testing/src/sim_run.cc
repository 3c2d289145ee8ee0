#include "sim_run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "run_heap.h"
#include "thole/shm/audit.h"

namespace thole::shm::testing {
namespace {

// For the phases in which nobody is to die: an audit may walk for long, but not for ever.
constexpr uint64_t kAloneAccessesMax = 20'000'000;
constexpr uint64_t kPatientAccessesMax = 500'000;
constexpr uint32_t kSwitchOneIn[] = {1, 2, 4, 16, 64};
constexpr uint32_t kStallOneIn[] = {0, 0, 4, 16};
constexpr uint32_t kDemotions = 3;
constexpr uint64_t kRepairerHorizonMin = 16;
constexpr uint64_t kRepairerHorizons = 8;
constexpr uint64_t kRepairCalls = 12;
constexpr uint64_t kRepairBits = 6;
constexpr uint64_t kLookEvery = 64;  // runs after which the image is compared as a whole

uint32_t Count(const SimScript& script, SimEvent::Kind kind) {
  const auto is_it = [kind](const SimEvent& event) { return event.kind == kind; };
  return static_cast<uint32_t>(std::count_if(script.events.begin(), script.events.end(), is_it));
}

uint64_t Mix(uint64_t seed, uint64_t purpose) { return Random(seed ^ purpose << 32).Next(); }

}  // namespace

SimRun::SimRun(const Program& program, SimStage* stage)
    : program_(program),
      core_(
          program.make_world()->segment_bytes(),
          [this](uint32_t fiber) { kernel_->KillAllAt(core_.view(fiber)); }, stage) {
  if (survivor() >= kFibersMax) {
    std::fprintf(stderr, "%s: too many processes for the simulator\n", program.name.c_str());
    std::abort();
  }
  format_error_ = FormatImage(*program.make_world(), View(kSetup));
}

SimRun::SimRun(const Program& program, SimStage& stage) : SimRun(program, &stage) {}

SimRun::SimRun(const Program& program) : SimRun(program, nullptr) {
  pristine_ = std::make_unique<std::byte[]>(core_.bytes());
  std::memcpy(pristine_.get(), core_.view(kSetup), core_.bytes());
}

SimRun::~SimRun() { Clear(); }

/// Who is killed when, and how the processes take turns.
void SimRun::Choose(const SimReplay& replay, Random& random) {
  plan_ = SimPlan{};
  plan_.seed = random.Next();
  plan_.accesses_max = program_.accesses_max;
  plan_.priorities = replay.mode == SimMode::kPriorities;
  plan_.switch_one_in = kSwitchOneIn[random.Below(std::size(kSwitchOneIn))];
  plan_.stall_one_in = kStallOneIn[random.Below(std::size(kStallOneIn))];
  plan_.death_at.fill(kNoDeath);
  plan_.conflicts = conflicts_;
  plan_.weak = replay.mode == SimMode::kWeak;
  plan_.hostile = replay.mode == SimMode::kHostile;
  if (plan_.weak || plan_.hostile) plan_.priorities = random.Chance(4);
  if (replay.mode == SimMode::kScript) return ChooseByScript(replay);
  for (uint32_t i = 0; i < kDemotions; ++i) {
    plan_.demotions.push_back(1 + random.Below(replay.horizon * program_.processes + 1));
  }
  repairers_ = static_cast<uint32_t>(random.Below(kRepairersMax + 1));
  fresh_survivor_ = random.Chance(2);
  if (replay.horizon == 0) return;  // nobody dies
  if (replay.mode == SimMode::kSweep) {
    const uint64_t number = replay.seed & 0xffffffff;
    plan_.death_at[1 + number % program_.processes] =
        1 + number / program_.processes % replay.horizon;
  } else if (random.Chance(8)) {
    return;
  } else {
    do {
      plan_.death_at[1 + random.Below(program_.processes)] = 1 + random.Below(replay.horizon);
    } while (random.Chance(2));
  }
  for (uint32_t i = 0; i < repairers_; ++i) {
    if (!random.Chance(3)) ChooseRepairersDeath(first_repairer() + i, random);
  }
}

void SimRun::ChooseByScript(const SimReplay& replay) {
  script_ = SimScript::Parse(replay.script).value_or(SimScript{});
  plan_.script = &script_;
  fresh_survivor_ = false;
  repairers_ = RepairersFor(script_);
  if (runs_ == 0 || visited_ == nullptr) return;
  plan_.visited = visited_;
  const uint32_t switches = Count(script_, SimEvent::Kind::kSwitch);
  const auto died = static_cast<uint32_t>(script_.events.size()) - switches;
  plan_.switches_left = switches_ - std::min(switches_, switches);
  plan_.deaths_left = deaths_ - std::min(deaths_, died);
  plan_.kernel_state = [this] { return kernel_->HashOfState(); };
  plan_.keeps_histories = program_.check != nullptr;
}

uint32_t SimRun::RepairersFor(const SimScript& script) {
  return std::clamp(Count(script, SimEvent::Kind::kDieRepaired), 1u, kRepairersMax);
}

void SimRun::ChooseRepairersDeath(uint32_t fiber, Random& random) {
  if (random.Chance(2)) {
    // Soon after some call of the kernel: there a repair begins.
    plan_.death_after_call[fiber] = static_cast<uint32_t>(1 + random.Below(kRepairCalls));
    plan_.death_at[fiber] = 1 + random.Below(uint64_t{1} << (1 + random.Below(kRepairBits)));
  } else {
    // Of few accesses or many, alike: what there is to repair differs much.
    plan_.death_at[fiber] =
        1 + random.Below(kRepairerHorizonMin << random.Below(kRepairerHorizons));
  }
}

bool SimRun::Alone(uint32_t fiber, const std::function<void()>& work) {
  core_.Add(fiber, work);
  SimPlan plan;
  plan.accesses_max = kAloneAccessesMax;
  plan.switch_one_in = 1 << 20;
  plan.death_at.fill(kNoDeath);
  core_.RunPhase(plan);
  return core_.violation().empty() && error_.empty();
}

bool SimRun::MakeAndJoin(uint32_t fiber, std::string_view name, bool join) {
  return Alone(fiber, [&] {
    std::unique_ptr<Process>& process = processes_[fiber];
    process = MakeProcess(*world_, kernel_, View(fiber), &error_);
    if (process != nullptr && join) error_ = JoinProcess(*world_, *process, name);
  });
}

bool SimRun::MakeRepairers() {
  for (uint32_t i = 0; i < repairers_; ++i) {
    if (!MakeAndJoin(first_repairer() + i, "process", false)) return false;
  }
  return true;
}

bool SimRun::Prepare() {
  if (!MakeAndJoin(kSetup, "setup", true)) return false;
  if (program_.prepare) {
    Random random(Mix(seed_, 1));
    if (!Alone(kSetup, [&] { program_.prepare(*world_, *processes_[kSetup], random); })) {
      return false;
    }
  }
  for (uint32_t i = 1; i < first_repairer(); ++i) {
    if (!MakeAndJoin(i, "process", !program_.joins_itself)) return false;
  }
  if (!makes_repairers_late() && !MakeRepairers()) return false;
  if (!program_.prepare_joined) return true;
  std::vector<Process*> joined;
  for (uint32_t i = 1; i < first_repairer(); ++i) joined.push_back(processes_[i].get());
  core_.set_any_mapping(true);
  const bool prepared = Alone(kSetup, [&] {
    Random random(Mix(seed_, 2));
    program_.prepare_joined(*world_, joined, random);
  });
  core_.set_any_mapping(false);
  return prepared;
}

/// Somebody attaches when another died, which repairs, and repairs once more later.
void SimRun::RepairerBody(uint32_t fiber) {
  Process& process = *processes_[fiber];
  const bool first_repairs = plan_.script != nullptr || Random(Mix(seed_, fiber)).Chance(2);
  if (first_repairs) process.attachment().RepairAll();
  if (plan_.script != nullptr) return;  // it does nothing that is not a repair
  if (plan_.hostile) {                  // what a world opens in a seat may not be there any more
    process.attachment().Join("repairer").IgnoreError();
    process.attachment().RepairAll();
    return;
  }
  // Without a free seat it does not join; what it could repair is repaired by then.
  if (process.attachment().Join("repairer").ok()) world_->Joined(process);
  process.attachment().RepairAll();
}

void SimRun::RunTogether() {
  for (uint32_t i = 1; i <= program_.processes; ++i) {
    core_.Add(i, [this, i] {
      Random random(Mix(seed_, 100 + i));
      program_.body(*world_, *processes_[i], i - 1, random);
    });
  }
  for (uint32_t i = 0; i < repairers_; ++i) {
    const uint32_t fiber = first_repairer() + i;
    core_.Add(fiber, [this, fiber] { RepairerBody(fiber); }, /*late=*/true);
  }
  plan_.meetings = meetings_;
  plan_.record_points = meetings_ == nullptr;
  core_.RunPhase(plan_);
}

/// Everybody is dead or idle: what the dead left is repaired, then counted.
void SimRun::Finish(uint32_t died) {
  uint32_t judge = kSetup;
  if (plan_.hostile) return Survive(*processes_[judge]);
  if (fresh_survivor_) {
    Alone(survivor(), [&] {
      std::unique_ptr<Process> fresh = MakeProcess(*world_, kernel_, View(survivor()), &error_);
      if (fresh == nullptr) return;
      const absl::Status joined = fresh->attachment().Join("survivor");
      if (absl::IsResourceExhausted(joined)) return;  // the living have all seats
      if (!joined.ok()) {
        error_ = "the survivor cannot join: " + std::string(joined.message());
        return;
      }
      world_->Joined(*fresh);
      processes_[survivor()] = std::move(fresh);
    });
    if (processes_[survivor()] != nullptr) judge = survivor();
  }
  if (!error_.empty() || !core_.violation().empty()) return;
  Alone(judge, [&] { Judge(*processes_[judge], died); });
}

/// After a hostile peer nothing is demanded of what is found, only that looking for it ends.
void SimRun::Survive(Process& survivor) {
  Findings ignored;
  SimPlan plan;
  plan.accesses_max = kPatientAccessesMax;
  plan.switch_one_in = 1 << 20;
  plan.death_at.fill(kNoDeath);
  plan.patient = true;
  const std::function<void()> works[] = {
      [&] { survivor.attachment().RepairAll(); },
      [&] { AuditSegment(survivor.attachment().segment(), ignored); },
      [&] { world_->Audit(survivor, ignored); },
  };
  for (const auto& work : works) {
    core_.Add(kSetup, work);
    core_.RunPhase(plan);
    cut_off_ = cut_off_ || core_.cut_off();
    if (!core_.violation().empty() || core_.cut_off()) return;
  }
}

void SimRun::Judge(Process& survivor, uint32_t died) {
  Findings findings;
  survivor.attachment().RepairAll();
  FindUnrepairedSlots(survivor.attachment().segment(), *kernel_, findings);
  if (findings.empty() && program_.check) program_.check(*world_, survivor, died, findings);
  const bool known = audited_before_ && audited_before_(died);
  if (findings.empty() && !known) world_->Audit(survivor, findings);
  if (findings.empty() && !known) AuditSegment(survivor.attachment().segment(), findings);
  if (!findings.empty()) error_ = findings.ToString();
}

bool SimRun::Start() {
  Clear();
  core_.Reset();
  if (pristine_ != nullptr) std::memcpy(core_.view(kSetup), pristine_.get(), core_.bytes());
  kernel_ = std::make_shared<FakeKernel>(16);
  kernel_->SetScheduler(this, &core_.clock());
  world_ = program_.make_world();
  world_->weak_memory = plan_.weak;
  return Prepare();
}

/// The first run goes its way outside of the run heap: what is made once and for all stays there.
bool SimRun::StartOrRewind() {
  const uint64_t run = runs_++;
  if (!repeats_ || run == 0) return Start();
  if (run > 1) {
    core_.Rewind();
    RunHeap::Rewind();
    if (run % kLookEvery == 0 && !core_.SawAllStores()) error_ = "a store was not seen";
    return error_.empty();
  }
  Clear();
  RunHeap::Clear();
  const InsideRunHeap inside;
  if (!Start()) return false;
  core_.Mark();
  RunHeap::Mark();
  return true;
}

void SimRun::RepeatIfAlike() { repeats_ = !program_.prepare && !program_.prepare_joined; }

void SimRun::Repeat(VisitedStates* visited, uint32_t switches, uint32_t deaths) {
  repeats_ = true;
  visited_ = visited;
  switches_ = switches;
  deaths_ = deaths;
}

/// Who died, or dies now, after its last call. Returns a bit for each process of the program.
uint32_t SimRun::CountTheDead(SimOutcome& outcome) {
  uint32_t died = 0;
  for (uint32_t i = 1; i < first_repairer() + repairers_; ++i) {
    const bool to_die = plan_.script == nullptr && plan_.death_at[i] != kNoDeath;
    const bool at_end = i < first_repairer() && (program_.killed_at_end >> (i - 1) & 1) != 0;
    if ((to_die || at_end) && !core_.died(i)) {
      kernel_->KillAllAt(core_.view(i));
    } else if (!core_.died(i)) {
      continue;
    }
    ++outcome.deaths;
    if (i < first_repairer()) died |= 1u << (i - 1);
  }
  return died;
}

/// Without a ledger a judge sees the bytes, the kernel, and itself, which is always the same.
bool SimRun::WasJudged() {
  if (plan_.visited == nullptr || plan_.keeps_histories) return false;
  const uint64_t end = Append(core_.HashOfImage(), kernel_->HashOfState());
  return !visited_->Enter(Append(end, static_cast<uint64_t>(core_.clock())), 0);
}

SimOutcome SimRun::Run(const SimReplay& replay) {
  Begin(replay);
  SimOutcome outcome = Complete();
  if (!repeats_) Clear();
  if (makes_repairers_late()) ClearFrom(first_repairer());
  return outcome;
}

bool SimRun::Begin(const SimReplay& replay) {
  prepared_ = false;
  if (!format_error_.empty()) {
    error_ = format_error_;
    return false;
  }
  seed_ = replay.seed;
  Random random(seed_);
  Choose(replay, random);
  std::string().swap(error_);  // what it holds may lie on the run heap, and be forgotten
  cut_off_ = false;
  prepared_ = StartOrRewind() && (!makes_repairers_late() || MakeRepairers());
  return prepared_;
}

SimOutcome SimRun::Complete() {
  SimOutcome outcome;
  if (prepared_) {
    RunTogether();
    outcome.accesses = core_.accesses_total();
    outcome.stale_loads = core_.stale_loads();
    outcome.pruned = core_.pruned();
    cut_off_ = core_.cut_off();
    for (uint32_t i = 1; i < first_repairer(); ++i) {
      outcome.longest = std::max(outcome.longest, core_.accesses(i));
    }
    const uint32_t died = CountTheDead(outcome);
    if (runs_ > 1 && repeats_) outcome.ended_in = core_.HashOfImage();
    if (core_.violation().empty() && !outcome.pruned && !WasJudged()) Finish(died);
  }
  for (const auto& process : processes_) {
    if (process != nullptr) outcome.repairs += process->attachment().repairs_done();
  }
  outcome.cut_off = cut_off_;
  outcome.violation = core_.violation().empty() ? error_ : core_.violation();
  return outcome;
}

void SimRun::ClearFrom(uint32_t fiber) {
  if (kernel_ == nullptr) return;  // nothing was begun
  for (uint32_t i = fiber; i < kFibersMax; ++i) kernel_->KillAllAt(core_.view(i));
  for (uint32_t i = fiber; i < kFibersMax; ++i) processes_[i].reset();
}

/// Ends the run for everybody at once, so that no destructor touches the image.
void SimRun::Clear() {
  if (kernel_ == nullptr) return;
  kernel_->SetScheduler(nullptr, &core_.clock());
  ClearFrom(kSetup);
  world_.reset();
  kernel_.reset();
}

}  // namespace thole::shm::testing
