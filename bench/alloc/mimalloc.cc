// mimalloc, by its own names.
#include <mimalloc.h>

#include "pointers.h"
#include "program.h"

namespace thole::bench {
namespace {

/// No other process can free its blocks: two workers are threads.
class Mimalloc {
 public:
  static constexpr bool kProcesses = false;
  using Worker = PointerWorker<Mimalloc>;

  Mimalloc(const Options&, uint64_t) {}
  void* Allocate(uint64_t bytes) { return mi_malloc(bytes); }
  void Free(void* block) { mi_free(block); }
  uint64_t OffsetOf(void* block) const { return reinterpret_cast<uint64_t>(block); }
  void* At(uint64_t offset) const { return reinterpret_cast<void*>(offset); }
};

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) { return thole::bench::Main<thole::bench::Mimalloc>(argc, argv); }
