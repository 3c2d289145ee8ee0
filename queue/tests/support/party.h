// A real participant of a queue test: own mapping, real kernel, in this process or in a child.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "queue_world.h"

namespace thole::queue::testing {

inline constexpr shm::SegmentOptions kTestSegment{
    .size_bytes = uint64_t{2} << 20, .participants_max = 16, .lanes_per_participant = 2};

/// A memfd with a pool and these queues.
inline shm::Segment MakeSegment(const std::vector<QueueShape>& shapes,
                                std::vector<shm::RootRequest> more = {}) {
  auto roots = RootsOf(shapes);
  for (auto& root : more) roots.push_back(std::move(root));
  auto segment = shm::Segment::Create(shm::Place::Descriptor(), kTestSegment, roots);
  if (!segment.ok()) {
    ADD_FAILURE() << segment.status();
    std::abort();
  }
  return *std::move(segment);
}

class Party {
 public:
  Party(int file, const std::vector<QueueShape>& shapes,
        std::unique_ptr<shm::Platform> platform = nullptr) {
    auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
    if (!segment.ok()) std::abort();
    auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
    if (!attachment.ok()) std::abort();
    queue.emplace(*attachment);
    const absl::Status joined = (*attachment)->Join("party");
    if (!joined.ok()) {
      std::fprintf(stderr, "%s\n", joined.ToString().c_str());
      std::abort();
    }
    queue->Connect(shapes);
  }
  shm::Attachment& attachment() { return queue->attachment(); }
  QueueProcess* operator->() { return &*queue; }
  QueueProcess& operator*() { return *queue; }
  /// "none" when everything is as it must be.
  std::string AuditText() {
    shm::Findings findings;
    shm::AuditSegment(attachment().segment(), findings);
    queue->Audit(findings);
    return findings.ToString();
  }

  std::optional<QueueProcess> queue;
};

/// A child that runs `body` and ends with its result as exit code.
inline pid_t Fork(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that fails or is ended leaves no worker behind
  alarm(100);
  const int code = body();
  std::fflush(nullptr);
  _exit(code);
}
/// The exit code, or the signal that killed it as a negative number.
inline int WaitFor(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace thole::queue::testing
