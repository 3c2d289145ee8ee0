// DieWithin: a shape in which somebody died in the middle of something, for `prepare`.
//
// A fresh process joins and runs the body as the stepper would; then the segment is put back to
// what it was behind one of the body's stores, a random one, and the process is dead. Nobody has
// repaired it yet: the operation that is stepped next meets it, or its repair does.
//
//   #include <thole/shm/testing/die_within.h>
//   void Example(thole::shm::testing::World& world, thole::shm::testing::Process& other,
//                thole::shm::testing::Random& random) {
//     using thole::shm::testing::Process;
//     thole::shm::testing::DieWithin(world, other, random,
//                                    [](Process& dying) { dying.attachment().RepairAll(); });
//   }
//
// For the stepper only: it needs its trap flag. Programs of the simulator have deaths anyway.
#pragma once

#include <functional>
#include <vector>

#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {

using Body = std::function<void(Process&)>;

/// `like` lends its mapping. False when there was no seat, and then nobody died.
bool DieWithin(World& world, Process& like, Random& random, const Body& body);
/// Several take their seats; then each runs its body and dies in it, one after the other. So the
/// later ones meet the dead, and nobody's joining repairs them.
bool DieWithin(World& world, Process& like, Random& random, const std::vector<Body>& bodies);

}  // namespace thole::shm::testing
