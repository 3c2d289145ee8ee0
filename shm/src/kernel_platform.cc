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
#include <climits>
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
// locks of a parent that died. They are opened and closed under the mutex, so that no fork falls in
// between. The one process-wide object of the library: pthread_atfork handlers get no argument.
class LockDescriptors {
 public:
  struct Node {
    int descriptor = -1;
    Node* next = nullptr;
    Node** link = nullptr;
  };
  static LockDescriptors& Instance() {
    // tidy: global: handlers of pthread_atfork get no argument
    static LockDescriptors* const instance =
        new LockDescriptors;  // never destroyed: fork may be late
    return *instance;
  }
  void Open(Node& node, const char* path) {
    const std::lock_guard<std::mutex> guard(mutex_);
    node.descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (node.descriptor < 0) return;
    node.next = first_;
    node.link = &first_;
    if (first_ != nullptr) first_->link = &node.next;
    first_ = &node;
  }
  void Close(Node& node) {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (node.link == nullptr) return;
    *node.link = node.next;
    if (node.next != nullptr) node.next->link = node.link;
    node.link = nullptr;
    // A child made past our handlers may share the description: then closing drops no lock.
    struct flock all{};
    all.l_type = F_UNLCK;
    all.l_whence = SEEK_SET;
    fcntl(node.descriptor, F_OFD_SETLK, &all);
    close(node.descriptor);
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

// The beginning of a small file, zero-terminated; empty when it cannot be read.
struct SmallText {
  explicit SmallText(const char* path) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    const ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    bytes = count > 0 ? static_cast<size_t>(count) : 0;
  }
  char text[1024] = {};
  size_t bytes = 0;
};

// Field 22 of /proc/<process>/stat; 0 when it cannot be read. `process` is a number or "self".
uint64_t ReadStartTime(const char* process) {
  char path[48];
  std::snprintf(path, sizeof path, "/proc/%s/stat", process);
  const SmallText stat(path);
  const char* at = std::strrchr(stat.text, ')');  // the command may contain anything
  if (at == nullptr) return 0;
  // After ") " comes field 3; field 22 is 19 spaces further on.
  for (int field = 2; field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (at == nullptr) return 0;
  }
  uint64_t value = 0;
  std::from_chars(at + 1, stat.text + stat.bytes, value);
  return value;
}

// The number that the mounted /proc has for the process behind a pidfd: another than the caller's
// when /proc is that of another pid namespace. 0 when it shows none, -1 when the process is gone.
int64_t NumberInProc(int process) {
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", process);
  const SmallText info(path);
  constexpr char kKey[] = "\nPid:\t";
  const char* at = std::strstr(info.text, kKey);
  int64_t number = 0;
  if (at != nullptr) std::from_chars(at + sizeof kKey - 1, info.text + info.bytes, number);
  return number;
}

// Readable once every thread is gone; a stopped process, or one whose first thread ended, is not.
bool HasEnded(int process) {
  pollfd waiting{process, POLLIN, 0};
  return poll(&waiting, 1, 0) == 1;
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
  self.start_time = ReadStartTime("self");  // not by number: /proc may be another namespace's
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
  explicit KernelPlatform(const char* path) : Platform(guard.canary()) {
    if (guard.valid()) LockDescriptors::Instance().Open(node_, path);
  }
  ~KernelPlatform() override {
    if (guard.valid() && !InOwnProcess()) return;  // the child's copy is closed already
    LockDescriptors::Instance().Close(node_);
  }
  bool valid() const { return node_.descriptor >= 0; }

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
    if (pid == 0 || pid > INT_MAX) return std::nullopt;
    const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (process < 0) {
      // EINVAL and ENOENT: the number is now that of a thread, so no process has it.
      const bool none = errno == ESRCH || errno == EINVAL || errno == ENOENT;
      return none ? std::optional<uint64_t>(0) : std::nullopt;
    }
    uint64_t start_time = 0;
    const int64_t number = NumberInProc(process);
    if (number > 0) start_time = ReadStartTime(std::to_string(number).c_str());
    const bool ended = number < 0 || HasEnded(process);
    close(process);
    if (ended) return 0;
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
  bool valid() const { return guard.valid(); }
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
  auto platform = std::make_unique<KernelPlatform>(path.c_str());
  if (!platform->valid()) return nullptr;
  return platform;
}

std::unique_ptr<Platform> MakePrivatePlatform() {
  auto platform = std::make_unique<PrivatePlatform>();
  if (!platform->valid()) return nullptr;
  return platform;
}

}  // namespace thole::shm
