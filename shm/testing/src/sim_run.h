// SimRun: one program, run again and again; every run follows from its replay alone.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "process_maker.h"
#include "sim_core.h"
#include "thole/shm/testing/simulator.h"

namespace thole::shm::testing {

/// What one run did.
struct SimOutcome {
  uint64_t accesses = 0;
  uint64_t longest = 0;  // accesses of the busiest process
  uint32_t deaths = 0;
  uint64_t repairs = 0;
  uint64_t stale_loads = 0;  // in a weak memory
  bool pruned = false;       // it came to a state from which another run went on
  uint64_t ended_in = 0;     // hash of the bytes and of who is dead, before the repair at the end
  bool cut_off = false;      // with a hostile peer: somebody waited for what was a lie
  std::string violation;     // "" = none
};

class SimRun final : private FakeScheduler {
 public:
  explicit SimRun(const Program& program);
  /// On a stage that others use before and after it: it begins once.
  SimRun(const Program& program, SimStage& stage);
  ~SimRun() override;
  void set_trace(bool trace) { core_.set_trace(trace); }
  /// Conflicts of all runs are added to it; null: not looked for.
  void set_conflicts(ConflictMap* conflicts) { conflicts_ = conflicts; }
  /// From the second run on only what follows the preparation is run: all runs that follow are
  /// scripts of one seed, in a process that does nothing else. Known states end a run, if `visited`
  /// is not null; a script has at most so many switches and deaths.
  void Repeat(VisitedStates* visited, uint32_t switches, uint32_t deaths);
  /// The same for runs of different seeds, in random orders, if no seed is used before they begin.
  void RepeatIfAlike();
  SimOutcome Run(const SimReplay& replay);

  // Run in two halves, for somebody who keeps a copy of all memory in between.
  /// Until the processes are to run together. False when it did not come so far: Complete says why.
  bool Begin(const SimReplay& replay);
  /// Instead of the script that it began with; as many deaths in it may be repaired at once.
  void set_script(const SimScript& script) { script_ = script; }
  /// After all memory was put back as it was then: this is the simulator again that runs.
  void Resume() { core_.TakeOver(); }
  /// Asked when the dead are repaired and the ledger is checked, with a bit for each process that
  /// died: whether the same bytes were audited before. The audits read nothing else.
  void set_audited_before(std::function<bool(uint32_t)> audited) { audited_before_ = audited; }
  void set_meetings(SimMeetings* meetings) { meetings_ = meetings; }
  SimOutcome Complete();
  /// One for each death of a script that is repaired at once, as far as there are so many; and one
  /// at least, so that all scripts begin alike.
  static uint32_t RepairersFor(const SimScript& script);

  /// Of the last run, if it followed a script.
  std::vector<SimPoint>& points() { return core_.points(); }
  /// Once runs are repeated: of the bytes that all of them begin with.
  uint64_t HashOfStart() const { return core_.HashOfMark(); }
  uint64_t image_bytes() const { return core_.bytes(); }
  bool is_repairer(uint32_t fiber) const { return fiber >= first_repairer(); }

 private:
  /// Fibers: the setup process, those of the program, repairers, and who survives them all.
  static constexpr uint32_t kSetup = 0;
  static constexpr uint32_t kRepairersMax = 2;
  uint32_t first_repairer() const { return 1 + program_.processes; }
  uint32_t survivor() const { return first_repairer() + kRepairersMax; }
  SegmentView View(uint32_t fiber) const { return {core_.view(fiber), core_.bytes()}; }

  // FakeScheduler.
  void EnterKernel() override { core_.EnterKernel(); }
  void HandOver() override { core_.HandOver(); }
  void Sleep(int64_t until_ns) override { core_.Sleep(until_ns); }
  uint32_t Caller() override { return core_.current(); }
  void Wake(uint32_t caller) override { core_.Wake(caller); }
  void Give(uint64_t key) override {
    if (core_.weak() != nullptr) core_.weak()->Give(core_.current(), key);
  }
  bool TimeStandsStill() override { return core_.follows_script(); }
  void Saw(uint64_t answer) override { core_.Saw(answer); }
  void Take(uint64_t key) override {
    if (core_.weak() != nullptr) core_.weak()->Take(core_.current(), key);
  }

  SimRun(const Program& program, SimStage* stage);
  void Choose(const SimReplay& replay, Random& random);
  void ChooseByScript(const SimReplay& replay);
  void ChooseRepairersDeath(uint32_t fiber, Random& random);
  /// Runs `work` in a fiber of its own; nobody else runs and nobody dies. False on a violation.
  bool Alone(uint32_t fiber, const std::function<void()>& work);
  bool MakeAndJoin(uint32_t fiber, std::string_view name, bool join);
  /// A new world over a fresh image, prepared. False on a violation.
  bool Start();
  bool StartOrRewind();
  bool Prepare();
  bool MakeRepairers();
  /// How many there are differs from run to run: they are made behind the mark.
  bool makes_repairers_late() const { return repeats_ && plan_.script == nullptr; }
  void RunTogether();
  void RepairerBody(uint32_t fiber);
  void Finish(uint32_t died);
  bool WasJudged();
  void Judge(Process& survivor, uint32_t died);
  void Survive(Process& survivor);
  uint32_t CountTheDead(SimOutcome& outcome);
  void Clear();
  void ClearFrom(uint32_t fiber);

  const Program& program_;
  SimCore core_;
  std::unique_ptr<std::byte[]> pristine_;  // null on a borrowed stage
  std::string format_error_;

  ConflictMap* conflicts_ = nullptr;
  SimMeetings* meetings_ = nullptr;
  std::function<bool(uint32_t)> audited_before_;
  VisitedStates* visited_ = nullptr;
  uint32_t switches_ = 0;
  uint32_t deaths_ = 0;
  bool repeats_ = false;
  uint64_t runs_ = 0;

  // Of the present run.
  uint64_t seed_ = 0;
  SimPlan plan_;
  SimScript script_;
  uint32_t repairers_ = 0;
  bool fresh_survivor_ = false;
  std::shared_ptr<FakeKernel> kernel_;
  std::unique_ptr<World> world_;
  std::array<std::unique_ptr<Process>, kFibersMax> processes_;
  bool prepared_ = false;
  bool cut_off_ = false;
  std::string error_;
};

}  // namespace thole::shm::testing
