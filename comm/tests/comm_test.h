// What the tests of comm share: a segment of their own, real children, words that both sides see.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::comm::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Long enough for a child on a loaded machine; a test that needs it has failed.
inline shm::Deadline Soon() { return shm::Deadline::In(seconds(20)); }
inline int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
inline double SecondsSince(int64_t start_ns) {
  return static_cast<double>(NowNs() - start_ns) * 1e-9;
}

/// A named segment that goes with the test.
class TestSegment {
 public:
  static constexpr shm::SegmentOptions kDefault{
      .size_bytes = uint64_t{8} << 20, .participants_max = 16, .lanes_per_participant = 2};

  explicit TestSegment(const shm::SegmentOptions& options = kDefault) : options_(options) {
    static int count = 0;
    name_ = "thole-comm-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
    (void)shm::Segment::Remove(shm::Place::Named(name_));  // of a process with our pid, once
  }
  ~TestSegment() {
    if (getpid() == maker_) (void)shm::Segment::Remove(shm::Place::Named(name_));
  }
  TestSegment(const TestSegment&) = delete;
  TestSegment& operator=(const TestSegment&) = delete;

  const std::string& name() const { return name_; }
  UnifiedCommunicationSystem Open(const char* participant = "test") const {
    auto system = UnifiedCommunicationSystem::Open(
        name_, {.segment = options_, .participant_name = participant});
    if (!system.ok()) {
      ADD_FAILURE() << system.status();
      std::abort();
    }
    return *std::move(system);
  }

 private:
  std::string name_;
  shm::SegmentOptions options_;
  pid_t maker_ = getpid();
};

inline uint64_t Used(const UnifiedCommunicationSystem& system) {
  return system.HeapUse().used_bytes;
}
/// "none" is what one hopes for.
inline std::string AuditText(const UnifiedCommunicationSystem& system) {
  const SystemAudit audit = AuditSystem(system.attachment()->segment());
  std::string text = audit.findings.ToString();
  if (audit.orphan_bytes != 0) text += " orphans: " + std::to_string(audit.orphan_bytes);
  return text;
}

/// A forked process that runs `work`, with its own failures; killed when the test ends before it.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(98);
    alarm(60);
    work();
    fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 99 : 0);
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    (void)Wait();
  }

  pid_t pid() const { return pid_; }
  /// The status as of waitpid.
  int Wait() {
    int status = 0;
    while (waitpid(std::exchange(pid_, -1), &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  /// The same without waiting; nothing while it runs.
  std::optional<int> TryWait() {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    return status;
  }
  /// Waits; whether the child ended well, with all of its expectations.
  bool EndedWell() { return Wait() == 0; }
  /// Kills and waits: afterwards the kernel has dropped its locks.
  void Kill() {
    kill(pid_, SIGKILL);
    const int status = Wait();
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        << "it ended before: " << status;
  }
  /// Stops it, and waits until it is stopped.
  void Stop() {
    kill(pid_, SIGSTOP);
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    EXPECT_TRUE(WIFSTOPPED(status));
  }
  void Continue() { kill(pid_, SIGCONT); }

 private:
  pid_t pid_;
};

/// Words in memory that parent and children share, besides the segment.
class Board {
 public:
  static constexpr size_t kWords = 64;
  Board() {
    void* page =
        mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) std::abort();
    words_ = new (page) Words{};
  }
  ~Board() { munmap(words_, sizeof(Words)); }
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  std::atomic<uint64_t>& operator[](size_t index) const { return words_->at[index]; }
  /// Waits until the word is at least `value`; false, and a failure, when it takes too long.
  bool Await(size_t index, uint64_t value) const {
    for (const int64_t start = NowNs(); words_->at[index].load() < value; sched_yield()) {
      if (SecondsSince(start) < 20) continue;
      ADD_FAILURE() << "word " << index << " did not become " << value;
      return false;
    }
    return true;
  }
  /// For a child that stays where it is until it is killed.
  [[noreturn]] void StayAfter(size_t index) const {
    words_->at[index].fetch_add(1);
    for (;;) pause();
  }

 private:
  struct Words {
    std::atomic<uint64_t> at[kWords];
  };
  Words* words_;
};

/// A message of `size` bytes whose every byte follows from `seed`.
inline std::vector<std::byte> Pattern(uint64_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  for (uint64_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(seed * 31 + i * 7 + (i >> 8));
  return bytes;
}
inline bool Equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace thole::comm::testing
