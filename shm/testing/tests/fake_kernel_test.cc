#include "thole/shm/testing/fake_kernel.h"

#include <gtest/gtest.h>

namespace thole::shm::testing {
namespace {

class FakeKernelTest : public ::testing::Test {
 protected:
  alignas(kCacheLine) unsigned char bytes_[4096] = {};
  SegmentView view_{bytes_, sizeof(bytes_)};
  std::shared_ptr<FakeKernel> kernel_ = std::make_shared<FakeKernel>(4);
};

TEST_F(FakeKernelTest, GivesAByteToOneProcessUntilItDies) {
  FakePlatform one(kernel_, view_);
  FakePlatform two(kernel_, view_);
  EXPECT_TRUE(one.TryHold(LockByte::kLife, 2));
  EXPECT_TRUE(one.TryHold(LockByte::kLife, 2));  // as with locks of a description
  EXPECT_FALSE(two.TryHold(LockByte::kLife, 2));
  EXPECT_TRUE(two.TryHold(LockByte::kRepair, 2));
  EXPECT_TRUE(two.IsHeld(LockByte::kLife, 2));
  EXPECT_FALSE(one.IsHeld(LockByte::kLife, 2));
  EXPECT_TRUE(kernel_->SlotIsAlive(2));
  EXPECT_EQ(two.StartTimeOf(one.Self().pid), one.Self().start_time);
  one.Die();
  EXPECT_FALSE(kernel_->SlotIsAlive(2));
  EXPECT_FALSE(two.IsHeld(LockByte::kLife, 2));
  EXPECT_EQ(two.StartTimeOf(one.Self().pid), 0u);
  EXPECT_FALSE(one.InOwnProcess());
  EXPECT_TRUE(two.InOwnProcess());
}

TEST_F(FakeKernelTest, DropsTheBytesOfAnExit) {
  FakePlatform two(kernel_, view_);
  {
    FakePlatform one(kernel_, view_);
    one.TryHold(LockByte::kLife, 0);
    EXPECT_TRUE(two.IsHeld(LockByte::kLife, 0));
  }
  EXPECT_FALSE(two.IsHeld(LockByte::kLife, 0));
}

TEST_F(FakeKernelTest, CopiesItselfForAnImage) {
  FakePlatform one(kernel_, view_);
  one.TryHold(LockByte::kLife, 1);
  auto copy = kernel_->CopyForImage();
  copy->Kill(one.process());
  EXPECT_FALSE(copy->SlotIsAlive(1));
  EXPECT_TRUE(kernel_->SlotIsAlive(1));
  EXPECT_TRUE(one.InOwnProcess());
}

TEST_F(FakeKernelTest, LetsTimePassForALonelySleeper) {
  FakePlatform one(kernel_, view_);
  Word32& word = *view_.At<Word32>(64);
  const int64_t before = one.NowNs();
  one.WaitWord(word, 1, ~0u, before + 1'000'000);  // another value: does not sleep
  EXPECT_LT(one.NowNs(), before + 1'000'000);
  one.WaitWord(word, 0, ~0u, before + 1'000'000);
  EXPECT_GE(one.NowNs(), before + 1'000'000);
  EXPECT_EQ(one.WakeWord(word, 1, ~0u), 0);
}

}  // namespace
}  // namespace thole::shm::testing
