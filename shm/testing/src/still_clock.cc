// Two sources of the kernel that a segment notes and nobody decides by: the date, and random bytes
// for its name. In a test of states they say the same in every run, so that a state of the bytes
// is the same state when it comes again. Linked into the executable, before the C library's.
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (clock != CLOCK_REALTIME) return static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  *now = {.tv_sec = 1'700'000'000, .tv_nsec = 0};
  return 0;
}

ssize_t getrandom(void* buffer, size_t bytes, unsigned) {
  std::memset(buffer, 0x5e, bytes);
  return static_cast<ssize_t>(bytes);
}
}
