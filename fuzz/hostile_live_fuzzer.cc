// Two participants work in a segment of which a third one overwrites words between their calls.
// They may get errors and wrong payloads; they must not crash, hang, or leave the mapping.
//
// Input: rows of {who, a call} or {overwrite, a patch}; see support/comm_calls.h and damage.h.

#include "support/comm_calls.h"
#include "support/damage.h"
#include "support/reference_image.h"

namespace {

using namespace thole;

constexpr uint32_t kStepsMax = 64;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::ReferenceStage stage;
  fuzz::ByteSource input(data, size);
  const auto kernel = stage.Begin();
  std::vector<fuzz::CommCalls> workers;
  for (int i = 0; i < 2; ++i) {
    auto system = stage.image().Open(kernel);
    if (system.ok()) workers.emplace_back(*std::move(system));
  }
  fuzz::Damage damage(stage.image().bytes());
  for (uint32_t i = 0; i < kStepsMax && !input.empty() && !workers.empty(); ++i) {
    const uint8_t who = input.Byte();
    if (who % 4 == 3) {
      damage.Overwrite(input);
      continue;
    }
    const size_t at = who % workers.size();
    if (!workers[at].Step(input)) workers.erase(workers.begin() + static_cast<long>(at));
  }
  return 0;
}
