#include "sim_core.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "run_heap.h"

extern "C" const char end;  // of the linker

namespace thole::shm::testing {

SimArena sim_arena;  // one simulator runs at a time; the entry points get no argument of ours

namespace {

constexpr uint64_t kSpuriousWakeOneIn = 8;      // of the sleeps
constexpr uint64_t kSpuriousWakeWithin = 1000;  // accesses of others
constexpr uint64_t kNoSpuriousWake = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kShortestStallBits = 5;
constexpr uint64_t kStallBits = 8;  // stalls of up to 2^5 .. 2^12 accesses, all lengths alike
constexpr uint64_t kSeedOfLoads = 0x10ad;
constexpr uint64_t kTheEnd = 0xe0d;      // in a history
constexpr uint64_t kLongestTurn = 3000;  // accesses by which a low priority is starved at most

}  // namespace

SimCore::SimCore(uint64_t image_bytes, DeathHook on_death, SimStage* stage)
    : bytes_((image_bytes + 4095) & ~uint64_t{4095}),
      own_stage_(stage == nullptr ? std::make_unique<SimStage>(bytes_) : nullptr),
      stage_(stage == nullptr ? own_stage_.get() : stage),
      stride_(stage_->stride()),
      stride_bits_(static_cast<uint32_t>(std::countr_zero(stride_))),
      on_death_(std::move(on_death)) {
  TakeOver();
}

SimCore::~SimCore() { sim_arena = {}; }

void SimCore::TakeOver() { sim_arena = {AddressOf(stage_->arena()), stage_->arena_bytes(), this}; }

void SimCore::Reset() {
  violation_ = std::string();
  dead_ = ready_ = asleep_ = stalled_ = late_ = 0;
  now_ns_ = 1'000'000'000;
  last_write_bytes_ = 0;
}

void SimCore::Add(uint32_t fiber, std::function<void()> body, bool late) {
  bodies_[fiber] = std::move(body);
  stage_->fiber(fiber).Start(&SimCore::FiberMain);
  (late ? late_ : ready_) |= 1u << fiber;
}

void SimCore::RunPhase(const SimPlan& plan) {
  const bool on_run_heap = inside_run_heap || shadow_ != nullptr;
  const OutsideRunHeap outside;
  plan_ = plan;
  if (plan.weak) {
    if (weak_memory_ == nullptr) {
      weak_memory_ = std::make_unique<WeakMemory>(
          view(0), bytes_, [this](const std::string& what) { Violate(what); });
    }
    weak_memory_->Begin(plan.seed ^ kSeedOfLoads);
  }
  if (plan.hostile) {
    if (hostile_peer_ == nullptr) hostile_peer_ = std::make_unique<HostilePeer>(view(0), bytes_);
    hostile_peer_->Begin(plan.seed ^ kSeedOfLoads);
  }
  cut_off_ = false;
  pruned_ = false;
  histories_.fill(0);
  busy_since_.fill(0);
  alone_ = std::has_single_bit(ready_) && late_ == 0 && !trace_ && !plan.patient &&
           plan.script == nullptr && plan.conflicts == nullptr;
  conflicts_.Begin(plan.conflicts, bytes_);
  conflict_before_.fill(true);
  if (plan.script != nullptr) points_.clear();
  next_event_ = 0;
  random_ = plan.seed;
  accesses_.fill(0);
  calls_.fill(0);
  total_ = 0;
  lowest_priority_ = 0;
  for (auto& priority : priority_) priority = static_cast<int64_t>(1 + Random(1000));
  if (const int first = Choose(false); first >= 0) {
    current_ = first;
    budget_ = 1 + Random(2 * plan_.switch_one_in);
    if (alone_) LetBeQuiet();
    const InsideRunHeap inside(on_run_heap);
    SwitchFiber(main_, stage_->fiber(static_cast<uint32_t>(first)).place());
  }
  sim_arena.quiet_bytes = 0;
  current_ = -1;
  plan_.weak = false;
  ready_ = asleep_ = stalled_ = late_ = 0;
}

void SimCore::LetBeQuiet() {
  if (any_mapping_) return;
  sim_arena.quiet_begin = current() * stride_;
  sim_arena.quiet_bytes = bytes_;
  sim_arena.quiet_left = plan_.accesses_max;
  sim_arena.clock = &now_ns_;
}

void SimCore::FiberMain() {
  SimCore& core = *sim_arena.core;
  const uint32_t me = core.current();
  core.bodies_[me]();
  core.CheckLastWrite();
  if (!core.plan_.keeps_histories) core.histories_[me] = 0;  // however it came there
  core.Remember(kTheEnd);
  if (core.plan_.script != nullptr) core.CountAndMaybeDie(true, false);  // after its last call
  core.Trace("ended", 0);
  core.ready_ &= ~(1u << me);
  core.SwitchTo(core.Choose(false));
  std::abort();  // nobody switches to a fiber that ended
}

uint64_t SimCore::Random(uint64_t limit) {  // splitmix64
  uint64_t z = (random_ += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return limit == 0 ? 0 : (z ^ z >> 31) % limit;
}

void SimCore::Trace(const char* what, uint64_t detail) const {
  if (!trace_) return;
  std::fprintf(stderr, "%8llu  process %d  %s %llu\n", static_cast<unsigned long long>(total_),
               current_, what, static_cast<unsigned long long>(detail));
}

void SimCore::Violate(const std::string& what) {
  const OutsideRunHeap outside;
  if (violation_.empty()) violation_ = what;
  Trace("VIOLATION", 0);
  FiberPlace nowhere;
  SwitchFiber(nowhere, main_);
  std::abort();  // a run with a violation is over
}

void SimCore::SwitchTo(int fiber) {
  FiberPlace& from = stage_->fiber(current()).place();
  budget_ = 1 + Random(2 * plan_.switch_one_in);
  if (fiber == current_) return;
  just_switched_ = true;
  current_ = fiber;
  if (fiber < 0) {
    SwitchFiber(from, main_);
  } else {
    Trace("goes on", 0);
    SwitchFiber(from, stage_->fiber(static_cast<uint32_t>(fiber)).place());
  }
}

int SimCore::ChooseReady(uint32_t ready) {
  if (plan_.script != nullptr) {
    if (current_ < 0) return static_cast<int>(plan_.script->first);
    const uint32_t later = ready & ~((2u << current_) - 1);
    return std::countr_zero(later != 0 ? later : ready);
  }
  if (plan_.priorities) {
    int best = -1;
    for (int i = 0; i < static_cast<int>(kFibersMax); ++i) {
      const auto at = static_cast<size_t>(i);
      if ((ready >> i & 1) == 0) continue;
      if (best < 0 || priority_[at] > priority_[static_cast<size_t>(best)]) best = i;
    }
    return best;
  }
  uint64_t nth = Random(static_cast<uint64_t>(__builtin_popcount(ready)));
  for (; nth > 0; --nth) ready &= ready - 1;
  return __builtin_ctz(ready);
}

/// The sleeper whose time comes first; the clock jumps there.
int SimCore::ChooseSleeper() {
  int first = -1;
  for (int i = 0; i < static_cast<int>(kFibersMax); ++i) {
    const auto at = static_cast<size_t>(i);
    if ((asleep_ >> i & 1) == 0) continue;
    if (first < 0 || until_[at] < until_[static_cast<size_t>(first)]) first = i;
  }
  if (first < 0) return -1;
  const int64_t until = until_[static_cast<size_t>(first)];
  if (until == std::numeric_limits<int64_t>::max()) {
    if (current_ >= 0 && ready_ == 0) {
      if (plan_.hostile || plan_.patient) CutOff();
      Violate("hang: everybody sleeps for ever");
    }
    return -1;
  }
  now_ns_ = std::max(now_ns_, until);
  Wake(static_cast<uint32_t>(first));
  return first;
}

int SimCore::Choose(bool not_current) {
  for (uint32_t i = 0; asleep_ != 0 && i < kFibersMax; ++i) {
    if ((asleep_ >> i & 1) == 0) continue;
    if (until_[i] <= now_ns_ || wakes_at_[i] <= total_) Wake(i);
  }
  for (uint32_t i = 0; stalled_ != 0 && i < kFibersMax; ++i) {
    if ((stalled_ >> i & 1) != 0 && stalled_till_[i] <= total_) GoOn(i);
  }
  uint32_t ready = ready_;
  if (not_current) ready &= ~(1u << current());
  if (ready != 0) return ChooseReady(ready);
  if (stalled_ != 0) {
    const int first = __builtin_ctz(stalled_);
    GoOn(static_cast<uint32_t>(first));
    return first;
  }
  if (const int sleeper = ChooseSleeper(); sleeper >= 0) return sleeper;
  return ready_ != 0 ? current_ : -1;
}

void SimCore::DemoteCurrent() { priority_[current()] = --lowest_priority_; }

void SimCore::CutOff() {
  cut_off_ = true;
  EndPhase();
}

void SimCore::EndPhase() {
  FiberPlace nowhere;
  SwitchFiber(nowhere, main_);
  std::abort();  // the phase is over
}

/// Whoever waits for others in slices may do so for ever where bytes lie about them; whoever goes
/// on without waiting is in a loop that does not end.
void SimCore::TooMany() {
  const uint64_t most = plan_.accesses_max;
  const uint64_t busy = accesses_[current()] - busy_since_[current()];
  if (plan_.hostile || plan_.patient) {
    if (busy < most / 2) CutOff();
    if (busy < 2 * most) return;
  }
  Violate("hang: the run does not end within " + std::to_string(most) + " shared accesses");
}

void SimCore::AddPoint(bool matters, bool may_switch) {
  const uint32_t me = current();
  const uint32_t others = ready_ & ~(1u << me);
  const OutsideRunHeap outside;
  // Who has just begun may make room for a third one: that is the choice that a switch is.
  const bool chosen = just_switched_ && std::popcount(others) > 1;
  just_switched_ = false;
  points_.push_back(
      {static_cast<uint8_t>(me), may_switch && (conflict_before_[me] || chosen), matters, others});
}

/// Whether the script lets the running one die, or make room, before this access.
bool SimCore::TakeEvent(bool death) {
  const auto& events = plan_.script->events;
  while (next_event_ < events.size() && events[next_event_].at < total_) ++next_event_;
  if (next_event_ == events.size()) return false;
  const SimEvent& event = events[next_event_];
  if (event.at != total_ || (event.kind != SimEvent::Kind::kSwitch) != death) return false;
  event_ = event;
  ++next_event_;
  return true;
}

void SimCore::Die() {
  const uint32_t me = current();
  Trace("DIES", 0);
  dead_ |= 1u << me;
  ready_ &= ~(1u << me);
  int next = -1;
  if (plan_.script == nullptr) {
    ready_ |= late_;
    late_ = 0;
  } else if (event_.kind == SimEvent::Kind::kDieRepaired && late_ != 0) {
    next = std::countr_zero(late_);
    ready_ |= 1u << next;
    late_ &= late_ - 1;
  }
  on_death_(me);
  SwitchTo(next >= 0 ? next : Choose(false));
  std::abort();  // nobody switches to the dead
}

void SimCore::CountAndMaybeDie(bool matters, bool may_switch) {
  const uint32_t me = current();
  if (plan_.script == nullptr) now_ns_ += kAccessNs;
  ++total_;
  ++accesses_[me];
  if (total_ > plan_.accesses_max) TooMany();
  if (plan_.script != nullptr) {
    if (plan_.visited != nullptr) PruneIfKnown(matters);
    if (plan_.record_points) AddPoint(matters, may_switch);
    if (EventIsDue() && TakeEvent(true)) Die();
    return;
  }
  if (accesses_[me] == plan_.death_at[me] && calls_[me] >= plan_.death_after_call[me]) Die();
}

/// Who comes back has not yet made the access: it may still die before it, now that others went on.
void SimCore::SwitchByScript(bool matters) {
  while (TakeEvent(false) && (ready_ >> event_.to & 1) != 0) {
    MarkConflict(false);  // to switch again at once shows nothing, if nobody else was chosen
    SwitchTo(static_cast<int>(event_.to));
    CountAndMaybeDie(matters);
  }
}

void SimCore::MaybeSwitch(bool matters) {
  if (plan_.script != nullptr) {
    if (EventIsDue()) SwitchByScript(matters);
    return;
  }
  if (plan_.priorities) {
    const bool demoted =
        std::find(plan_.demotions.begin(), plan_.demotions.end(), total_) != plan_.demotions.end();
    if (demoted || total_ % kLongestTurn == 0) DemoteCurrent();
    if (const int next = Choose(false); next != current_) SwitchTo(next);
    return;
  }
  if (--budget_ == 0) SwitchTo(Choose(false));
}

/// As if it were stopped, or swapped out: others get far before it goes on.
void SimCore::Stall() {
  const uint32_t me = current();
  Trace("stands still", 0);
  ready_ &= ~(1u << me);
  stalled_ |= 1u << me;
  stalled_till_[me] = total_ + Random(uint64_t{1} << (kShortestStallBits + Random(kStallBits)));
  SwitchTo(Choose(false));
}

void SimCore::GoOn(uint32_t fiber) {
  stalled_ &= ~(1u << fiber);
  ready_ |= 1u << fiber;
}

void SimCore::EnterKernel() {
  if (current_ < 0) return;
  CheckLastWrite();
  const uint32_t me = current();
  if (++calls_[me] == plan_.death_after_call[me]) plan_.death_at[me] += accesses_[me];
  CountAndMaybeDie(true);
  if (plan_.script == nullptr && plan_.stall_one_in != 0 && Random(plan_.stall_one_in) == 0) {
    Stall();
  } else {
    MaybeSwitch(true);
  }
  MarkConflict(true);  // others see what it does there
}

void SimCore::HandOver() {
  if (current_ < 0) return;
  CheckLastWrite();
  CountAndMaybeDie(true, false);
  busy_since_[current()] = accesses_[current()];
  if (plan_.priorities) DemoteCurrent();
  MarkConflict(true);
  SwitchTo(Choose(true));
}

void SimCore::Sleep(int64_t until_ns) {
  if (current_ < 0) return;
  CheckLastWrite();
  CountAndMaybeDie(true, false);
  MarkConflict(true);
  Trace("sleeps until", static_cast<uint64_t>(until_ns));
  const uint32_t me = current();
  busy_since_[me] = accesses_[me];
  until_[me] = until_ns;
  Remember(static_cast<uint64_t>(until_ns));
  Remember(total_);  // the kernel wakes in the order in which they fell asleep
  // Drawn once for each sleep: drawn at each step of the others, a sleeper would hardly ever sleep
  // its time, and a run in which two wait in vain would not come to its end. Never by a script.
  const bool spurious = plan_.script == nullptr && Random(kSpuriousWakeOneIn) == 0;
  wakes_at_[me] = spurious ? total_ + Random(kSpuriousWakeWithin) : kNoSpuriousWake;
  ready_ &= ~(1u << me);
  asleep_ |= 1u << me;
  SwitchTo(Choose(false));
}

void SimCore::Wake(uint32_t fiber) {
  if ((asleep_ >> fiber & 1) == 0) return;
  asleep_ &= ~(1u << fiber);
  ready_ |= 1u << fiber;
}

bool SimCore::IsPrivatePointer(uint64_t value) const {
  if (value - sim_arena.begin < sim_arena.bytes || RunHeap::Contains(value)) return true;
  // The executable, its data, and the heap that the kernel puts behind it.
  return value >= AddressOf(&__executable_start) && value < AddressOf(sbrk(0)) &&
         value > (uint64_t{1} << 32);
}

void SimCore::CheckLastWrite() {
  if (last_write_bytes_ == 0) return;
  FollowLastWrite();
  const uint64_t begin = last_write_ & ~uint64_t{7};
  const uint64_t finish = last_write_ + last_write_bytes_;
  last_write_bytes_ = 0;
  for (uint64_t at = begin; at + 8 <= finish + 7 && (at & (stride_ - 1)) + 8 <= bytes_; at += 8) {
    uint64_t value = 0;
    std::memcpy(&value, stage_->arena() + at, 8);
    if (!IsPrivatePointer(value)) continue;
    Violate("a pointer is stored in the image at offset " + std::to_string(at % stride_));
  }
}

void SimCore::Access(const SimAccess& access) {
  const auto& [arena_offset, bytes, read, write, plain, code] = access;
  if (current_ < 0) return;
  if (last_write_bytes_ != 0) CheckLastWrite();
  const uint64_t owner = arena_offset >> stride_bits_;
  const uint64_t offset = arena_offset & (stride_ - 1);
  if (owner != current() && !any_mapping_) {
    Violate("an access to the mapping of process " + std::to_string(owner) + ", offset " +
            std::to_string(offset) + ", by process " + std::to_string(current()));
  }
  if (offset + bytes > bytes_) {
    Violate("an access beyond the end of the mapping, at offset " + std::to_string(offset));
  }
  if (alone_ && ++total_ < plan_.accesses_max) {  // most accesses of a run: setting up, the audit
    now_ns_ += kAccessNs;
  } else {
    if (trace_) Trace(write ? "writes at" : "reads at", offset);
    CountAndMaybeDie(write);
    MaybeSwitch(write);
    if (conflicts_.active()) {
      MarkConflict(conflicts_.Note(current(), dead_, offset, bytes, write));
    }
  }
  if (plan_.hostile && hostile_peer_->Strike(offset))
    Trace("finds changed", hostile_peer_->where());
  RememberAccess(access);
  if (plain && plan_.weak) weak_memory_->Plain(current(), offset, bytes, write);
  if (plan_.meetings != nullptr) plan_.meetings->Note(current(), offset, write, code);
  if (!write) return;
  stage_->NoteWrite(offset, bytes);
  last_write_ = arena_offset;
  last_write_bytes_ = bytes;
}

}  // namespace thole::shm::testing
