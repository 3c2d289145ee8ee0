// Child: a forked process of a test, and a line to talk with it.
//
//   Child child([](Child& parent) {
//     parent.Tell('r');
//     CHILD_REQUIRE(parent.Hear() == 'g');
//   });
//   EXPECT_EQ(child.Hear(), 'r');
//   child.Tell('g');
//   EXPECT_EQ(child.Wait(), "exit 0");
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

/// In a child: ends it with a message, so that the parent's Wait answers "exit 1".
#define CHILD_REQUIRE(condition)                                                       \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      std::fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                        \
    }                                                                                  \
  } while (false)

namespace thole::shm {

class Child {
 public:
  /// The body gets the other end of the line. Afterwards the child exits with 0, without running
  /// any destructor of the parent's objects. Half a minute later it ends by SIGALRM.
  explicit Child(const std::function<void(Child& parent)>& body) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    std::fflush(nullptr);
    const pid_t parent_pid = getpid();
    pid_ = fork();
    if (pid_ < 0) std::abort();
    line_ = ends[pid_ == 0 ? 1 : 0];
    close(ends[pid_ == 0 ? 0 : 1]);
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent_pid) _exit(120);
    alarm(30);
    body(*this);
    std::fflush(nullptr);
    _exit(0);
  }
  ~Child() {
    if (!reaped_) {
      kill(pid_, SIGKILL);
      Wait();
    }
    close(line_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Tell(char byte) {
    (void)send(line_, &byte, 1, MSG_NOSIGNAL);  // a dead reader is noticed by Hear or Wait
  }
  /// 0 when the other side is gone.
  char Hear() {
    char byte = 0;
    return TEMP_FAILURE_RETRY(read(line_, &byte, 1)) == 1 ? byte : '\0';
  }
  void TellBytes(const void* bytes, size_t count) {
    if (send(line_, bytes, count, MSG_NOSIGNAL) != static_cast<ssize_t>(count)) std::abort();
  }
  bool HearBytes(void* bytes, size_t count) {
    return recv(line_, bytes, count, MSG_WAITALL) == static_cast<ssize_t>(count);
  }

  pid_t pid() const { return pid_; }
  /// Kills without collecting: the child is a zombie until Wait.
  void Kill() { kill(pid_, SIGKILL); }
  /// Returns once every thread of it is stopped.
  void Stop() {
    kill(pid_, SIGSTOP);
    int status = 0;
    TEMP_FAILURE_RETRY(waitpid(pid_, &status, WUNTRACED));
  }
  void Continue() { kill(pid_, SIGCONT); }
  /// Returns once the process has ended, but leaves the zombie there.
  void WaitForZombie() {
    siginfo_t info;
    TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT));
  }
  /// "exit 0", "signal 9", ...
  std::string Wait() {
    int status = 0;
    TEMP_FAILURE_RETRY(waitpid(pid_, &status, 0));
    reaped_ = true;
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit " + std::to_string(WEXITSTATUS(status));
  }
  std::string KillAndWait() {
    Kill();
    return Wait();
  }

 private:
  pid_t pid_ = -1;
  int line_ = -1;
  bool reaped_ = false;
};

}  // namespace thole::shm
