// The heap alone, in a file: thole::alloc and what is under it. A process that holds memory is
// killed with kill -9, and nothing leaks.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "thole/alloc/persistent_tlsf_allocator.h"

namespace {

namespace shm = thole::shm;
using thole::alloc::PersistentTlsfAllocator;

struct OpenHeap {
  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<PersistentTlsfAllocator> heap;
};

absl::StatusOr<OpenHeap> Open(const std::string& path, const char* name) {
  auto segment = shm::Segment::OpenOrCreate(
      shm::Place::File(path), {.size_bytes = uint64_t{8} << 20}, PersistentTlsfAllocator::Roots());
  if (!segment.ok()) return segment.status();
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) return attachment.status();
  auto heap = PersistentTlsfAllocator::Open(*attachment);  // before Join: it brings the repair
  if (!heap.ok()) return heap.status();
  if (auto joined = (*attachment)->Join(name); !joined.ok()) return joined;
  return OpenHeap{*attachment, *heap};
}

// Allocates a hundred blocks, says so through the pipe, and holds them until it is killed.
void HoldBlocks(const std::string& path, int tell) {
  auto open = Open(path, "holder");
  if (!open.ok()) _exit(EXIT_FAILURE);
  for (uint64_t i = 1; i <= 100; ++i) {
    const shm::Call call = open->attachment->Enter(1);
    shm::Lane& lane = call.lane();
    // A block is always held by something. Here: a loan, one of this participant's entries.
    const shm::LoanRef loan =
        open->attachment->TakeLoan(lane, open->heap.get(), shm::Deadline::Never());
    if (open->heap->AllocateTo(lane, loan, i * 100, 64, shm::Deadline::Never()) !=
        shm::BlockResult::kOk) {
      _exit(EXIT_FAILURE);
    }
  }
  if (write(tell, "!", 1) != 1) _exit(EXIT_FAILURE);
  for (;;) pause();
}

absl::Status Run(const std::string& path) {
  auto open = Open(path, "survivor");
  if (!open.ok()) return open.status();
  const uint64_t before = open->heap->Statistics().used_bytes;

  int told[2];
  if (pipe(told) != 0) return absl::UnavailableError("no pipe");
  const pid_t holder = fork();
  if (holder == 0) HoldBlocks(path, told[1]);
  close(told[1]);
  char byte;
  const bool holds = read(told[0], &byte, 1) == 1;
  close(told[0]);
  const uint64_t held = open->heap->Statistics().used_bytes;
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  open->attachment->RepairAll();  // or whoever opens next, or runs out of memory
  const uint64_t after = open->heap->Statistics().used_bytes;

  std::printf("in use: %llu bytes, %llu while the other one lived, %llu after its death\n",
              static_cast<unsigned long long>(before), static_cast<unsigned long long>(held),
              static_cast<unsigned long long>(after));
  if (!holds || held < before + 505'000) return absl::InternalError("the holder got no memory");
  if (after != before) return absl::DataLossError("memory leaked");
  return open->attachment->Leave(shm::Deadline::Never());
}

}  // namespace

int main() {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("thole-heap-" + std::to_string(getpid())))
          .string();
  const absl::Status run = Run(path);
  if (!run.ok()) std::fprintf(stderr, "%s\n", run.ToString().c_str());
  unlink(path.c_str());
  return run.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
