// Messages and named buffers of the whole system: one process, nobody waits.
#include <string>

#include "bench_segment.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::bench {
namespace {

UnifiedCommunicationSystem NewSystem() {
  return Must(UnifiedCommunicationSystem::OpenOn(
      NewAttachment(UnifiedCommunicationSystem::Roots({})), "bench"));
}

// Sent in place, received, given back; the argument is the size in bytes, of which none is touched.
void BM_Comm_ZeroCopyMessage(benchmark::State& state) {
  auto system = NewSystem();
  const Channel channel =
      Must(system.CreateChannel("bench", {.capacity = 64, .acknowledged = false}));
  for (auto _ : state) {
    auto writer =
        Must(channel.SendZeroCopy(1, static_cast<uint64_t>(state.range(0)), Deadline::Never()));
    Must(writer.Commit(Deadline::Never()));
    const MessageHandle message = Must(channel.TryReceive());
    benchmark::DoNotOptimize(message.bytes().data());
  }
}
BENCHMARK(BM_Comm_ZeroCopyMessage)->Arg(64)->Arg(65536)->Arg(1 << 20);

// The same on a channel whose messages are acknowledged.
void BM_Comm_AcknowledgedMessage(benchmark::State& state) {
  auto system = NewSystem();
  const Channel channel = Must(system.CreateChannel("bench", {.capacity = 64}));
  for (auto _ : state) {
    Must(channel.Send(1, uint64_t{7}, Deadline::Never()));
    Must(Must(channel.TryReceive()).Ack());
  }
}
BENCHMARK(BM_Comm_AcknowledgedMessage);

// Finding a name among so many, without a reference and with one.
void BM_Registry_Lookup(benchmark::State& state) {
  auto system = NewSystem();
  for (int64_t i = 0; i < state.range(0); ++i) {
    Must(system.buffers().Create("buffer " + std::to_string(i), 64).status());
  }
  for (auto _ : state) benchmark::DoNotOptimize(Must(system.buffers().Lookup("buffer 0")).name);
}
BENCHMARK(BM_Registry_Lookup)->Arg(1)->Arg(16)->Arg(1023);

void BM_Registry_AcquireAndDrop(benchmark::State& state) {
  auto system = NewSystem();
  Must(system.buffers().Create("buffer", 64).status());
  for (auto _ : state) benchmark::DoNotOptimize(Must(system.buffers().Acquire("buffer")));
}
BENCHMARK(BM_Registry_AcquireAndDrop);

// What a process pays to come and go.
void BM_Shm_JoinAndLeave(benchmark::State& state) {
  const auto segment =
      Must(shm::Segment::Create(shm::Place::Descriptor(), {}, std::vector<shm::RootRequest>{}));
  for (auto _ : state) {
    auto attachment = Must(shm::Attachment::Make(
        Must(shm::Segment::Open(shm::Place::Descriptor(segment.file()), {}))));
    Must(attachment->Join("bench"));
    Must(attachment->Leave(Deadline::Never()));
  }
}
BENCHMARK(BM_Shm_JoinAndLeave);

}  // namespace
}  // namespace thole::bench
