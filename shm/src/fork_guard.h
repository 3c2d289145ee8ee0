// A page that the kernel wipes in a forked child: how a handle knows that it was inherited.
#pragma once

#include <sys/mman.h>

namespace thole::shm {

class ForkGuard {
 public:
  ForkGuard() {
    void* page = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, kBytes, MADV_WIPEONFORK) != 0) {
      munmap(page, kBytes);
      return;
    }
    page_ = static_cast<unsigned char*>(page);
    *page_ = 1;
  }
  ~ForkGuard() {
    if (page_ != nullptr) munmap(page_, kBytes);
  }
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  bool valid() const { return page_ != nullptr; }
  /// 1 in the process that made it, 0 in a forked child.
  const volatile unsigned char* canary() const { return page_; }

 private:
  static constexpr size_t kBytes = 4096;
  unsigned char* page_ = nullptr;
};

}  // namespace thole::shm
