// Real child processes, and the board on which they talk to the test: not part of the segment.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <new>

#include "registry_world.h"

namespace thole::registry::testing {

inline constexpr int kNames = 16;

// What parent and children tell one another; not part of the segment.
struct Board {
  std::atomic<int> ready{0};
  std::atomic<int> go{0};
  std::atomic<int> created[kNames] = {};
  std::atomic<int> own_created{0};
  std::atomic<int> wrong{0};
  std::atomic<uint64_t> steps[8] = {};
};

class SharedBoard {
 public:
  SharedBoard()
      : board_(new(mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0)) Board) {}
  ~SharedBoard() { munmap(board_, sizeof(Board)); }
  Board* operator->() const { return board_; }

 private:
  Board* board_;
};

inline pid_t Fork(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(100);
  body();
  std::fflush(nullptr);
  _exit(0);
}

// 0 when the child left by itself with that exit code, else the signal that ended it.
inline int WaitForChild(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

inline void WaitUntil(const std::function<bool()>& there) {
  while (!there()) sched_yield();
}

inline void ExpectClean(Member& member) {
  shm::Findings findings;
  AuditAll(member.attachment().segment(), findings);
  EXPECT_TRUE(findings.empty()) << findings.ToString();
}

}  // namespace thole::registry::testing
