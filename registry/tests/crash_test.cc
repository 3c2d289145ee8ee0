// A real process dies at every named step of the registry, and so does its repairer.
#include <gtest/gtest.h>

#include "registry_world.h"
#include "thole/shm/testing/crash_test.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::NamedPlace;
using shm::testing::CrashPointHits;
using shm::testing::CrashPointsOf;
using shm::testing::RunAndDieAt;
using testing::AuditAll;
using testing::Member;
using testing::NamedSegment;

// Removes a queue and drains it, as comm would.
void TakeQueueAway(Member& me, const NamedPlace& place) {
  shm::Call call = me.attachment().Enter(1);
  (void)me.registry().MarkRemoved(call.lane(), place);
  (void)me.registry().ReleaseHold(call.lane(), place);
  (void)me.registry().ClaimDying(call.lane(), place);
  const auto loan = me.attachment().TakeLoan(call.lane(), nullptr, Deadline::Now());
  (void)me.registry().FreeEntry(call.lane(), place, loan);
  (void)me.heap().FreeLoan(call.lane(), loan, Deadline::Never());
  me.attachment().loans().Return(loan);
}

// Every kind of change, so that every step is passed.
void Life(const NamedSegment& segment) {
  auto me = segment.Join();
  SharedBufferRegistry& registry = me->registry();
  {
    auto a = registry.Create("a", 64);
    auto b = registry.Create("b", 64, {.lifetime = Lifetime::kEphemeral});
    auto c = registry.Create("c", 64);
    auto others = registry.Acquire("the parent's");
    c->Release();
    (void)registry.Remove("c");             // held by nobody
    (void)registry.Remove("a");             // held by me
    (void)registry.Remove("the parent's");  // held by me and another
  }
  NamedPlace queue;
  (void)me->PublishQueue("q", &queue);
  TakeQueueAway(*me, queue);
  auto orphan = registry.Create("orphan", 64);
  (void)registry.Remove("orphan");
  std::vector<shm::LoanRef> loans;
  while (const auto loan = me->attachment().loans().Take(0)) loans.push_back(loan);
  orphan->Release();
  for (const auto loan : loans) me->attachment().loans().Return(loan);
  (void)registry.Sweep();
  auto kept = registry.Create("kept", 64);
}

// Dies with handles, a queue, and names that others removed.
void LiveAndDieHolding(const NamedSegment& segment) {
  auto me = segment.Join();
  (void)me->Keep(me->registry().Create("removed", 64));
  (void)me->Keep(me->registry().Create("ephemeral", 64, {.lifetime = Lifetime::kEphemeral}));
  (void)me->Keep(me->registry().Create("persistent", 64));
  (void)me->registry().Remove("removed");
  NamedPlace queue;
  (void)me->PublishQueue("q", &queue);
  shm::Call call = me->attachment().Enter(1);
  (void)me->registry().MarkRemoved(call.lane(), queue);
  kill(getpid(), SIGKILL);
}

void RepairOthers(const NamedSegment& segment) { segment.Join()->attachment().RepairAll(); }

// A segment with a parent in it that holds one buffer.
struct Scene {
  NamedSegment segment{8};
  std::unique_ptr<Member> parent = segment.Join();
  Scene() { (void)parent->Keep(parent->registry().Create("the parent's", 64)); }

  void ExpectRepaired(uint32_t dead) {
    EXPECT_EQ(parent->attachment().RepairAll(), dead);
    shm::Findings findings;
    AuditAll(parent->attachment().segment(), findings);
    EXPECT_TRUE(findings.empty()) << findings.ToString();
    for (const BufferInfo& info : parent->registry().List()) {
      EXPECT_LE(info.holders, info.name == "the parent's" ? 1u : 0u) << info.name;
    }
    EXPECT_TRUE(parent->registry().Sweep());
    // Everything that is left can be taken away, and nothing is lost with it.
    for (const BufferInfo& info : parent->registry().List()) {
      if (info.kind == shm::kQueuePlace) {
        TakeQueueAway(*parent, info.place);
      } else if (info.state == EntryState::kLive) {
        EXPECT_TRUE(parent->registry().Remove(info.name).ok()) << info.name;
      }
    }
    parent->handles().clear();
    EXPECT_EQ(parent->registry().entry_count(), 0u);
    EXPECT_EQ(parent->heap().used_bytes(), 0u);
  }
};

// The registry's own steps, and those of lock and log wherever they happen in between.
std::vector<CrashPointHits> StepsOf(const std::function<void()>& body) {
  std::vector<CrashPointHits> points = CrashPointsOf("", body);
  std::erase_if(points, [](const CrashPointHits& point) {
    return !point.name.starts_with("registry.") && !point.name.starts_with("log.") &&
           !point.name.starts_with("lock.");
  });
  return points;
}

std::vector<CrashPointHits> LifePoints() {
  Scene scene;
  return StepsOf([&] { Life(scene.segment); });
}

std::vector<CrashPointHits> RepairPoints() {
  Scene scene;
  (void)RunAndDieAt("", 1, [&] { LiveAndDieHolding(scene.segment); });
  return StepsOf([&] { RepairOthers(scene.segment); });
}

class RegistryCrash : public ::testing::TestWithParam<CrashPointHits> {};

TEST_P(RegistryCrash, RecoversAfterEveryStep) {
  for (uint32_t hit = 1; hit <= GetParam().hits; ++hit) {
    Scene scene;
    const auto end = RunAndDieAt(GetParam().name, hit, [&] { Life(scene.segment); });
    ASSERT_TRUE(end) << "hit " << hit << ": " << end.ToString();
    scene.ExpectRepaired(1);
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, RegistryCrash, ::testing::ValuesIn(LifePoints()),
                         [](const auto& test) {
                           return shm::testing::TestNameOf(test.param.name);
                         });

class RegistryRepairCrash : public ::testing::TestWithParam<CrashPointHits> {};

TEST_P(RegistryRepairCrash, TheNextRepairerGoesOn) {
  for (uint32_t hit = 1; hit <= GetParam().hits; ++hit) {
    Scene scene;
    (void)RunAndDieAt("", 1, [&] { LiveAndDieHolding(scene.segment); });
    const auto end = RunAndDieAt(GetParam().name, hit, [&] { RepairOthers(scene.segment); });
    ASSERT_TRUE(end) << "hit " << hit << ": " << end.ToString();
    scene.ExpectRepaired(1);  // the repairer had no seat yet: Join repairs first
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, RegistryRepairCrash, ::testing::ValuesIn(RepairPoints()),
                         [](const auto& test) {
                           return shm::testing::TestNameOf(test.param.name);
                         });

TEST(RegistryCrashPoints, AllOfThemArePassed) {
  std::vector<std::string> names;
  for (const auto& point : LifePoints()) names.push_back(point.name);
  for (const char* step :
       {"publish.1", "publish.2", "publish.3", "publish.4", "settle.1", "settle.2", "settle.3",
        "settle.4", "settle.5", "hold.1", "drop.1", "drop.2", "drop.3", "drop.4"}) {
    const std::string name = std::string("registry.").append(step);
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  EXPECT_FALSE(RepairPoints().empty());
}

TEST(RegistryWait, FindsANameWhoseCreatorDiedBeforeReadersCouldSeeIt) {
  Scene scene;
  const auto end = RunAndDieAt("registry.publish.4", 1, [&] { Life(scene.segment); });
  ASSERT_TRUE(end);
  EXPECT_TRUE(absl::IsNotFound(scene.parent->registry().Lookup("a").status()));
  const auto info = scene.parent->registry().WaitFor("a", Deadline::In(std::chrono::seconds(30)));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->holders, 0u);
}

TEST(RegistryLock, OfADeadHolderIsTakenOver) {
  for (const char* step : {"registry.publish.3", "registry.publish.4", "registry.settle.2"}) {
    Scene scene;
    ASSERT_TRUE(RunAndDieAt(step, 1, [&] { Life(scene.segment); }));
    // No repair first: the next creator stalls on the lock and does what is needed.
    const auto made = scene.parent->registry().Create("b", 64);
    EXPECT_TRUE(made.ok()) << made.status();
    const bool committed = std::string_view(step) != "registry.publish.3";
    EXPECT_EQ(scene.parent->registry().Lookup("a").ok(), committed) << step;
  }
}

// A child that stops at a step, as under a debugger, and lives on.
class StoppedChild {
 public:
  StoppedChild(const char* step, const std::function<void()>& body) {
    std::fflush(nullptr);
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      wanted_ = step;
      shm::crash_point_hook = [](const char* name) {
        if (wanted_ == name) raise(SIGSTOP);
      };
      body();
      _exit(0);
    }
    int status = 0;
    waitpid(child_, &status, WUNTRACED);
    stopped_ = WIFSTOPPED(status);
  }
  bool stopped() const { return stopped_; }
  void GoOn() {
    int status = 0;
    do {
      kill(child_, SIGCONT);
      waitpid(child_, &status, WUNTRACED);
    } while (WIFSTOPPED(status));
  }

 private:
  static inline std::string_view wanted_;
  pid_t child_ = 0;
  bool stopped_ = false;
};

TEST(RegistryReaders, GoOnWhileAWriterIsStopped) {
  for (const char* step : {"registry.publish.3", "registry.publish.4", "registry.settle.1",
                           "registry.settle.2", "registry.settle.4", "registry.drop.3"}) {
    Scene scene;
    SharedBufferRegistry& registry = scene.parent->registry();
    StoppedChild child(step, [&] { Life(scene.segment); });
    ASSERT_TRUE(child.stopped()) << step;
    EXPECT_TRUE(registry.Lookup("the parent's").ok()) << step;
    EXPECT_TRUE(absl::IsNotFound(registry.Lookup("no name").status())) << step;
    for (const char* name : {"a", "b", "c", "q"}) {  // whatever is done to it now
      const absl::Status found = registry.Lookup(name).status();
      EXPECT_TRUE(found.ok() || absl::IsNotFound(found)) << step << ": " << found;
    }
    EXPECT_FALSE(registry.List().empty()) << step;
    EXPECT_TRUE(registry.Acquire("the parent's").ok()) << step;  // held: no lock needed
    EXPECT_EQ(scene.parent->attachment().RepairAll(), 0u) << "stopped is not dead";
    const Deadline soon = Deadline::In(std::chrono::milliseconds(5));
    EXPECT_TRUE(absl::IsDeadlineExceeded(registry.Create("z", 64, {}, soon).status())) << step;
    EXPECT_TRUE(absl::IsDeadlineExceeded(registry.Remove("the parent's", soon))) << step;
    child.GoOn();
    EXPECT_TRUE(registry.Create("z", 64).ok()) << step;
    scene.ExpectRepaired(0);  // it left as it should
  }
}

}  // namespace
}  // namespace thole::registry
