// The private heap behind malloc: glibc's, or that of jemalloc when linked with it.
#include <cstdlib>

#include "pointers.h"
#include "program.h"

namespace thole::bench {
namespace {

/// No other process can free its blocks: two workers are threads.
class Malloc {
 public:
  static constexpr bool kProcesses = false;
  using Worker = PointerWorker<Malloc>;

  Malloc(const Options&, uint64_t) {}
  void* Allocate(uint64_t bytes) { return std::malloc(bytes); }
  void Free(void* block) { std::free(block); }
  uint64_t OffsetOf(void* block) const { return reinterpret_cast<uint64_t>(block); }
  void* At(uint64_t offset) const { return reinterpret_cast<void*>(offset); }
};

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) { return thole::bench::Main<thole::bench::Malloc>(argc, argv); }
