// Two pinned processes and the bare line that everything is compared with.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <vector>

#include "thole/shm/status.h"
#include "thole/shm/word.h"

namespace thole::bench {

/// Private to the two processes, in memory that fork shares.
struct Control {
  alignas(shm::kCacheLine) std::atomic<uint32_t> wanted{0};   // phase that the peer is to be in
  alignas(shm::kCacheLine) std::atomic<uint32_t> reached{0};  // phase that it has finished
  alignas(shm::kCacheLine) std::atomic<uint64_t> ping{0};
  alignas(shm::kCacheLine) std::atomic<uint64_t> pong{0};
};

/// One turn of waiting for the other processor.
inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Nanoseconds since some moment.
int64_t NowNs();
/// The processors that the caller may use: asked before it is pinned to one of them.
std::vector<int> Processors();
/// Pins the caller to one processor. False when it may not run there.
bool PinTo(int processor);
/// A peer that ends with an error ends the measurement: nobody may spin for it for ever.
void EndWithThePeer();

/// A forked process, pinned to a processor, that runs a numbered piece of work when told to.
class Peer {
 public:
  /// `work` runs in the peer, on that processor, with the number of each phase.
  Peer(Control& control, int processor, const std::function<absl::Status(uint32_t)>& work);
  /// Tells it to end, and waits for that.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Begin(uint32_t phase);
  /// Waits for the end of the phase. False when the peer ended instead.
  bool Finish();

 private:
  Control& control_;
  pid_t pid_ = 0;
  uint32_t turn_ = 0;
};

/// A cache line carries a number there and another one carries it back; both sides spin.
void BarePing(Control& control, uint64_t rounds);
void BarePong(Control& control, uint64_t rounds);

/// Memory that fork will share, zero; null when there is none.
void* NewSharedBytes(size_t bytes);
template <class T>
T* NewShared() {
  void* memory = NewSharedBytes(sizeof(T));
  return memory == nullptr ? nullptr : new (memory) T;
}
inline Control* NewControl() { return NewShared<Control>(); }

}  // namespace thole::bench
