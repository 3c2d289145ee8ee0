// SimRun: one program, run again and again; every run follows from its replay alone.
#pragma once

#include <array>
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
  bool cut_off = false;      // with a hostile peer: somebody waited for what was a lie
  std::string violation;     // "" = none
};

class SimRun final : private FakeScheduler {
 public:
  explicit SimRun(const Program& program);
  ~SimRun() override;
  void set_trace(bool trace) { core_.set_trace(trace); }
  /// Conflicts of all runs are added to it; null: not looked for.
  void set_conflicts(ConflictMap* conflicts) { conflicts_ = conflicts; }
  SimOutcome Run(const SimReplay& replay);
  /// Of the last run, if it followed a script.
  std::vector<SimPoint>& points() { return core_.points(); }
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
  void Take(uint64_t key) override {
    if (core_.weak() != nullptr) core_.weak()->Take(core_.current(), key);
  }

  void Choose(const SimReplay& replay, Random& random);
  void ChooseByScript(const SimReplay& replay);
  void ChooseRepairersDeath(uint32_t fiber, Random& random);
  /// Runs `work` in a fiber of its own; nobody else runs and nobody dies. False on a violation.
  bool Alone(uint32_t fiber, const std::function<void()>& work);
  bool MakeAndJoin(uint32_t fiber, std::string_view name, bool join);
  bool Prepare();
  void RunTogether();
  void RepairerBody(uint32_t fiber);
  void Finish(uint32_t died);
  void Judge(Process& survivor, uint32_t died);
  void Survive(Process& survivor);
  void Clear();

  const Program& program_;
  SimCore core_;
  std::unique_ptr<std::byte[]> pristine_;
  uint64_t pristine_bytes_ = 0;
  std::string format_error_;

  ConflictMap* conflicts_ = nullptr;

  // Of the present run.
  uint64_t seed_ = 0;
  SimPlan plan_;
  SimScript script_;
  uint32_t repairers_ = 0;
  bool fresh_survivor_ = false;
  std::shared_ptr<FakeKernel> kernel_;
  std::unique_ptr<World> world_;
  std::array<std::unique_ptr<Process>, kFibersMax> processes_;
  bool cut_off_ = false;
  std::string error_;
};

}  // namespace thole::shm::testing
