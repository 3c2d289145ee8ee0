// The written order contract with real threads over one attachment: words that only the queue's own
// edges put in order. Under the thread sanitizer a missing edge is a data race.
#include <thread>

#include "support/party.h"

namespace thole::queue {
namespace {

using testing::Inline;
using testing::Item;
using testing::MakeSegment;
using testing::Party;
using testing::QueueShape;

constexpr uint64_t kMessages = 20'000;

class Litmus : public ::testing::TestWithParam<uint32_t> {
 protected:
  Litmus()
      : shapes_{{"jobs", Inline(GetParam())}},
        segment_(MakeSegment(shapes_)),
        party_(segment_.file(), shapes_),
        items_(party_->items()),
        words_(kMessages + 1) {}

  void Push(uint64_t id) {
    while (items_.TryPush(Item::Of(id)) != PushResult::kOk) std::this_thread::yield();
  }
  /// The next message; 0 once the queue is closed and empty.
  uint64_t Pop() {
    for (;;) {
      Item item;
      const PopResult result = items_.TryPop(item);
      if (result == PopResult::kClosed) return 0;
      if (result == PopResult::kOk) return item.intact() ? item.id : kMessages + 1;
      std::this_thread::yield();
    }
  }

  std::vector<QueueShape> shapes_;
  shm::Segment segment_;
  Party party_;
  PersistentQueue<Item> items_;
  std::vector<uint64_t> words_;  // not atomic on purpose
};
INSTANTIATE_TEST_SUITE_P(Capacities, Litmus, ::testing::Values(1, 2, 64));

TEST_P(Litmus, WhatWasWrittenBeforeAPushIsThereAfterItsPop) {
  uint64_t wrong[2] = {};
  const auto consume = [&](uint64_t& mine) {
    while (const uint64_t id = Pop()) mine += id > kMessages || words_[id] != id * 7;
  };
  std::thread consumers[] = {std::thread(consume, std::ref(wrong[0])),
                             std::thread(consume, std::ref(wrong[1]))};
  for (uint64_t id = 1; id <= kMessages; ++id) {
    words_[id] = id * 7;
    Push(id);
  }
  items_.Close();
  for (std::thread& consumer : consumers) consumer.join();
  EXPECT_EQ(wrong[0] + wrong[1], 0u);
}

TEST_P(Litmus, WhatWasReadBeforeAPopIsOverWhenItsPlaceIsPushedTo) {
  uint64_t wrong = 0;
  std::thread consumer([&] {
    for (uint64_t next = 1; next <= kMessages; ++next) {
      wrong += words_[next] != 0;
      wrong += Pop() != next;
    }
  });
  for (uint64_t id = 1; id <= kMessages; ++id) {
    Push(id);
    if (id > GetParam()) words_[id - GetParam()] = 1;
  }
  consumer.join();
  EXPECT_EQ(wrong, 0u);
}

TEST_P(Litmus, WhatWasWrittenBeforeACloseIsThereForWhoIsToldOfIt) {
  uint64_t wrong = 0;
  std::thread consumer([&] {
    while (Pop() != 0) {
    }
    wrong = words_[0] != 9;
  });
  Push(1);
  words_[0] = 9;
  items_.Close();
  consumer.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace thole::queue
