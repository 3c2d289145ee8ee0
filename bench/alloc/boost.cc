// Boost.Interprocess: the heap of managed_shared_memory, with its defaults.
#include <unistd.h>

#include <boost/interprocess/managed_shared_memory.hpp>
#include <string>

#include "pointers.h"
#include "program.h"

namespace thole::bench {
namespace {

class Boost {
 public:
  static constexpr bool kProcesses = true;
  using Worker = PointerWorker<Boost>;

  Boost(const Options&, uint64_t heap_bytes)
      : name_("thole-bench-" + std::to_string(getpid())),
        memory_(boost::interprocess::create_only, name_.c_str(), heap_bytes) {
    // The worker inherits the mapping; no name stays behind, however this ends.
    boost::interprocess::shared_memory_object::remove(name_.c_str());
  }
  void* Allocate(uint64_t bytes) { return memory_.allocate(bytes, std::nothrow); }
  void Free(void* block) { memory_.deallocate(block); }
  uint64_t OffsetOf(void* block) const {
    return static_cast<uint64_t>(memory_.get_handle_from_address(block));
  }
  void* At(uint64_t offset) const {
    return memory_.get_address_from_handle(
        static_cast<boost::interprocess::managed_shared_memory::handle_t>(offset));
  }

 private:
  std::string name_;
  boost::interprocess::managed_shared_memory memory_;
};

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) { return thole::bench::Main<thole::bench::Boost>(argc, argv); }
