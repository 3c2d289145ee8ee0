// What a receiver must notice about the bytes of a message.
#include "message.h"

#include <gtest/gtest.h>

#include <vector>

namespace thole::soak {
namespace {

std::vector<std::byte> Message(uint64_t seed) {
  std::vector<std::byte> bytes(SizeFor(seed));
  EXPECT_EQ(Fill(bytes, 3, 5, seed), bytes.size());
  return bytes;
}

TEST(SoakMessage, IsKnownAgain) {
  const auto head = Verify(Message(17));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->stream, 3u);
  EXPECT_EQ(head->number, 5u);
}

TEST(SoakMessage, OneWrongByteAnywhereShows) {
  std::vector<std::byte> bytes = Message(17);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{16};
    EXPECT_FALSE(Verify(bytes).has_value()) << "byte " << i;
    bytes[i] ^= std::byte{16};
  }
}

TEST(SoakMessage, IsNotKnownWhenItWasCutOrGrown) {
  std::vector<std::byte> bytes = Message(17);
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(Verify(bytes).has_value());
  bytes.resize(bytes.size() - 2);
  EXPECT_FALSE(Verify(bytes).has_value());
  bytes.resize(3);
  EXPECT_FALSE(Verify(bytes).has_value());
}

TEST(SoakMessage, SizesAreOfAllKinds) {
  uint64_t small = 0, large = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const uint64_t size = SizeFor(seed * 0x9e3779b97f4a7c15);
    ASSERT_GE(size, kHeaderBytes);
    ASSERT_LE(size, kMessageBytesMax);
    small += size < 600;
    large += size > 16'000;
  }
  EXPECT_GT(small, 1000u);
  EXPECT_GT(large, 2u);
}

}  // namespace
}  // namespace thole::soak
