// ExpectLaw: RapidCheck's side of a law. Draws programs, runs them, shrinks the one that fails.
//
// RC_PARAMS in the environment sets seed, max_success and the like, and repeats what failed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "program.h"

namespace thole::proptests {

enum class On { kSimulatedProcesses, kRealProcesses };

struct Law {
  Subject subject;
  std::vector<CallSpec> calls;  // the component's own
  Fates fates;
  std::function<std::unique_ptr<Program>(const Subject&, std::unique_ptr<Machine>,
                                         std::vector<CallSpec>)>
      make_program;
  /// Draws this call so often.
  Law& Weigh(uint32_t call, int weight);
};

/// A law whose programs are judged by copies of `model`.
template <class Model>
Law LawOf(const Subject& subject, const std::vector<CallSpec>& calls, const Fates& fates,
          const Model& model) {
  return {subject, calls, fates,
          [model](const Subject& tested, std::unique_ptr<Machine> machine,
                  std::vector<CallSpec> all) -> std::unique_ptr<Program> {
            return std::make_unique<ProgramOf<Model>>(tested, std::move(machine), std::move(all),
                                                      model);
          }};
}

/// A failure of the running test if a program breaks it. Real processes take a quarter of the runs.
void ExpectLaw(const Law& law, On where);
/// For the name of a parameterised test.
std::string NameOf(On where);

}  // namespace thole::proptests
