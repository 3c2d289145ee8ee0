// Program: a random list of commands, done by a machine and judged by a model.
//
// RapidCheck draws and shrinks `Choice`s. What it knows meanwhile (`Plan`) is who is attached: the
// rest follows from the answers, since nobody can say beforehand whether a call in which its caller
// died took effect. So a program keeps every state in which the segment may be: a call that was cut
// off adds the states after each of its outcomes, and each answer takes away those that it
// contradicts. When none is left, a law is broken.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "machine.h"

namespace thole::proptests {

/// One kind of command: how often it is drawn relative to the others, and below what its words are.
struct CallSpec {
  std::string name;
  uint32_t call;
  int weight;
  std::array<uint64_t, 3> limits = {};
  bool in_child = false;  // may be tried in a forked child: it keeps what it is given
};

/// How often the commands of every component are drawn.
struct Fates {
  int attach = 6;
  int leave = 2;
  int die = 2;
  int recover = 4;
  int die_inside = 4;  // of a hundred calls
  int forked = 3;      // of a hundred calls that may
};

struct Choice {
  enum Kind { kAttach, kDie, kCall, kForked };
  Kind kind = kAttach;
  int who = 0;
  uint32_t spec = 0;
  uint32_t die_at = 0;
  std::array<uint64_t, 3> words = {};
};

/// The common calls, then the component's own.
std::vector<CallSpec> AllCalls(const Fates& fates, const std::vector<CallSpec>& own);
std::string Describe(const Choice& choice, const std::vector<CallSpec>& calls);

/// What is drawn is done here; `broken()` is the first law that did not hold.
class Program {
 public:
  Program(const Subject& subject, std::unique_ptr<Machine> machine, std::vector<CallSpec> calls);
  virtual ~Program() = default;
  /// The first two participants attach.
  void Begin();
  void Step(const Choice& choice);
  /// Everybody leaves, one comes and takes what is there: then nothing is left.
  void Finish();
  const std::string& broken() const { return broken_; }
  /// What was done and answered, for people.
  const std::string& log() const { return log_; }

 protected:
  /// Turns drawn numbers into those that mean something; false when there is nothing to do.
  virtual bool Resolve(int life, Order& order, uint64_t fresh) = 0;
  /// The broken law, or "". `quiet`: nobody who died inside a call waits for repair.
  virtual std::string Judge(int life, const Order& order, const Reply& reply, bool quiet) = 0;
  virtual void CutOff(int life, const Order& order, bool quiet) = 0;
  virtual void Gone(const std::vector<int>& lives) = 0;
  /// The next call of the last participant that empties the segment; false when it is done.
  virtual bool NextOfFinish(int life, Order& order, uint64_t fresh) = 0;
  /// The nth look at a segment that is said to be empty; false when there is no further one.
  virtual bool LastLook(uint64_t number, Order& order, uint64_t fresh) = 0;

 private:
  void Break(const std::string& law);
  void Attach(int who, uint32_t die_at);
  void Die(int who);
  void Call(int who, const CallSpec& spec, Order order);
  void CallForked(int who, const CallSpec& spec, const Order& order);
  void AfterDeathInside(int who, const Order& order);
  void RepairedAll(uint64_t count);
  void ExpectAudit();
  bool Heard(int who, const std::string& what, const Reply& reply);

  Subject subject_;
  std::unique_ptr<Machine> machine_;
  std::vector<CallSpec> calls_;
  std::array<int, kParticipants> lives_ = {};  // 0: not attached
  std::vector<int> dead_;                      // lives that nobody repaired yet
  uint64_t repairs_min_ = 0;                   // so many seats wait for repair
  uint64_t repairs_max_ = 0;
  int cut_off_ = 0;  // of the dead, those that died inside a call
  int next_life_ = 1;
  uint64_t next_fresh_ = 1000;
  int steps_ = 0;
  std::string log_;
  std::string broken_;
};

/// Where a segment may be: a model, and the calls of the dead that may still take effect.
template <class Model>
class ProgramOf final : public Program {
 public:
  ProgramOf(const Subject& subject, std::unique_ptr<Machine> machine, std::vector<CallSpec> calls,
            const Model& model)
      : Program(subject, std::move(machine), std::move(calls)) {
    states_.push_back({model, {}});
  }

 private:
  struct Open {
    int life;
    Order order;
    friend bool operator==(const Open&, const Open&) = default;
  };
  struct State {
    Model model;
    std::vector<Open> open;
    friend bool operator==(const State&, const State&) = default;
  };
  using States = std::vector<State>;

  static void Add(States& states, State state) {
    if (std::find(states.begin(), states.end(), state) == states.end()) {
      states.push_back(std::move(state));
    }
  }
  // With every open call done, or not, in any order.
  static States WithOpenCalls(States states) {
    for (size_t i = 0; i < states.size(); ++i) {
      for (size_t j = 0; j < states[i].open.size(); ++j) {
        const Open open = states[i].open[j];
        for (Model& model : states[i].model.Outcomes(open.life, open.order, false)) {
          State next{std::move(model), states[i].open};
          next.open.erase(next.open.begin() + static_cast<std::ptrdiff_t>(j));
          Add(states, std::move(next));
        }
      }
    }
    return states;
  }

  bool Resolve(int life, Order& order, uint64_t fresh) override {
    const Order drawn = order;
    bool same = states_[0].model.Resolve(life, order, fresh);
    for (const State& state : states_) {
      Order other = drawn;
      same = same && state.model.Resolve(life, other, fresh) && other == order;
    }
    return same;
  }
  std::string Judge(int life, const Order& order, const Reply& reply, bool quiet) override {
    States after;
    std::string law;
    for (State& state : WithOpenCalls(states_)) {
      std::string broken = state.model.Accept(life, order, reply, quiet);
      if (broken.empty()) {
        Add(after, std::move(state));
      } else if (law.empty()) {
        law = std::move(broken);
      }
    }
    if (after.empty()) return law;
    states_ = std::move(after);
    return "";
  }
  void CutOff(int life, const Order& order, bool quiet) override {
    States after;
    for (const State& state : states_) {
      State nothing = state;
      if (Model::kMayTakeEffectLater) nothing.open.push_back({life, order});
      Add(after, std::move(nothing));
      if (Model::kMayTakeEffectLater) continue;
      for (Model& model : state.model.Outcomes(life, order, quiet)) Add(after, {model, {}});
    }
    states_ = std::move(after);
  }
  void Gone(const std::vector<int>& lives) override {
    States after;
    for (State& state : WithOpenCalls(states_)) {
      state.model.Gone(lives);
      std::erase_if(state.open, [&](const Open& open) {
        return std::find(lives.begin(), lives.end(), open.life) != lives.end();
      });
      Add(after, std::move(state));
    }
    states_ = std::move(after);
  }
  bool NextOfFinish(int life, Order& order, uint64_t fresh) override {
    return states_[0].model.NextOfFinish(life, order, fresh);
  }
  bool LastLook(uint64_t number, Order& order, uint64_t fresh) override {
    return states_[0].model.LastLook(number, order, fresh);
  }

  States states_;
};

}  // namespace thole::proptests
