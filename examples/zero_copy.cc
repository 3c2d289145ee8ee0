// A megabyte changes hands without being copied: it is written where it will be read.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "thole/comm/unified_communication_system.h"
#include "thole/shm/crc32c.h"

namespace {

using thole::Deadline;
using thole::UnifiedCommunicationSystem;

constexpr uint32_t kFrame = 7;
constexpr uint64_t kFrameBytes = uint64_t{1} << 20;

Deadline Soon() { return Deadline::In(std::chrono::seconds(5)); }

absl::Status Produce(const std::string& segment) {
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) return system.status();
  auto frames = system->CreateChannel("frames");
  if (!frames.ok()) return frames.status();
  // Room in the segment itself. Dropping the writer, or dying here, gives it back.
  auto writer = frames->SendZeroCopy(kFrame, kFrameBytes, Soon());
  if (!writer.ok()) return writer.status();
  const auto bytes = writer->bytes();
  // Produce as much as there is; the rest of the room goes back with the commit.
  const uint64_t used = kFrameBytes - 4096;
  for (uint64_t i = 0; i < used; ++i) bytes[i] = static_cast<std::byte>(i * 31);
  std::printf("sent     %u\n", thole::shm::Crc32c(bytes.data(), used));
  return writer->CommitPrefix(used, Soon()).status();
}

absl::Status Consume(const std::string& segment) {
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) return system.status();
  auto frames = system->CreateChannel("frames");
  if (!frames.ok()) return frames.status();
  auto frame = frames->Receive(Soon());
  if (!frame.ok()) return frame.status();
  // The handle may be cloned and passed to other threads; the frame goes with the last of them.
  const thole::MessageHandle for_the_screen = frame->Clone();
  const auto bytes = for_the_screen.bytes();
  std::printf("received %u, %zu bytes\n", thole::shm::Crc32c(bytes.data(), bytes.size()),
              bytes.size());
  const bool right =
      bytes.size() == kFrameBytes - 4096 && bytes[100] == static_cast<std::byte>(100 * 31);
  if (!right) return absl::DataLossError("the frame is not what was sent");
  return frame->Ack();
}

int Report(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::fflush(stdout);
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() {
  const std::string segment = "zero-copy-" + std::to_string(getpid());
  const pid_t producer = fork();
  if (producer == 0) _exit(Report(Produce(segment)));
  const int consumed = Report(Consume(segment));
  int produced = 0;
  waitpid(producer, &produced, 0);
  (void)thole::shm::Segment::Remove(thole::shm::Place::Named(segment));
  return produced == 0 ? consumed : EXIT_FAILURE;
}
