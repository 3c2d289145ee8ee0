#include "thole/shm/testing/die_within.h"

#include <cstring>
#include <utility>
#include <vector>

#include "process_maker.h"
#include "step_recorder.h"
#include "step_states.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kChangesMax = 1 << 18;

void Die(Process& dying, Random& random, const Body& body) {
  const SegmentView mapping = PlatformOf(dying).mapping();
  std::vector<std::byte> before(mapping.base(), mapping.base() + mapping.size_bytes());
  StepRecorder recorder(mapping.size_bytes(), kChangesMax);
  recorder.Record(mapping.base(), mapping.size_bytes(), [&] { body(dying); });
  StepStates states(std::move(before), recorder.changes());
  for (uint64_t n = random.Below(StepStates::Count(recorder.changes())); n > 0; --n) {
    states.Next();
  }
  std::memcpy(mapping.base(), states.bytes().data(), states.bytes().size());
  Kill(dying);  // its destructor touches nothing now
}

}  // namespace

bool DieWithin(World& world, Process& like, Random& random, const std::vector<Body>& bodies) {
  std::vector<std::unique_ptr<Process>> dying;
  for (size_t i = 0; i < bodies.size(); ++i) {
    dying.push_back(MakeSuccessor(world, like));
    if (dying.back() == nullptr) return false;
    if (!JoinProcess(world, *dying.back(), "dying").empty()) return false;
  }
  for (size_t i = 0; i < bodies.size(); ++i) Die(*dying[i], random, bodies[i]);
  return true;
}

bool DieWithin(World& world, Process& like, Random& random, const Body& body) {
  return DieWithin(world, like, random, std::vector<Body>{body});
}

}  // namespace thole::shm::testing
