// A worker is killed with kill -9 while it holds a job; the job is done by somebody else.
//
// On an acknowledged channel (the default) a received message is only on loan. It is the worker's
// for good when he says Ack; until then his death gives it back, with its attempt counted up.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "thole/comm/unified_communication_system.h"

namespace {

using thole::Deadline;
using thole::UnifiedCommunicationSystem;

constexpr uint32_t kJob = 1;
constexpr int kJobs = 10;

// Takes one job, says so through the pipe, and never gets on with it.
void TakeJobAndStall(const std::string& segment, int tell) {
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) _exit(EXIT_FAILURE);
  auto job = system->Receive("jobs", Deadline::In(std::chrono::seconds(5)));
  if (!job.ok() || write(tell, "!", 1) != 1) _exit(EXIT_FAILURE);
  for (;;) pause();
}

absl::Status KillWorkerWithJob(const std::string& segment) {
  int told[2];
  if (pipe(told) != 0) return absl::UnavailableError("no pipe");
  const pid_t worker = fork();
  if (worker == 0) TakeJobAndStall(segment, told[1]);
  close(told[1]);
  char byte;
  const bool has_job = read(told[0], &byte, 1) == 1;
  close(told[0]);
  kill(worker, SIGKILL);
  waitpid(worker, nullptr, 0);
  return has_job ? absl::OkStatus() : absl::InternalError("the worker got no job");
}

absl::Status Run(const std::string& segment) {
  {
    auto system = UnifiedCommunicationSystem::Open(segment);
    if (!system.ok()) return system.status();
    auto jobs = system->CreateChannel("jobs", {.capacity = 64, .acknowledged = true});
    if (!jobs.ok()) return jobs.status();
    for (int i = 0; i < kJobs; ++i) {
      if (auto sent = jobs->Send(kJob, i, Deadline::Now()); !sent.ok()) return sent;
    }
  }
  if (auto killed = KillWorkerWithJob(segment); !killed.ok()) return killed;

  // Opening the segment repairs what the dead one left.
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) return system.status();
  int done = 0;
  int second_attempts = 0;
  while (done < kJobs) {
    auto job = system->Receive("jobs", Deadline::In(std::chrono::seconds(5)));
    if (!job.ok()) return job.status();
    if (job->attempt() > 0) {
      ++second_attempts;
      std::printf("job %d comes back: its worker died holding it\n", *job->As<int>());
    }
    if (auto acknowledged = job->Ack(); !acknowledged.ok()) return acknowledged;
    ++done;
  }
  std::printf("%d jobs done, %d of them at the second attempt\n", done, second_attempts);
  return second_attempts == 1 ? absl::OkStatus() : absl::DataLossError("expected one to come back");
}

}  // namespace

int main() {
  const std::string segment = "work-queue-" + std::to_string(getpid());
  const absl::Status run = Run(segment);
  if (!run.ok()) std::fprintf(stderr, "%s\n", run.ToString().c_str());
  (void)thole::shm::Segment::Remove(thole::shm::Place::Named(segment));
  return run.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
