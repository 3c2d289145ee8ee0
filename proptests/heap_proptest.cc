// Laws of the heap.
#include <gtest/gtest.h>

#include "support/heap_laws.h"
#include "support/law.h"

namespace thole::proptests {
namespace {

constexpr uint64_t kPlaces = kShelf + 6;  // the last six: own blocks
constexpr uint64_t kSizes = uint64_t{22} << 21;

class HeapLaw : public ::testing::TestWithParam<On> {
 protected:
  static Law Heap(const Fates& fates) {
    const std::vector<CallSpec> calls = {{"allocate", kAllocate, 20, {kPlaces, kSizes, 40}, true},
                                         {"free", kFree, 12, {kPlaces}, true},
                                         {"shrink", kShrink, 8, {kPlaces, kSizes}, true}};
    return LawOf(HeapSubject(), calls, fates, HeapLaws{});
  }
};

TEST_P(HeapLaw, BlocksNeverOverlapAndKeepTheirBytesAndARequestThatFitsIsGranted) {
  ExpectLaw(Heap({.die = 0, .die_inside = 0}), GetParam());
}
TEST_P(HeapLaw, WhatTheDeadAndTheLeavingHeldIsFreeAndNothingElse) {
  ExpectLaw(Heap({.attach = 10, .leave = 4, .die = 6, .die_inside = 2}), GetParam());
}
TEST_P(HeapLaw, ACallInWhichItsCallerDiedTookEffectWhollyOrNotAtAll) {
  ExpectLaw(Heap({.attach = 16, .recover = 8, .die_inside = 25}), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Laws, HeapLaw,
                         ::testing::Values(On::kSimulatedProcesses, On::kRealProcesses),
                         [](const auto& test) { return NameOf(test.param); });

}  // namespace
}  // namespace thole::proptests
