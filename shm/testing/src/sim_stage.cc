#include "sim_stage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace thole::shm::testing {
namespace {

[[noreturn]] void NoMemory() {
  std::perror("no memory for the simulator");
  std::abort();
}

}  // namespace

SimStage::SimStage(uint64_t image_bytes_max)
    : bytes_max_((image_bytes_max + 4095) & ~uint64_t{4095}),
      stride_(uint64_t{1} << 20),
      written_(bytes_max_ / kPieceBytes) {
  while (stride_ < 2 * bytes_max_) stride_ *= 2;
  void* arena =
      mmap(nullptr, arena_bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const int file = memfd_create("thole-sim", MFD_CLOEXEC);
  if (arena == MAP_FAILED || file < 0 || ftruncate(file, static_cast<off_t>(bytes_max_)) != 0) {
    NoMemory();
  }
  arena_ = static_cast<std::byte*>(arena);
  for (uint32_t i = 0; i < kFibersMax; ++i) {
    void* mapped =
        mmap(view(i), bytes_max_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    if (mapped == MAP_FAILED) NoMemory();
  }
  close(file);
  for (auto& fiber : fibers_) fiber = std::make_unique<Fiber>();
}

SimStage::~SimStage() { munmap(arena_, arena_bytes()); }

}  // namespace thole::shm::testing
