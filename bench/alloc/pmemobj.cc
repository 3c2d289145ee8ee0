// libpmemobj: the atomic calls, whose object and holder survive a crash. tools/bench runs it
// without flushes, so that it pays for the death of a process only, as thole does.
#include <libpmemobj.h>
#include <unistd.h>

#include <string>

#include "program.h"

namespace thole::bench {
namespace {

/// A pool is opened by one process: two workers are threads of it.
class Pmemobj {
 public:
  static constexpr bool kProcesses = false;

  Pmemobj(const Options&, uint64_t heap_bytes) {
    const std::string path = "/dev/shm/thole-bench-" + std::to_string(getpid());
    pool_ = pmemobj_create(path.c_str(), "bench", heap_bytes, 0600);
    Check(pool_ != nullptr, pmemobj_errormsg());
    unlink(path.c_str());  // no name stays behind, however this ends
    const PMEMoid root = pmemobj_root(pool_, sizeof(Places) * kWorkersMax);
    Check(!OID_IS_NULL(root), "no room for the places");
    places_ = static_cast<Places*>(pmemobj_direct(root));
  }
  ~Pmemobj() { pmemobj_close(pool_); }
  Pmemobj(const Pmemobj&) = delete;
  Pmemobj& operator=(const Pmemobj&) = delete;

  /// Its places lie in the pool: the call that allocates also writes who holds the object.
  class Worker {
   public:
    Worker(Pmemobj& system, uint32_t index)
        : pool_(system.pool_), places_(system.places_[index].objects) {}
    std::byte* Allocate(uint32_t place, uint64_t bytes) {
      if (pmemobj_alloc(pool_, &places_[place], bytes, 1, nullptr, nullptr) != 0) return nullptr;
      return static_cast<std::byte*>(pmemobj_direct(places_[place]));
    }
    void Free(uint32_t place) { pmemobj_free(&places_[place]); }
    // Never called: there is no other process.
    uint64_t Give(uint32_t) { return 0; }
    void Accept(uint32_t, uint64_t) {}

   private:
    PMEMobjpool* pool_;
    PMEMoid* places_;
  };

 private:
  struct Places {
    PMEMoid objects[kLiveMax];
  };
  PMEMobjpool* pool_;
  Places* places_;
};

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) { return thole::bench::Main<thole::bench::Pmemobj>(argc, argv); }
