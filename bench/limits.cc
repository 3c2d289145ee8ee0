// limits_bench: what this machine allows at best, whoever runs on it. Measured in each round beside
// everything else; a round whose cache line is slow says nothing about the others either.
//
//   limits_bench [--line-only]
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "measure.h"
#include "peer.h"

namespace thole::bench {
namespace {

// Many short stretches, of which the one in the middle counts: those in which a neighbour took one
// of the processors away say nothing about the line.
constexpr uint64_t kLineRounds = 500;
constexpr int kLineStretches = 41;
constexpr uint64_t kFutexRounds = 300;
constexpr uint64_t kCopyBytes = uint64_t{64} << 20;  // all copies of one size together

enum Phase : uint32_t { kLine = 1, kFutex };

/// Two words to sleep on, one for each direction.
struct Sleepers {
  alignas(shm::kCacheLine) std::atomic<uint32_t> ping{0};
  alignas(shm::kCacheLine) std::atomic<uint32_t> pong{0};
};

void Wake(std::atomic<uint32_t>& word, uint32_t value) {
  word.store(value, std::memory_order_release);  // Sleep
  syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}
void Sleep(std::atomic<uint32_t>& word, uint32_t until) {
  for (uint32_t seen; (seen = word.load(std::memory_order_acquire)) != until;) {  // Wake
    syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
  }
}

void FutexPing(Sleepers& sleepers) {
  const uint32_t first = sleepers.ping.load(std::memory_order_relaxed);  // own word
  for (uint32_t i = first + 1; i <= first + kFutexRounds; ++i) {
    Wake(sleepers.ping, i);
    Sleep(sleepers.pong, i);
  }
}
void FutexPong(Sleepers& sleepers) {
  const uint32_t first = sleepers.pong.load(std::memory_order_relaxed);  // own word
  for (uint32_t i = first + 1; i <= first + kFutexRounds; ++i) {
    Sleep(sleepers.ping, i);
    Wake(sleepers.pong, i);
  }
}

double CopyGibPerSecond(uint64_t bytes) {
  std::vector<std::byte> from(bytes, std::byte{1});
  std::vector<std::byte> to(bytes);
  const uint64_t copies = kCopyBytes / bytes;
  const int64_t began = CpuNs();
  for (uint64_t i = 0; i < copies; ++i) {
    std::memcpy(to.data(), from.data(), bytes);
    Keep(to.data());
  }
  const auto took = static_cast<double>(CpuNs() - began);
  return static_cast<double>(copies * bytes) / took * 1e9 / (1 << 30);
}

template <class Work>
double NsPerRound(uint64_t rounds, Work work) {
  const int64_t began = NowNs();
  work();
  return static_cast<double>(NowNs() - began) / static_cast<double>(rounds);
}

int Run(bool line_only) {
  const std::vector<int> processors = Processors();
  Check(processors.size() >= 2, "limits_bench needs two processors");
  Control* control = NewControl();
  auto* sleepers = NewShared<Sleepers>();
  Check(control != nullptr && sleepers != nullptr && PinTo(processors[0]),
        "no memory, or no right");
  EndWithThePeer();
  Peer peer(*control, processors[1], [&](uint32_t phase) -> absl::Status {
    for (int i = 0; phase == kLine && i < kLineStretches; ++i) BarePong(*control, kLineRounds);
    if (phase == kFutex) FutexPong(*sleepers);
    return absl::OkStatus();
  });
  peer.Begin(kLine);
  std::vector<double> line;
  for (int i = 0; i < kLineStretches; ++i) {
    line.push_back(NsPerRound(kLineRounds, [&] { BarePing(*control, kLineRounds); }));
  }
  Check(peer.Finish(), "the peer ended");
  Report("cache line, there and back", "ns", Median(line));
  if (line_only) return EXIT_SUCCESS;
  peer.Begin(kFutex);
  Report("futex, there and back", "ns", NsPerRound(kFutexRounds, [&] { FutexPing(*sleepers); }));
  Check(peer.Finish(), "the peer ended");
  Report("memcpy of 4 KiB", "GiB/s", CopyGibPerSecond(4 << 10));
  Report("memcpy of 64 KiB", "GiB/s", CopyGibPerSecond(64 << 10));
  Report("memcpy of 1 MiB", "GiB/s", CopyGibPerSecond(1 << 20));
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace thole::bench

int main(int argc, char** argv) {
  return thole::bench::Run(argc > 1 && std::string_view(argv[1]) == "--line-only");
}
