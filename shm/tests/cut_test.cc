// Looks at a file that somebody cuts meanwhile.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "support/test_segment.h"
#include "thole/shm/segment.h"

namespace thole::shm {
namespace {

constexpr OpenOptions kLook = {.read_only = true, .survive_cuts = true};

// How a forked process ended that did this; the child opens what it needs.
int EndOf(const std::function<void()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGBUS, SIG_DFL);
    body();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

int LastByteOf(const Segment& segment) {
  const volatile std::byte* last = segment.view().Bytes(segment.view().size_bytes() - 1, 1);
  return std::to_integer<int>(*last);
}

// What is cut is no segment any more, so its name must be taken away as that of a file.
void Cut(const TestName& name) {
  if (truncate(name.path().c_str(), 0) != 0 || unlink(name.path().c_str()) != 0) _exit(9);
}

TEST(Cut, AReaderReadsZerosAndIsTold) {
  const TestName cut;
  const TestName whole;
  MakeSegment(cut.place());
  MakeSegment(whole.place());
  auto looked = Segment::Open(cut.place(), kLook);
  auto other = Segment::Open(whole.place(), kLook);
  ASSERT_TRUE(looked.ok() && other.ok());
  EXPECT_NE(looked->header().size_bytes, 0U);
  EXPECT_EQ(EndOf([&] { Cut(cut); }), 0);
  EXPECT_FALSE(looked->was_cut()) << "nothing was read yet";
  EXPECT_EQ(LastByteOf(*looked), 0);
  EXPECT_EQ(looked->header().size_bytes, 0U);
  EXPECT_TRUE(looked->was_cut());
  EXPECT_EQ(LastByteOf(*other), 0);
  EXPECT_FALSE(other->was_cut());
}

TEST(Cut, EndsWhoDidNotAskToSurviveIt) {
  const TestName name;
  const TestName guarded;
  MakeSegment(guarded.place());
  MakeSegment(name.place());
  const int end = EndOf([&] {
    auto survives = Segment::Open(guarded.place(), kLook);
    auto does_not = Segment::Open(name.place(), {.read_only = true});
    if (!survives.ok() || !does_not.ok()) _exit(9);
    Cut(name);
    LastByteOf(*does_not);
  });
  EXPECT_TRUE(WIFSIGNALED(end) && WTERMSIG(end) == SIGBUS) << end;
}

TEST(Cut, IsPassedOnToWhoHandledFaultsBefore) {
  const TestName name;
  const TestName guarded;
  MakeSegment(guarded.place());
  MakeSegment(name.place());
  const int end = EndOf([&] {
    signal(SIGBUS, [](int) { _exit(7); });
    auto survives = Segment::Open(guarded.place(), kLook);
    auto does_not = Segment::Open(name.place(), {.read_only = true});
    if (!survives.ok() || !does_not.ok()) _exit(9);
    Cut(guarded);
    LastByteOf(*survives);
    if (!survives->was_cut()) _exit(8);
    Cut(name);
    LastByteOf(*does_not);
  });
  EXPECT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) == 7) << end;
}

TEST(Cut, IsNotSurvivedByWhoWrites) {
  const TestName name;
  MakeSegment(name.place());
  const auto refused = Segment::Open(name.place(), {.survive_cuts = true}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
}

TEST(Cut, IsSurvivedBySixtyFourAtOnceAndByTheNextWhenOneIsClosed) {
  const TestName name;
  MakeSegment(name.place());
  std::vector<Segment> open;
  for (int i = 0; i < 64; ++i) {
    auto one = Segment::Open(name.place(), kLook);
    ASSERT_TRUE(one.ok()) << one.status();
    open.push_back(*std::move(one));
  }
  const auto refused = Segment::Open(name.place(), kLook).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  open.pop_back();
  EXPECT_TRUE(Segment::Open(name.place(), kLook).ok());
}

}  // namespace
}  // namespace thole::shm
