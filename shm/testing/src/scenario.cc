#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {

// Function-local, because registrations of other files run before this file's own variables.
std::vector<Operation>& Operations() {
  static std::vector<Operation> operations;
  return operations;
}

std::vector<Program>& Programs() {
  static std::vector<Program> programs;
  return programs;
}

}  // namespace thole::shm::testing
