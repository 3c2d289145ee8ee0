// Any order of accesses, with deaths and repairs at any of them, of what a component's tests
// register. Afterwards a survivor repairs, and all audits and ledgers hold. Linked once for each
// component.
//
// Input: see support/schedule.h.
#include "support/schedule.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  thole::fuzz::RunSchedule(data, size);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned seed) {
  return thole::fuzz::MutateSchedule(data, size, size_max, seed);
}
