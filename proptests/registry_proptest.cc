// Laws of the registry.
#include <gtest/gtest.h>

#include "support/law.h"
#include "support/registry_laws.h"

namespace thole::proptests {
namespace {

constexpr uint64_t kNames = 4;

class RegistryLaw : public ::testing::TestWithParam<On> {
 protected:
  static Law Names(const Fates& fates) {
    const std::vector<CallSpec> calls = {{"create", kCreateBuffer, 18, {kNames, 3000, 2}, true},
                                         {"acquire", kAcquire, 14, {kNames}, true},
                                         {"release", kRelease, 14, {12}},
                                         {"remove", kRemove, 10, {kNames}, true},
                                         {"look up", kLookup, 10, {kNames}, true},
                                         {"list", kList, 6, {}, true}};
    return LawOf(RegistrySubject(), calls, fates, RegistryLaws{});
  }
};

TEST_P(RegistryLaw, ANameHasOneCreatorAndItsMemoryGoesWithTheLastWhoNeedsIt) {
  ExpectLaw(Names({.die = 0, .die_inside = 0}), GetParam());
}
TEST_P(RegistryLaw, TheDeadAndTheLeavingHoldNothingAndTakeNothingAway) {
  ExpectLaw(Names({.attach = 10, .leave = 4, .die = 6, .die_inside = 2}), GetParam());
}
TEST_P(RegistryLaw, ACallInWhichItsCallerDiedTookEffectWhollyOrNotAtAll) {
  ExpectLaw(Names({.attach = 16, .recover = 6, .die_inside = 20}), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Laws, RegistryLaw,
                         ::testing::Values(On::kSimulatedProcesses, On::kRealProcesses),
                         [](const auto& test) { return NameOf(test.param); });

}  // namespace
}  // namespace thole::proptests
