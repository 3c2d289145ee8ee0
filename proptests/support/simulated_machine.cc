#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdlib>
#include <iterator>
#include <optional>

#include "machine.h"
#include "thole/shm/crash_point.h"
#include "thole/shm/testing/fake_kernel.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define THOLE_LEAK_CHECK 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define THOLE_LEAK_CHECK 1
#endif
#ifdef THOLE_LEAK_CHECK
#include <sanitizer/lsan_interface.h>
#endif

namespace thole::proptests {
namespace {

using shm::testing::FakeKernel;
using shm::testing::FakePlatform;

// How a call ended: by itself, at its crash point, or (the number of a signal) by a crash.
constexpr int kEnded = 0;
constexpr int kCutOff = -1;

sigjmp_buf before_the_call;
uint32_t points_left = 0;
volatile sig_atomic_t in_a_call = 0;

void JumpAtTheLastPoint(const char*) {
  if (--points_left == 0) siglongjmp(before_the_call, kCutOff);
}

// A crash of the code under test is a broken law like another, which can be shrunk.
void JumpOnACrash(int signal) {
  if (in_a_call != 0) siglongjmp(before_the_call, signal);
  ::signal(signal, SIG_DFL);
  raise(signal);
}

class CrashesAreCaught {
 public:
  CrashesAreCaught() {
    struct sigaction action = {};
    action.sa_handler = JumpOnACrash;
    action.sa_flags = SA_NODEFER;  // who jumped out does not return from the handler
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~CrashesAreCaught() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }

 private:
  static constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
  struct sigaction before_[std::size(kSignals)] = {};
};

// What a call that is cut off holds on the heap of the process is lost, as it is in a real death.
class LostOnPurpose {
 public:
#ifdef THOLE_LEAK_CHECK
  LostOnPurpose() { __lsan_disable(); }
  ~LostOnPurpose() { __lsan_enable(); }
#else
  LostOnPurpose() {}  // so that it counts as used
#endif
};

/// No destructor runs in a call that is cut off at its nth crash point, as in a real death.
int RunToPoint(uint32_t nth, const std::function<void()>& call) {
  const LostOnPurpose lost;
  points_left = nth;
  const int end = sigsetjmp(before_the_call, 0);
  if (end == 0) {
    in_a_call = 1;
    if (nth != 0) shm::crash_point_hook = JumpAtTheLastPoint;
    call();
  }
  in_a_call = 0;
  shm::crash_point_hook = nullptr;
  return end;
}

class SimulatedMachine final : public Machine {
 public:
  explicit SimulatedMachine(const Subject& subject)
      : subject_(subject),
        memory_(mmap(nullptr, kSegmentBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0)) {
    if (memory_ == MAP_FAILED) std::abort();
    auto made = shm::Segment::Create(place(), kSegment, subject.roots);
    if (!made.ok()) std::abort();
    segment_.emplace(*std::move(made));
  }
  ~SimulatedMachine() override {
    for (int who = 0; who < kParticipants; ++who) Die(who);
    segment_.reset();
    munmap(memory_, kSegmentBytes);
  }

  Reply Attach(int who, uint32_t die_at) override {
    Reply reply;
    const LostOnPurpose lost;  // a frame that is cut off may hold a reference to any of it
    Participant& participant = participants_[who];
    auto segment = shm::Segment::Open(place(), {});
    if (!segment.ok()) std::abort();
    auto platform =
        std::make_unique<FakePlatform>(kernel_, shm::SegmentView(memory_, kSegmentBytes));
    participant.platform = platform.get();
    auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
    if (!attachment.ok()) std::abort();
    participant.agent = subject_.make_agent(*attachment);
    const auto join = [&] {
      const absl::Status joined = participant.agent->attachment().Join("participant");
      if (!joined.ok()) return reply.Break("join: " + joined.ToString());
      participant.agent->Joined();
      reply.answer = Answer::kOk;
    };
    Finish(who, die_at, RunToPoint(die_at, join), reply);
    return reply;
  }
  Reply Do(int who, const Order& order) override {
    Reply reply;
    Agent& agent = *participants_[who].agent;
    Finish(who, order.die_at, RunToPoint(order.die_at, [&] { agent.Do(order, reply); }), reply);
    return reply;
  }
  // A child of fork sees the same handles, and they see that they are in a child.
  Reply DoForked(int who, const Order& order) override {
    Reply reply;
    participants_[who].platform->SetForked(true);
    const int end = RunToPoint(0, [&] { participants_[who].agent->Do(order, reply); });
    participants_[who].platform->SetForked(false);
    Finish(who, 0, end, reply);
    return reply;
  }
  void Die(int who) override {
    if (participants_[who].agent == nullptr) return;
    participants_[who].platform->Die();  // its destructors do nothing from here on
    participants_[who] = {};
  }
  void Forget(int who) override { participants_[who] = {}; }
  const shm::Segment& segment() const override { return *segment_; }

 private:
  struct Participant {
    FakePlatform* platform = nullptr;
    std::unique_ptr<Agent> agent = nullptr;
  };
  shm::Place place() const { return shm::Place::Memory(memory_, kSegmentBytes); }
  void Finish(int who, uint32_t die_at, int end, Reply& reply) {
    if (end > 0) reply.Break("crashes with signal " + std::to_string(end));
    reply.answered = end == kEnded;
    reply.died = die_at != 0;
    if (die_at != 0) Die(who);
  }

  const CrashesAreCaught crashes_are_caught_;
  Subject subject_;
  void* memory_;
  std::optional<shm::Segment> segment_;
  std::shared_ptr<FakeKernel> kernel_ = std::make_shared<FakeKernel>(8);
  Participant participants_[kParticipants];
};

}  // namespace

std::unique_ptr<Machine> MakeSimulatedMachine(const Subject& subject) {
  return std::make_unique<SimulatedMachine>(subject);
}

}  // namespace thole::proptests
