#include "pending_scripts.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace thole::shm::testing {

PendingScripts::PendingScripts() {
  void* memory = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for the scripts of a search");
    std::abort();
  }
  memory_ = static_cast<Memory*>(memory);
}

PendingScripts::~PendingScripts() { munmap(memory_, sizeof(Memory)); }

void PendingScripts::Push(const SimScript& script) {
  if (memory_->count == kRoom || script.events.size() > kEventsMax) {
    std::fprintf(stderr, "no room for the script %s\n", script.ToString().c_str());
    std::abort();
  }
  Packed& packed = memory_->scripts[memory_->count];
  packed.first = script.first;
  packed.count = static_cast<uint32_t>(script.events.size());
  std::copy(script.events.begin(), script.events.end(), packed.events);
  ++memory_->count;
}

SimScript PendingScripts::Pop() {
  const Packed& packed = memory_->scripts[--memory_->count];
  return {packed.first, {packed.events, packed.events + packed.count}};
}

}  // namespace thole::shm::testing
