#include "program.h"

#include <cstring>
#include <numeric>

namespace thole::proptests {
namespace {

constexpr int kAuditEvery = 8;
constexpr int kFinishMax = 1000;

}  // namespace

std::vector<CallSpec> AllCalls(const Fates& fates, const std::vector<CallSpec>& own) {
  std::vector<CallSpec> calls = {{"leave", kLeave, fates.leave, {}, true},
                                 {"recover", kRecover, fates.recover, {}, true}};
  calls.insert(calls.end(), own.begin(), own.end());
  return calls;
}

std::string Describe(const Choice& choice, const std::vector<CallSpec>& calls) {
  std::string text = std::to_string(choice.who);
  if (choice.kind == Choice::kDie) return text + " dies";
  if (choice.kind == Choice::kAttach) {
    text += " attaches";
  } else {
    const CallSpec& spec = calls[choice.spec];
    text += (choice.kind == Choice::kForked ? " in a forked child: " : " ") + spec.name;
    for (size_t i = 0; i < 3 && spec.limits[i] != 0; ++i) {
      text += " " + std::to_string(choice.words[i]);
    }
  }
  if (choice.die_at != 0) text += ", dies at crash point " + std::to_string(choice.die_at);
  return text;
}

Program::Program(const Subject& subject, std::unique_ptr<Machine> machine,
                 std::vector<CallSpec> calls)
    : subject_(subject), machine_(std::move(machine)), calls_(std::move(calls)) {}

void Program::Break(const std::string& law) {
  if (broken_.empty()) broken_ = law;
}

// Notes it; false when the machine itself has something to complain about.
bool Program::Heard(int who, const std::string& what, const Reply& reply) {
  log_ += std::to_string(who) + " " + what + ": ";
  if (!reply.answered) {
    log_ += "cut off\n";
  } else {
    log_ += "answer " + std::to_string(static_cast<uint32_t>(reply.answer)) + " " +
            std::to_string(reply.words[0]) + " " + reply.text +
            (reply.died ? ", then dies\n" : "\n");
  }
  if (reply.broken) Break(what + ": " + reply.text);
  return !reply.broken;
}

void Program::Begin() {
  Attach(0, 0);
  Attach(1, 0);
}

void Program::Step(const Choice& choice) {
  if (!broken_.empty()) return;
  const int who = choice.who;
  switch (choice.kind) {
    case Choice::kAttach:
      Attach(who, choice.die_at);
      break;
    case Choice::kDie:
      Die(who);
      break;
    default: {
      const CallSpec& spec = calls_[choice.spec];
      Order order{.call = spec.call, .die_at = choice.die_at};
      std::copy(choice.words.begin(), choice.words.end(), order.words);
      const bool known = spec.call < kFirstOwnCall || Resolve(lives_[who], order, next_fresh_++);
      if (known && choice.kind == Choice::kForked) CallForked(who, spec, order);
      if (known && choice.kind == Choice::kCall) Call(who, spec, order);
      // What may be done depends on answers, but who is attached must be as planned.
      if (!known && choice.die_at != 0) Die(who);
    }
  }
  if (++steps_ % kAuditEvery == 0) ExpectAudit();
}

void Program::RepairedAll(uint64_t count) {
  if (count < repairs_min_ || count > repairs_max_) {
    Break("a repair repairs every dead participant, and nobody else: it repaired " +
          std::to_string(count));
  }
  Gone(dead_);
  dead_.clear();
  repairs_min_ = repairs_max_ = 0;
  cut_off_ = 0;
}

void Program::Attach(int who, uint32_t die_at) {
  const Reply reply = machine_->Attach(who, die_at);
  lives_[who] = next_life_++;
  if (!Heard(who, "attaches as " + std::to_string(lives_[who]), reply)) return;
  if (!reply.answered) return AfterDeathInside(who, {.call = kRecover});
  RepairedAll(repairs_max_);
  if (!reply.died) return;
  dead_.push_back(std::exchange(lives_[who], 0));
  ++repairs_min_;
  ++repairs_max_;
}

void Program::Die(int who) {
  log_ += std::to_string(who) + " dies\n";
  machine_->Die(who);
  dead_.push_back(std::exchange(lives_[who], 0));
  ++repairs_min_;
  ++repairs_max_;
}

void Program::AfterDeathInside(int who, const Order& order) {
  const bool was_quiet = cut_off_ == 0;
  const int life = std::exchange(lives_[who], 0);
  dead_.push_back(life);
  ++repairs_max_;
  ++cut_off_;
  if (order.call >= kFirstOwnCall) {
    ++repairs_min_;
    return CutOff(life, order, was_quiet);
  }
  // Leaving and repairing are many steps: how far it came is seen only when somebody went on.
  if (order.call == kRecover) repairs_min_ = 0;
  for (int other = 0; other < kParticipants; ++other) {
    if (lives_[other] == 0) continue;
    return Call(other, {"recover", kRecover, 0}, {.call = kRecover});
  }
}

void Program::Call(int who, const CallSpec& spec, Order order) {
  const Reply reply = machine_->Do(who, order);
  std::string what = spec.name;
  for (size_t i = 0; i < 3 && spec.limits[i] != 0; ++i)
    what += " " + std::to_string(order.words[i]);
  if (!Heard(who, what, reply)) return;
  if (!reply.answered) return AfterDeathInside(who, order);
  const int life = lives_[who];
  if (order.call == kLeave) {
    if (reply.answer != Answer::kOk) Break("whoever wants to leave can");
    lives_[who] = 0;
    if (!reply.died) machine_->Forget(who);
    return Gone({life});
  }
  if (order.call == kRecover) RepairedAll(reply.words[0]);
  if (reply.answer == Answer::kForked) Break("only a forked child is told that it is one");
  const std::string law = Judge(life, order, reply, cut_off_ == 0);
  if (!law.empty()) Break(law + " [" + what + "]");
  if (!reply.died) return;
  dead_.push_back(std::exchange(lives_[who], 0));
  ++repairs_min_;
  ++repairs_max_;
}

void Program::CallForked(int who, const CallSpec& spec, const Order& order) {
  const shm::SegmentView view = machine_->segment().view();
  const std::byte* bytes = view.base();
  const std::vector<std::byte> before(bytes, bytes + view.size_bytes());
  const Reply reply = machine_->DoForked(who, order);
  if (!Heard(who, "in a forked child: " + spec.name, reply)) return;
  if (reply.answer != Answer::kForked) Break("an inherited handle answers that it is inherited");
  if (std::memcmp(before.data(), bytes, before.size()) != 0) {
    Break("a forked child changes nothing: " + spec.name);
  }
}

void Program::ExpectAudit() {
  if (cut_off_ != 0 || !broken_.empty()) return;
  const std::string findings = subject_.audit(machine_->segment());
  if (!findings.empty()) Break("an audit finds nothing, but: " + findings);
}

void Program::Finish() {
  for (int who = 0; who < kParticipants && broken_.empty(); ++who) {
    if (lives_[who] != 0) Call(who, {"leave", kLeave, 0}, {.call = kLeave});
  }
  if (!broken_.empty()) return;
  Attach(0, 0);
  ExpectAudit();
  Call(0, {"recover", kRecover, 0}, {.call = kRecover});
  ExpectAudit();
  for (int left = kFinishMax; broken_.empty(); --left) {
    Order order;
    if (!NextOfFinish(lives_[0], order, next_fresh_++)) break;
    if (left == 0) return Break("what is in a segment can be taken out of it");
    Call(0, {"finish", order.call, 0, {1, 1, 1}}, order);
  }
  ExpectAudit();
  for (uint64_t number = 0; broken_.empty(); ++number) {
    Order order;
    if (!LastLook(number, order, next_fresh_++)) break;
    Call(0, {"last look", order.call, 0, {1, 1, 1}}, order);
  }
}

}  // namespace thole::proptests
