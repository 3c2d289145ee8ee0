// What the soak was asked to do.
#pragma once

#include <cstdint>

namespace thole::soak {

inline constexpr uint32_t kMembersMax = 64;
inline constexpr uint32_t kThreadsMax = 8;
inline constexpr uint64_t kHeaderBytes = 32;
inline constexpr uint64_t kMessageBytesMax = 200'000;

struct SoakOptions {
  uint64_t seconds = 60;
  uint32_t producers = 10;
  uint32_t consumers = 10;
  uint32_t threads = 1;  ///< of each process
  uint64_t seed = 0;     ///< 0 = from the clock
  uint32_t deaths_per_second = 60;
  uint32_t stops_per_second = 20;
  uint64_t audit_every_ms = 4000;
  uint64_t hang_seconds = 20;  ///< no progress for so long is a hang
};

}  // namespace thole::soak
