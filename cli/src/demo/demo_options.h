// What `thole demo` was asked to do.
#pragma once

#include <cstdint>
#include <string>

namespace thole::cli::demo {

inline constexpr uint32_t kFeedersMax = 16;
inline constexpr uint32_t kWorkersMax = 64;
inline constexpr uint64_t kChunkBytesMax = uint64_t{1} << 20;

struct DemoOptions {
  std::string input = "/usr/include";
  uint64_t seconds = 10;
  uint64_t kill_every_ms = 20;  ///< 0 = nobody is killed
  uint32_t workers = 4;
  uint32_t feeders = 2;
  uint64_t seed = 0;  ///< of the choice of victims; 0 = from the clock
  bool json = false;
};

}  // namespace thole::cli::demo
