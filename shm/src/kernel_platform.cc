// The real kernel: open-file-description locks, futexes, /proc.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

#include "fork_guard.h"
#include "thole/shm/platform.h"

namespace thole::shm {
namespace {

// Lock bytes lie far beyond any file size, so that they meet neither data nor other tools.
constexpr off_t kLockBase = off_t{1} << 62;
constexpr off_t kLockStride = off_t{1} << 20;

off_t LockOffset(LockByte byte, uint32_t slot) {
  return kLockBase + static_cast<off_t>(byte) * kLockStride + slot;
}

struct flock MakeLock(short type, LockByte byte, uint32_t slot) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = LockOffset(byte, slot);
  lock.l_len = 1;
  return lock;
}

// Descriptors that a forked child must close at once: as long as it has them, the kernel keeps the
// locks of a parent that died. The one process-wide object of the library: pthread_atfork handlers
// get no argument.
class LockDescriptors {
 public:
  struct Node {
    int descriptor = -1;
    Node* next = nullptr;
    Node** link = nullptr;
  };
  static LockDescriptors& Instance() {
    static LockDescriptors* const instance =
        new LockDescriptors;  // never destroyed: fork may be late
    return *instance;
  }
  void Add(Node& node) {
    const std::lock_guard<std::mutex> guard(mutex_);
    node.next = first_;
    node.link = &first_;
    if (first_ != nullptr) first_->link = &node.next;
    first_ = &node;
  }
  void Remove(Node& node) {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (node.link == nullptr) return;
    *node.link = node.next;
    if (node.next != nullptr) node.next->link = node.link;
    node.link = nullptr;
  }

 private:
  LockDescriptors() {
    pthread_atfork([] { Instance().mutex_.lock(); }, [] { Instance().mutex_.unlock(); },
                   [] { Instance().InChild(); });
  }
  void InChild() {
    for (Node* node = first_; node != nullptr; node = node->next) close(node->descriptor);
    while (first_ != nullptr) {
      first_->link = nullptr;
      first_ = first_->next;
    }
    mutex_.unlock();
  }
  std::mutex mutex_;
  Node* first_ = nullptr;
};

uint64_t InodeOf(const char* path) {
  struct stat info;
  return stat(path, &info) == 0 ? info.st_ino : 0;
}

// Field 22 of /proc/<pid>/stat; 0 when it cannot be read.
uint64_t ReadStartTime(uint32_t pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/stat", pid);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[1024];
  const ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  if (bytes <= 0) return 0;
  text[bytes] = 0;
  const char* at = std::strrchr(text, ')');  // the command may contain anything
  if (at == nullptr) return 0;
  // After ") " comes field 3; field 22 is 19 spaces further on.
  for (int field = 2; field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (at == nullptr) return 0;
  }
  uint64_t value = 0;
  std::from_chars(at + 1, text + bytes, value);
  return value;
}

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

void FutexWait(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns, int flags) {
  timespec until;
  until.tv_sec = until_ns / 1'000'000'000;
  until.tv_nsec = until_ns % 1'000'000'000;
  const timespec* limit = until_ns == INT64_MAX ? nullptr : &until;
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | flags, expected, limit, nullptr, bits);
}

int FutexWake(Word32& word, int count, uint32_t bits, int flags) {
  const long woken =
      syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | flags, count, nullptr, nullptr, bits);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

ProcessIdentity Identity() {
  ProcessIdentity self;
  self.pid = static_cast<uint32_t>(getpid());
  self.uid = geteuid();
  self.start_time = ReadStartTime(self.pid);
  self.pid_namespace = InodeOf("/proc/self/ns/pid");
  self.time_namespace = InodeOf("/proc/self/ns/time");
  return self;
}

// The guard must exist before the base class that points into it.
struct GuardHolder {
  ForkGuard guard;
};

class KernelPlatform final : private GuardHolder, public Platform {
 public:
  explicit KernelPlatform(int descriptor) : Platform(guard.canary()) {
    node_.descriptor = descriptor;
    LockDescriptors::Instance().Add(node_);
  }
  ~KernelPlatform() override {
    if (!InOwnProcess()) return;  // the child's copy is closed already
    LockDescriptors::Instance().Remove(node_);
    close(node_.descriptor);
  }

  int64_t NowNs() override { return MonotonicNs(); }
  void WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) override {
    FutexWait(word, expected, bits, until_ns, 0);
  }
  int WakeWord(Word32& word, int count, uint32_t bits) override {
    return FutexWake(word, count, bits, 0);
  }
  void Relax() override {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  bool TryHold(LockByte byte, uint32_t slot) override {
    struct flock lock = MakeLock(F_WRLCK, byte, slot);
    return fcntl(node_.descriptor, F_OFD_SETLK, &lock) == 0;
  }
  void Drop(LockByte byte, uint32_t slot) override {
    struct flock lock = MakeLock(F_UNLCK, byte, slot);
    fcntl(node_.descriptor, F_OFD_SETLK, &lock);
  }
  bool IsHeld(LockByte byte, uint32_t slot) override {
    struct flock lock = MakeLock(F_WRLCK, byte, slot);
    if (fcntl(node_.descriptor, F_OFD_GETLK, &lock) != 0) return true;  // unknown counts as alive
    return lock.l_type != F_UNLCK;
  }

  ProcessIdentity Self() override { return self_; }
  std::optional<uint64_t> StartTimeOf(uint32_t pid) override {
    const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (process < 0) return errno == ESRCH ? std::optional<uint64_t>(0) : std::nullopt;
    // Readable once every thread is gone; a stopped process, or one whose first thread ended, is
    // not.
    pollfd waiting{process, POLLIN, 0};
    const bool gone = poll(&waiting, 1, 0) == 1;
    const uint64_t start_time = gone ? 0 : ReadStartTime(pid);
    close(process);
    if (gone) return 0;
    return start_time == 0 ? std::nullopt : std::optional<uint64_t>(start_time);
  }

 private:
  const ProcessIdentity self_ = Identity();  // asked for by every probe; a process keeps it
  LockDescriptors::Node node_;
};

// Threads of one process over a private mapping: they live and die together.
class PrivatePlatform final : private GuardHolder, public Platform {
 public:
  PrivatePlatform() : Platform(guard.canary()) {}
  int64_t NowNs() override { return MonotonicNs(); }
  void WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) override {
    FutexWait(word, expected, bits, until_ns, FUTEX_PRIVATE_FLAG);
  }
  int WakeWord(Word32& word, int count, uint32_t bits) override {
    return FutexWake(word, count, bits, FUTEX_PRIVATE_FLAG);
  }
  void Relax() override {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  bool TryHold(LockByte, uint32_t) override { return true; }
  void Drop(LockByte, uint32_t) override {}
  bool IsHeld(LockByte, uint32_t) override { return true; }
  ProcessIdentity Self() override { return Identity(); }
  std::optional<uint64_t> StartTimeOf(uint32_t) override { return std::nullopt; }
};

}  // namespace

std::unique_ptr<Platform> MakeKernelPlatform(int file) {
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return nullptr;
  auto platform = std::make_unique<KernelPlatform>(descriptor);
  return platform;
}

std::unique_ptr<Platform> MakePrivatePlatform() { return std::make_unique<PrivatePlatform>(); }

}  // namespace thole::shm
