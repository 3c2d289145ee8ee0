// What must stay flat while the soak runs: memory and descriptors of processes that live long, what
// lies in /dev/shm.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace thole::soak {

struct Vitals {
  uint64_t private_kib = 0;  ///< RssAnon
  uint64_t descriptors = 0;
};
Vitals VitalsOf(pid_t pid);
/// Those in /dev/shm that have `name` in theirs.
uint64_t CountSharedMemoryFiles(const std::string& name);

}  // namespace thole::soak
