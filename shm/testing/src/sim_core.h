// SimCore: fibers over several mappings of one image, and who goes on at each access.
//
// It knows nothing of thole, and includes none of it: it is compiled without instrumentation, and
// an inline function of a thole header must not exist in such a version in the same executable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "hostile_peer.h"
#include "image_shadow.h"
#include "sim_meetings.h"
#include "sim_script.h"
#include "sim_stage.h"
#include "visited_states.h"
#include "weak_memory.h"

namespace thole::shm::testing {

inline constexpr int64_t kAccessNs = 10;
inline constexpr uint64_t kNoDeath = std::numeric_limits<uint64_t>::max();

/// All that decides the order of a phase.
struct SimPlan {
  uint64_t seed = 0;
  uint64_t accesses_max = 0;   // of all fibers together: more is a hang
  uint32_t switch_one_in = 1;  // random mode: how long one fiber goes on, on average
  uint32_t stall_one_in = 0;   // kernel calls after which a fiber stands still for long; 0 = none
  bool priorities = false;
  std::vector<uint64_t> demotions;  // priorities mode: accesses at which the running one goes last
  std::array<uint64_t, kFibersMax> death_at;  // the access before which a fiber dies
  // If not 0, `death_at` counts from this kernel call of the fiber on: where repairs begin.
  std::array<uint32_t, kFibersMax> death_after_call{};
  // If not null, nothing of the above counts but `accesses_max`: SimScript says what happens. No
  // time passes by accesses.
  const SimScript* script = nullptr;
  bool record_points = true;  // under a script: SimCore::points says where others branch off
  bool weak = false;          // loads may return what WeakMemory allows
  // Words are overwritten now and then (HostilePeer), and who only waits is cut off, not hung.
  bool hostile = false;
  bool patient = false;              // the same without the overwriting: for what comes after it
  ConflictMap* conflicts = nullptr;  // if not null, conflicts of the phase are added to it
  SimMeetings* meetings = nullptr;   // if not null, it is told of all accesses
  // If not null: behind its script the phase ends at the first state that is among them, reached
  // with at least as many switches left, and adds those that it comes by. Needs a mark.
  VisitedStates* visited = nullptr;
  std::function<uint64_t()> kernel_state = {};  // a hash of it
  uint32_t switches_left = 0;
  uint32_t deaths_left = 0;
  bool keeps_histories = false;  // also what the dead and those that ended did makes a difference
};

struct SimAccess {
  uint64_t at = 0;  // in the arena
  uint64_t bytes = 0;
  bool read = false;
  bool write = false;
  bool plain = false;
  const void* code = nullptr;  // where in the program
};

class SimCore {
 public:
  /// Called in the dying fiber, before anybody else runs.
  using DeathHook = std::function<void(uint32_t fiber)>;

  /// On a stage of its own, or on one that it borrows and that nobody else uses meanwhile.
  SimCore(uint64_t image_bytes, DeathHook on_death, SimStage* stage = nullptr);
  ~SimCore();
  SimCore(const SimCore&) = delete;
  SimCore& operator=(const SimCore&) = delete;

  /// The mapping of a fiber; all show the same bytes.
  std::byte* view(uint32_t fiber) const { return stage_->view(fiber); }
  uint64_t bytes() const { return bytes_; }
  int64_t& clock() { return now_ns_; }
  void set_trace(bool trace) { trace_ = trace; }
  /// Whether a fiber may touch the mappings of others: while one prepares for all.
  void set_any_mapping(bool any) { any_mapping_ = any; }

  /// From now on the entry points show accesses to this one.
  void TakeOver();
  /// Begins a run: no violation, nobody dead.
  void Reset();
  /// From now on the image is followed; `Rewind` begins a run with its bytes and the clock as they
  /// are now.
  void Mark();
  void Rewind();
  /// Whether all stores since the mark were seen.
  bool SawAllStores();
  uint64_t HashOfMark() const { return shadow_->hash_of_mark(); }
  /// Of what differs from the mark, and who is dead.
  uint64_t HashOfImage() const;
  /// Adds a fiber to the next phase; `late` ones only run once somebody died.
  void Add(uint32_t fiber, std::function<void()> body, bool late = false);
  /// Runs the added fibers until none can go on. Afterwards none is left.
  void RunPhase(const SimPlan& plan);

  /// "" or what went wrong, as soon as it did.
  const std::string& violation() const { return violation_; }
  bool died(uint32_t fiber) const { return (dead_ >> fiber & 1) != 0; }
  /// Accesses of a fiber in the last phase.
  uint64_t accesses(uint32_t fiber) const { return accesses_[fiber]; }
  uint64_t accesses_total() const { return total_; }
  bool follows_script() const { return current_ >= 0 && plan_.script != nullptr; }
  /// Of the last phase that followed a script: access `i + 1` of all.
  std::vector<SimPoint>& points() { return points_; }

  // Called in a fiber.
  uint32_t current() const { return static_cast<uint32_t>(current_); }
  bool in_fiber() const { return current_ >= 0; }
  void EnterKernel();  ///< others may run now, perhaps for long, or the caller dies
  void HandOver();     ///< others run now if they can
  void Sleep(int64_t until_ns);
  void Wake(uint32_t fiber);
  [[noreturn]] void Violate(const std::string& what);
  /// An access to the arena, before it happens.
  void Access(const SimAccess& access);
  /// What the kernel answered.
  void Saw(uint64_t answer) { Remember(answer); }
  /// What an access reads is what is there now.
  void RememberAccess(const SimAccess& access) {
    if (plan_.visited != nullptr) AppendAccess(access);
  }
  uint64_t OffsetInImage(uint64_t arena_offset) const { return arena_offset & (stride_ - 1); }
  /// Null unless the phase has a weak memory.
  WeakMemory* weak() { return plan_.weak && in_fiber() ? weak_memory_.get() : nullptr; }
  /// Whether the last phase ended although some still waited.
  bool cut_off() const { return cut_off_; }
  /// Whether it ended because a state was known.
  bool pruned() const { return pruned_; }
  uint64_t stale_loads() const { return weak_memory_ == nullptr ? 0 : weak_memory_->stale_loads(); }
  /// After an access that the caller performed itself: pointers stored?
  void CheckLastWrite();

 private:
  static void FiberMain();
  void LetBeQuiet();
  uint64_t Random(uint64_t limit);
  /// `matters`: the access may change something that others see.
  void CountAndMaybeDie(bool matters, bool may_switch = true);
  void MaybeSwitch(bool matters);
  void SwitchByScript(bool matters);
  void PruneIfKnown(bool matters);
  uint64_t KeyOfState() const;
  void Remember(uint64_t detail) {
    if (plan_.visited != nullptr && in_fiber()) {
      histories_[current()] = Append(histories_[current()], detail);
    }
  }
  void AppendAccess(const SimAccess& access);
  void FollowLastWrite();
  [[noreturn]] void CutOff();
  [[noreturn]] void Die();
  bool EventIsDue() const {
    const auto& events = plan_.script->events;
    return next_event_ < events.size() && events[next_event_].at <= total_;
  }
  bool TakeEvent(bool death);
  void AddPoint(bool matters, bool may_switch);
  void MarkConflict(bool conflict) { conflict_before_[current()] = conflict; }
  void Stall();
  /// More accesses than a phase may have.
  void TooMany();
  [[noreturn]] void EndPhase();
  void GoOn(uint32_t fiber);
  /// Chooses who goes on. -1: nobody can.
  int Choose(bool not_current);
  int ChooseSleeper();
  int ChooseReady(uint32_t ready);
  void SwitchTo(int fiber);
  void DemoteCurrent();
  void Trace(const char* what, uint64_t detail) const;
  bool IsPrivatePointer(uint64_t value) const;

  uint64_t bytes_;
  std::unique_ptr<SimStage> own_stage_;
  SimStage* stage_;
  uint64_t stride_;  // a power of two
  uint32_t stride_bits_;
  DeathHook on_death_;
  std::unique_ptr<WeakMemory> weak_memory_;
  std::unique_ptr<HostilePeer> hostile_peer_;
  std::array<std::function<void()>, kFibersMax> bodies_;
  FiberPlace main_;
  SimPlan plan_;
  uint64_t random_ = 0;
  int64_t now_ns_ = 0;
  int current_ = -1;
  uint32_t ready_ = 0;  // bit per fiber
  uint32_t asleep_ = 0;
  uint32_t stalled_ = 0;
  uint32_t late_ = 0;
  uint32_t dead_ = 0;
  std::array<int64_t, kFibersMax> until_{};          // of a sleeper, on the clock
  std::array<uint64_t, kFibersMax> wakes_at_{};      // accesses of all: for no reason
  std::array<uint64_t, kFibersMax> stalled_till_{};  // accesses of all
  std::array<int64_t, kFibersMax> priority_{};
  int64_t lowest_priority_ = 0;
  std::array<uint64_t, kFibersMax> accesses_{};
  std::array<uint32_t, kFibersMax> calls_{};
  std::array<uint64_t, kFibersMax> busy_since_{};  // accesses of the fiber when it last waited
  bool cut_off_ = false;
  bool pruned_ = false;
  std::unique_ptr<ImageShadow> shadow_;  // null before the first mark
  int64_t marked_ns_ = 0;
  // By fiber: all that it did and was answered in this phase. Programs are deterministic, so this
  // says where it is and what it knows.
  std::array<uint64_t, kFibersMax> histories_{};
  uint64_t total_ = 0;
  uint64_t budget_ = 0;      // accesses until the next choice
  uint64_t last_write_ = 0;  // arena offset
  uint64_t last_write_bytes_ = 0;
  ConflictFinder conflicts_;
  std::array<bool, kFibersMax> conflict_before_{};  // the last access of the fiber, or its first
  std::vector<SimPoint> points_;
  size_t next_event_ = 0;
  SimEvent event_;  // that just happened
  bool just_switched_ = false;
  bool alone_ = false;  // nobody else takes part in the phase, and nobody dies in it
  bool any_mapping_ = false;
  bool trace_ = false;
  std::string violation_;
};

/// What the entry points look at first: nearly all accesses are none of ours.
struct SimArena {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  SimCore* core = nullptr;
  // Most of ours are reads by who is alone, in his own mapping: there only time passes.
  uint64_t quiet_begin = 0;
  uint64_t quiet_bytes = 0;
  uint64_t quiet_left = 0;
  int64_t* clock = nullptr;

  bool IsQuiet(uint64_t offset, uint64_t size) {
    if (size > quiet_bytes || offset - quiet_begin > quiet_bytes - size || quiet_left == 0) {
      return false;
    }
    --quiet_left;
    *clock += kAccessNs;
    return true;
  }
};
extern SimArena sim_arena;

}  // namespace thole::shm::testing
