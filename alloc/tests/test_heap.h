// What the tests of alloc share: a segment with a heap, a participant of it, and a full audit.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <vector>

#include "kept.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/heap_data.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/shm/audit.h"
#include "thole/shm/owner_lock.h"

namespace thole::alloc::testing {

inline constexpr shm::SegmentOptions kSmall{
    .size_bytes = uint64_t{1} << 20, .participants_max = 8, .lanes_per_participant = 2};

/// A memfd with a heap; other processes open it with `shm::Place::Descriptor(segment.file())`.
inline shm::Segment MakeSegment(const shm::SegmentOptions& options = kSmall,
                                std::vector<shm::RootRequest> between = {}) {
  auto roots = PersistentTlsfAllocator::Roots();
  roots.insert(roots.begin() + 1, between.begin(), between.end());
  auto segment = shm::Segment::Create(shm::Place::Descriptor(), options, roots);
  if (!segment.ok()) ADD_FAILURE() << segment.status();
  return *std::move(segment);
}

/// A second mapping of the same segment.
inline shm::Segment Reopen(const shm::Segment& segment) {
  auto opened = shm::Segment::Open(shm::Place::Descriptor(segment.file()), {});
  if (!opened.ok()) ADD_FAILURE() << opened.status();
  return *std::move(opened);
}

inline HeapData& ControlOf(const shm::Segment& segment) {
  const auto root = segment.Root(shm::ComponentId::kAlloc, kControlRoot);
  return *segment.view().At<HeapData>(root->offset);
}

/// Every call goes to the lists.
inline constexpr HeapOptions kNoMagazines{.batch = 0};

/// One participant that works through one lane.
class Party {
 public:
  explicit Party(shm::Segment segment, const char* name = "party",
                 const HeapOptions& options = {}) {
    auto made = shm::Attachment::Make(std::move(segment));
    EXPECT_TRUE(made.ok()) << made.status();
    attachment = *std::move(made);
    auto opened = PersistentTlsfAllocator::Open(attachment, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    heap = *std::move(opened);
    if (name == nullptr) return;
    const absl::Status joined = attachment->Join(name);
    EXPECT_TRUE(joined.ok()) << joined;
    call = attachment->Enter(1);
  }

  shm::Lane& lane() { return call.lane(); }
  const shm::Segment& segment() const { return attachment->segment(); }
  shm::LoanRef Take() { return attachment->TakeLoan(lane(), heap.get(), shm::Deadline::Never()); }

  /// An allocated loan; null, with the reason in `last`, if there is none.
  shm::LoanRef Allocate(uint64_t size_bytes, uint64_t align = 16) {
    const shm::LoanRef loan = Take();
    if (!loan) return {};
    last = heap->AllocateTo(lane(), loan, size_bytes, align, shm::Deadline::Never());
    if (last == shm::BlockResult::kOk) return loan;
    EXPECT_EQ(loan->block.load(), 0u);
    attachment->loans().Return(loan);
    return {};
  }
  shm::BlockResult Free(shm::LoanRef loan) {
    last = heap->FreeLoan(lane(), loan, shm::Deadline::Never());
    if (last == shm::BlockResult::kOk) attachment->loans().Return(loan);
    return last;
  }
  std::byte* Bytes(shm::LoanRef loan) {
    const uint64_t offset = loan->block.load();
    return attachment->view().Bytes(offset, heap->BlockSize(offset));
  }
  uint64_t used() const { return heap->Statistics().used_bytes; }

  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<PersistentTlsfAllocator> heap;
  shm::Call call;
  shm::BlockResult last = shm::BlockResult::kOk;
};

/// Runs `work` in a forked child, which must not return from it; tells how the child ended.
inline pid_t Fork(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is ended from outside leaves no worker behind
  work();
  _exit(::testing::Test::HasFailure() ? 99 : 0);
}
inline int WaitFor(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}
inline bool WasKilled(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

}  // namespace thole::alloc::testing
