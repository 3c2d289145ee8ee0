#include "law.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/state.h>

#include <numeric>
#include <sstream>

namespace thole::proptests {
namespace {

// Crash points that a call passes: a few, some more, or what a whole send passes.
constexpr uint64_t kDieAtMax[] = {4, 15, 60};

/// Who is attached when a program has come to a certain command.
struct Plan {
  std::array<bool, kParticipants> attached = {true, true};  // as after Program::Begin
};

using Calls = std::shared_ptr<const std::vector<CallSpec>>;

class Command final : public rc::state::Command<Plan, Program> {
 public:
  Command(const Choice& choice, Calls calls) : choice_(choice), calls_(std::move(calls)) {}
  void checkPreconditions(const Plan& plan) const override {
    RC_PRE(plan.attached[choice_.who] == (choice_.kind != Choice::kAttach));
  }
  void apply(Plan& plan) const override {
    const bool leaves =
        choice_.kind == Choice::kCall && (*calls_)[choice_.spec].call == CommonCall::kLeave;
    plan.attached[choice_.who] = choice_.kind != Choice::kDie && choice_.die_at == 0 && !leaves;
  }
  void run(const Plan&, Program& program) const override { program.Step(choice_); }
  void show(std::ostream& out) const override { out << Describe(choice_, *calls_); }

 private:
  Choice choice_;
  Calls calls_;
};

// The whole range also in small programs, which RapidCheck would draw from its beginning.
uint64_t Draw(uint64_t below) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<uint64_t>(0, below));
}
uint64_t DrawForGood(uint64_t below) {  // shrinking leaves it
  return *rc::gen::noShrink(
      rc::gen::resize(rc::kNominalSize, rc::gen::inRange<uint64_t>(0, below)));
}

Choice DrawChoice(const Plan& plan, const std::vector<CallSpec>& calls, const Fates& fates) {
  std::vector<int> in;
  std::vector<int> out;
  for (int who = 0; who < kParticipants; ++who) (plan.attached[who] ? in : out).push_back(who);
  std::vector<int> weights = {out.empty() ? 0 : fates.attach, in.empty() ? 0 : fates.die};
  for (const CallSpec& spec : calls) weights.push_back(in.empty() ? 0 : spec.weight);
  int64_t drawn = static_cast<int64_t>(DrawForGood(
      static_cast<uint64_t>(std::max(1, std::accumulate(weights.begin(), weights.end(), 0)))));
  uint32_t kind = 0;
  while (kind + 1 < weights.size() && (drawn -= weights[kind]) >= 0) ++kind;

  Choice choice;
  const bool cut_off = DrawForGood(100) < static_cast<uint64_t>(fates.die_inside);
  const bool forked = DrawForGood(100) < static_cast<uint64_t>(fates.forked);
  const std::vector<int>& from = kind == 0 ? out : in;
  choice.who = from[DrawForGood(from.size())];
  if (kind == 1) choice.kind = Choice::kDie;
  if (kind > 1) {
    choice.spec = kind - 2;
    const CallSpec& spec = calls[choice.spec];
    choice.kind = forked && spec.in_child ? Choice::kForked : Choice::kCall;
    for (size_t i = 0; i < spec.limits.size() && spec.limits[i] != 0; ++i) {
      choice.words[i] = Draw(spec.limits[i]);
    }
  }
  if (cut_off && (choice.kind == Choice::kCall || choice.kind == Choice::kAttach)) {
    choice.die_at = 1 + static_cast<uint32_t>(Draw(kDieAtMax[DrawForGood(3)]));
  }
  return choice;
}

void RunOne(const Law& law, On where, const Calls& calls) {
  const auto draw = [&](const Plan& plan) {
    return rc::gen::exec([plan, calls, fates = law.fates] {
      return std::shared_ptr<const rc::state::Command<Plan, Program>>(
          std::make_shared<Command>(DrawChoice(plan, *calls, fates), calls));
    });
  };
  const auto commands = *rc::state::gen::commands(Plan{}, draw);
  auto machine = where == On::kRealProcesses ? MakeProcessMachine(law.subject)
                                             : MakeSimulatedMachine(law.subject);
  const auto program = law.make_program(law.subject, std::move(machine), *calls);
  program->Begin();
  rc::state::runAll(commands, Plan{}, *program);
  program->Finish();
  if (!program->broken().empty()) RC_FAIL(program->broken() + "\nafter\n" + program->log());
}

}  // namespace

Law& Law::Weigh(uint32_t call, int weight) {
  for (CallSpec& spec : calls) {
    if (spec.call == call) spec.weight = weight;
  }
  return *this;
}

std::string NameOf(On where) {
  return where == On::kRealProcesses ? "InRealProcesses" : "InSimulatedProcesses";
}

void ExpectLaw(const Law& law, On where) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  rc::detail::TestMetadata test;
  test.id = std::string(info->test_suite_name()) + "." + info->name();
  test.description = test.id;
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  if (where == On::kRealProcesses) params.maxSuccess = std::max(1, params.maxSuccess / 4);
  const auto calls = std::make_shared<const std::vector<CallSpec>>(AllCalls(law.fates, law.calls));
  const auto result = rc::detail::checkTestable([&] { RunOne(law, where, calls); }, test, params);
  if (result.template is<rc::detail::SuccessResult>()) return;
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  ADD_FAILURE() << text.str() << "\nRepeat with RC_PARAMS=\"seed=" << params.seed
                << "\" and --gtest_filter=" << test.id;
}

}  // namespace thole::proptests
