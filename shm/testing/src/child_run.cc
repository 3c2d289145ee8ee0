#include "thole/shm/testing/child_run.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace thole::shm::testing {
namespace {

constexpr int kLookEveryMs = 100;

void CopyText(char* to, size_t bytes, std::string_view from) {
  const size_t length = std::min(from.size(), bytes - 1);
  std::memcpy(to, from.data(), length);
  to[length] = 0;
}

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Waits for the child; kills it when it does not beat for too long.
ChildEnd WaitFor(pid_t child, const ChildReport& report, double stall_seconds) {
  ChildEnd end;
  pollfd ended{static_cast<int>(syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  uint64_t beats = 0;
  double last_beat = Now();
  while (poll(&ended, 1, kLookEveryMs) == 0) {
    const uint64_t seen = report.beats.load(std::memory_order_relaxed);  // only compared
    if (seen != beats) last_beat = Now();
    beats = seen;
    if (Now() - last_beat <= stall_seconds || end.stalled) continue;
    end.stalled = true;
    kill(child, SIGKILL);
  }
  close(ended.fd);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && !end.stalled) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  return end;
}

}  // namespace

void ChildReport::SetCurrent(std::string_view what) {
  CopyText(current, sizeof(current), what);
  Beat();
}

void ChildReport::AddFailure(std::string_view where, std::string_view text) {
  if (failures < kFailuresKept) {
    CopyText(kept[failures].where, kWhereBytes, where);
    CopyText(kept[failures].text, kTextBytes, text);
  }
  ++failures;
}

std::vector<Failure> ChildReport::Failures() const {
  std::vector<Failure> all;
  for (uint64_t i = 0; i < std::min<uint64_t>(failures, kFailuresKept); ++i) {
    all.push_back({kept[i].where, kept[i].text});
  }
  return all;
}

ChildReport* NewChildReport() {
  void* memory =
      mmap(nullptr, sizeof(ChildReport), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("no memory for a report");
    std::abort();
  }
  return new (memory) ChildReport;
}

std::string ChildEnd::ToString() const {
  if (stalled) return "stuck: the process under test did not get on and was killed";
  if (signal != 0) return std::string("crashed: ") + strsignal(signal);
  return "left with exit code " + std::to_string(exit_code);
}

ChildEnd RunInChild(ChildReport& report, double stall_seconds,
                    const std::function<void(ChildReport&)>& work) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    report.AddFailure("fork", std::strerror(errno));
    return {.exit_code = 1};
  }
  if (child == 0) {
    work(report);
    std::fflush(nullptr);
    _exit(0);
  }
  const ChildEnd end = WaitFor(child, report, stall_seconds);
  if (!end.ok()) report.AddFailure(report.current, end.ToString());
  return end;
}

}  // namespace thole::shm::testing
