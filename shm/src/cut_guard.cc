#include "cut_guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <bit>

#include "segment_files.h"

namespace thole::shm {
namespace {

constexpr uintptr_t kPage = 4096;

struct Range {
  std::atomic<bool> taken;
  std::atomic<uintptr_t> begin;  // 0 = guards nothing
  std::atomic<uintptr_t> end;
  std::atomic<bool> cut;
};
// tidy: global: a signal handler is given nothing but an address
constinit Range ranges[CutGuard::kGuardsMax] = {};
struct sigaction previous = {};

Range* RangeOf(uintptr_t address) {
  for (Range& range : ranges) {
    const uintptr_t begin = range.begin.load(std::memory_order_acquire);  // its end: Of
    if (begin == 0 || address < begin) continue;
    if (address < range.end.load(std::memory_order_relaxed)) return &range;  // fits begin: above
  }
  return nullptr;
}

// The page becomes an empty one of this process alone, and the access is made again.
bool Mend(const siginfo_t& info) {
  const auto address = std::bit_cast<uintptr_t>(info.si_addr);
  Range* range = RangeOf(address);
  if (range == nullptr) return false;
  range->cut.store(true, std::memory_order_relaxed);  // the reader asks for it in its own thread
  return mmap(std::bit_cast<void*>(address & ~(kPage - 1)), kPage, PROT_READ,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

void OnFault(int signal, siginfo_t* info, void* context) {
  const int kept = errno;
  const bool mended = Mend(*info);
  errno = kept;
  if (mended) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    return previous.sa_handler(signal);
  }
  sigaction(signal, &previous, nullptr);  // the access faults again and is not ours
}

int InstallOnce() {
  static const int error = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &previous) == 0 ? 0 : errno;
  }();
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CutGuard>> CutGuard::Of(const void* base, uint64_t size_bytes) {
  if (const int error = InstallOnce(); error != 0) return SystemError("handle SIGBUS", error);
  for (int i = 0; i < kGuardsMax; ++i) {
    Range& range = ranges[i];
    if (range.taken.exchange(true, std::memory_order_acquire)) continue;  // after the last user
    const auto begin = std::bit_cast<uintptr_t>(base);
    range.cut.store(false, std::memory_order_relaxed);               // nobody reads there yet
    range.end.store(begin + size_bytes, std::memory_order_relaxed);  // published by begin
    range.begin.store(begin, std::memory_order_release);             // see RangeOf
    return std::unique_ptr<CutGuard>(new CutGuard(i));
  }
  return Error(absl::StatusCode::kResourceExhausted,
               std::to_string(kGuardsMax) +
                   " segments are open that survive cuts: close one, or open without");
}

CutGuard::~CutGuard() {
  Range& range = ranges[range_];
  range.begin.store(0, std::memory_order_relaxed);      // nobody may read there any more
  range.taken.store(false, std::memory_order_release);  // to the next one
}

bool CutGuard::was_cut() const {
  return ranges[range_].cut.load(std::memory_order_relaxed);  // this thread's own faults count
}

}  // namespace thole::shm
