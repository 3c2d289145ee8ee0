#include "footprint.h"

#include <cstdio>
#include <memory>

namespace thole::bench {

uint64_t ResidentBytes() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/statm", "r"),
                                                   std::fclose);
  unsigned long long mapped = 0, resident = 0;
  Check(file != nullptr && std::fscanf(file.get(), "%llu %llu", &mapped, &resident) == 2,
        "/proc/self/statm cannot be read");
  return resident * kPageBytes;
}

}  // namespace thole::bench
