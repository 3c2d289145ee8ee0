// What one or two participants see of a queue of values.
#include <chrono>
#include <thread>

#include "support/party.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using std::chrono::milliseconds;
using testing::Inline;
using testing::Item;
using testing::MakeSegment;
using testing::Party;
using testing::QueueShape;

template <uint32_t kBytes>
struct Bytes {
  unsigned char bytes[kBytes];
};

class Queue {
 public:
  explicit Queue(const QueueOptions& options)
      : shapes_{{"jobs", options}},
        segment_(MakeSegment(shapes_)),
        party(segment_.file(), shapes_),
        items(party->items()) {}
  int file() const { return segment_.file(); }
  const std::vector<QueueShape>& shapes() const { return shapes_; }

 private:
  std::vector<QueueShape> shapes_;
  shm::Segment segment_;

 public:
  Party party;
  PersistentQueue<Item> items;
};

TEST(PersistentQueue, IsFirstInFirstOut) {
  Queue queue(Inline(8));
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(queue.items.TryPush(Item::Of(i)), PushResult::kOk);
  Item item;
  for (uint64_t i = 0; i < 8; ++i) {
    ASSERT_EQ(queue.items.TryPop(item), PopResult::kOk);
    EXPECT_EQ(item.id, i);
    EXPECT_TRUE(item.intact());
  }
  EXPECT_EQ(queue.items.TryPop(item), PopResult::kEmpty);
  EXPECT_EQ(queue.party.AuditText(), "none");
}

TEST(PersistentQueue, RoundsItsCapacityUpAndIsFullThere) {
  for (const auto& [wanted, real] :
       {std::pair{1u, 1u}, {2u, 2u}, {3u, 4u}, {5u, 8u}, {100u, 128u}}) {
    Queue queue(Inline(wanted));
    EXPECT_EQ(queue.items.capacity(), real);
    for (uint32_t i = 0; i < real; ++i) {
      ASSERT_EQ(queue.items.TryPush(Item::Of(i)), PushResult::kOk) << i << " of " << real;
    }
    EXPECT_EQ(queue.items.SizeApprox(), real);
    EXPECT_EQ(queue.items.TryPush(Item::Of(0)), PushResult::kFull);
    EXPECT_EQ(queue.items.Statistics().rejected_full, 1u);
  }
}

TEST(PersistentQueue, GoesOverTheWrapOfItsTickets) {
  for (const uint64_t bits : {40, 48}) {
    for (const uint32_t capacity : {1u, 2u, 8u}) {
      Queue queue(Inline(capacity, ((uint64_t{1} << bits) - 5) & kTicketMask));
      Item item;
      for (uint64_t i = 0; i < 40; ++i) {
        for (uint32_t k = 0; k < capacity; ++k) {
          ASSERT_EQ(queue.items.TryPush(Item::Of(i + k)), PushResult::kOk) << bits << ' ' << i;
        }
        ASSERT_EQ(queue.items.TryPush(Item::Of(0)), PushResult::kFull);
        for (uint32_t k = 0; k < capacity; ++k) {
          ASSERT_EQ(queue.items.TryPop(item), PopResult::kOk);
          ASSERT_EQ(item.id, i + k);
        }
        ASSERT_EQ(queue.items.TryPop(item), PopResult::kEmpty);
      }
      EXPECT_EQ(queue.items.Statistics().pushed, 40u * capacity);
      EXPECT_EQ(queue.party.AuditText(), "none");
    }
  }
}

template <class T>
void ExpectKept() {
  const std::vector<QueueShape> shapes = {{"bytes", QueueFactory::For<T>({.capacity = 4})}};
  const shm::Segment segment = MakeSegment(shapes);
  Party party(segment.file(), shapes);
  const PersistentQueue<T> queue(party->handle());
  T in{};
  T out{};
  for (unsigned char i = 0; i < 20; ++i) {
    for (size_t k = 0; k < sizeof(T); ++k) in.bytes[k] = static_cast<unsigned char>(i + 3 * k);
    ASSERT_EQ(queue.TryPush(in), PushResult::kOk);
    ASSERT_EQ(queue.TryPop(out), PopResult::kOk);
    ASSERT_EQ(std::memcmp(in.bytes, out.bytes, sizeof(T)), 0);
  }
}

TEST(PersistentQueue, KeepsValuesOfEverySize) {
  ExpectKept<Bytes<1>>();
  ExpectKept<Bytes<8>>();
  ExpectKept<Bytes<55>>();
  ExpectKept<Bytes<56>>();
  ExpectKept<Bytes<57>>();
  ExpectKept<Bytes<120>>();
  ExpectKept<Bytes<121>>();
  ExpectKept<Bytes<248>>();
}

TEST(PersistentQueue, GivesWhatIsLeftAndThenSaysClosed) {
  Queue queue(Inline(4));
  ASSERT_EQ(queue.items.TryPush(Item::Of(1)), PushResult::kOk);
  ASSERT_EQ(queue.items.TryPush(Item::Of(2)), PushResult::kOk);
  queue.items.Close();
  EXPECT_TRUE(queue.items.IsClosed());
  EXPECT_EQ(queue.items.TryPush(Item::Of(3)), PushResult::kClosed);
  EXPECT_EQ(queue.items.Push(Item::Of(3), Deadline::Never()), PushResult::kClosed);
  Item item;
  EXPECT_EQ(queue.items.Pop(item, Deadline::Never()), PopResult::kOk);
  EXPECT_EQ(queue.items.Pop(item, Deadline::Never()), PopResult::kOk);
  EXPECT_EQ(item.id, 2u);
  EXPECT_EQ(queue.items.Pop(item, Deadline::Never()), PopResult::kClosed);
  EXPECT_EQ(queue.items.TryPop(item), PopResult::kClosed);
  EXPECT_EQ(queue.party.AuditText(), "none");
}

TEST(PersistentQueue, ReturnsByItsDeadline) {
  Queue queue(Inline(1));
  Item item;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(queue.items.Pop(item, Deadline::In(milliseconds(30))), PopResult::kTimeout);
  ASSERT_EQ(queue.items.TryPush(Item::Of(1)), PushResult::kOk);
  EXPECT_EQ(queue.items.Push(Item::Of(2), Deadline::In(milliseconds(30))), PushResult::kTimeout);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, milliseconds(60));
  EXPECT_LT(took, std::chrono::seconds(5));
  EXPECT_EQ(queue.items.Push(Item::Of(2), Deadline::Now()), PushResult::kFull);
  EXPECT_EQ(queue.items.Pop(item, Deadline::Now()), PopResult::kOk);
  EXPECT_EQ(queue.items.Pop(item, Deadline::Now()), PopResult::kEmpty);
  EXPECT_EQ(queue.items.Statistics().timed_out, 2u);
}

TEST(PersistentQueue, ACloseWakesWhoeverSleeps) {
  Queue queue(Inline(1));
  Party other(queue.file(), queue.shapes());
  PopResult popped{};
  std::thread sleeper([&] {
    Item item;
    popped = other->items().Pop(item, Deadline::Never());
  });
  // Its bit shows that it is about to sleep, or does.
  while (queue.party->handle().ring().data().consumers.waiters.load() == 0)
    std::this_thread::yield();
  queue.items.Close();
  sleeper.join();
  EXPECT_EQ(popped, PopResult::kClosed);
}

TEST(PersistentQueue, AHandleInheritedOverForkSaysClosed) {
  Queue queue(Inline(1));
  const pid_t child = testing::Fork([&] {
    Item item;
    PopInfo info;
    const bool ok = queue.items.TryPush(Item::Of(1)) == PushResult::kClosed &&
                    queue.items.TryPop(item, info) == PopResult::kClosed &&
                    queue.items.Pop(item, Deadline::Never()) == PopResult::kClosed &&
                    queue.items.IsClosed() && queue.items.SizeApprox() == 0 &&
                    !queue.party->factory().Connect<Item>("jobs").ok();
    queue.items.Close();
    return ok ? 0 : 1;
  });
  EXPECT_EQ(testing::WaitFor(child), 0);
  EXPECT_EQ(queue.items.TryPush(Item::Of(1)), PushResult::kOk);
}

TEST(PersistentQueue, AHandleSaysClosedAfterItsAttachmentLeft) {
  Queue queue(Inline(1));
  ASSERT_TRUE(queue.party.attachment().Leave(Deadline::Never()).ok());
  Item item;
  EXPECT_EQ(queue.items.TryPush(Item::Of(1)), PushResult::kClosed);
  EXPECT_EQ(queue.items.Pop(item, Deadline::Never()), PopResult::kClosed);
  Party next(queue.file(), queue.shapes());
  EXPECT_EQ(next->items().TryPush(Item::Of(1)), PushResult::kOk);
  EXPECT_EQ(next.AuditText(), "none");
}

TEST(PersistentQueue, OutlivesAllItsHandles) {
  const std::vector<QueueShape> shapes = {{"jobs", Inline(4)}};
  const shm::Segment segment = MakeSegment(shapes);
  {
    Party party(segment.file(), shapes);
    ASSERT_EQ(party->items().TryPush(Item::Of(5)), PushResult::kOk);
  }
  Party party(segment.file(), shapes);
  Item item;
  ASSERT_EQ(party->items().TryPop(item), PopResult::kOk);
  EXPECT_EQ(item.id, 5u);
}

TEST(PersistentQueue, HasNoRoomForABlockWithoutItsLoan) {
  const std::vector<QueueShape> shapes = {{"blocks", testing::Blocks(2, false)}};
  const shm::Segment segment = MakeSegment(shapes);
  Party party(segment.file(), shapes);
  uint64_t words[7] = {};
  PushInfo push;
  PopInfo pop;
  EXPECT_EQ(party->handle().TryPush(words, push), PushResult::kCorrupt);
  EXPECT_EQ(party->handle().TryPop(words, pop), PopResult::kCorrupt);
  shm::Call call = party.attachment().Enter(1);
  const shm::LoanRef empty = party.attachment().loans().Take(0);
  EXPECT_EQ(party->messages().TryPush(call.lane(), {}, empty), PushResult::kCorrupt);
  EXPECT_EQ(party.AuditText(), "none");
}

TEST(PushResult, PrintsItsName) {
  std::ostringstream text;
  text << PushResult::kFull << ' ' << PopResult::kPending << ' ' << ReturnResult::kNotLeased;
  EXPECT_EQ(text.str(), "kFull kPending kNotLeased");
}

}  // namespace
}  // namespace thole::queue
