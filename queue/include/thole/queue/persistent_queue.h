// PersistentQueue<T>: a bounded first-in first-out work queue in shared memory, for any number of
// producers and consumers, in any processes, any of which may be killed at any instruction.
//
//   #include <thole/queue/persistent_queue.h>
//   struct Sample { uint64_t id; double value; };
//   double Work(const thole::queue::PersistentQueue<Sample>& queue) {
//     using thole::shm::Deadline;
//     if (queue.Push({1, 0.5}, Deadline::Never()) != thole::queue::PushResult::kOk) return 0;
//     Sample sample;
//     const auto soon = Deadline::In(std::chrono::milliseconds(20));
//     return queue.Pop(sample, soon) == thole::queue::PopResult::kOk ? sample.value : 0;
//   }
//
// Guarantees. Linearizable: kEmpty means that it was empty, kFull that it was full. A value whose
// push answered kOk is delivered once, or still in the queue, or its consumer died after it took
// it. A value whose consumer died before that is offered again, first. A live process stopped in
// the middle of a push holds consumers back (they answer kPending): order would be lost otherwise.
// One stopped in the middle of a pop holds nobody back until the ring comes round. Push and pop
// cost two locked instructions each and no system call while nobody sleeps.
//
// `SharedQueueData` is the untyped bytes; T stands in them as element size and type id. Handles are
// made by QueueFactory.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "thole/queue/message_descriptor.h"
#include "thole/queue/queue_handle.h"
#include "thole/queue/queue_wait.h"

namespace thole::queue {

/// Whether word 0 of T is a block that the queue hands from loan to loan.
template <class T>
inline constexpr bool kCarriesBlock = std::is_same_v<T, MessageDescriptor>;

/// Copyable, thread-safe; see QueueHandle.
template <class T>
class PersistentQueue {
  static_assert(std::is_trivially_copyable_v<T>,
                "a queue's element must be trivially copyable: it is copied as bytes between "
                "processes, where constructors, pointers and virtual functions mean nothing");
  static_assert(std::is_standard_layout_v<T>,
                "a queue's element must have standard layout: every process must see its members "
                "at the same places");
  static_assert(sizeof(T) <= kElementBytesMax,
                "a queue's element must not be larger than 248 bytes: send larger values through "
                "a block of the heap and queue their MessageDescriptor");

 public:
  PersistentQueue() = default;
  /// `handle.ring()` must have elements of sizeof(T) bytes; QueueFactory checks.
  explicit PersistentQueue(QueueHandle handle) : handle_(std::move(handle)) {}

  /// One attempt: kOk, kFull, kPending, kClosed, kCorrupt.
  PushResult TryPush(const T& value) const noexcept
    requires(!kCarriesBlock<T>)
  {
    PushInfo info;
    const PushResult result = TryPushQuietly(value, info);
    if (result == PushResult::kFull) handle_.CountRejected();
    return result;
  }
  /// Waits for room until the deadline: kOk, kTimeout, kClosed, kCorrupt; with Deadline::Now() as
  /// TryPush.
  PushResult Push(const T& value, shm::Deadline deadline) const noexcept
    requires(!kCarriesBlock<T>)
  {
    if (deadline.now()) return TryPush(value);
    for (QueueWait wait(handle_, WaitSide::kPush, deadline);;) {
      PushInfo info;
      const PushResult result = TryPushQuietly(value, info);
      if (!MayChange(result)) return result;
      if (!wait.Next(result == PushResult::kPending, info.stalled_on)) return PushResult::kTimeout;
    }
  }
  /// One attempt: kOk, kEmpty, kPending, kClosed, kCorrupt. `out` changes only with kOk.
  PopResult TryPop(T& out) const noexcept
    requires(!kCarriesBlock<T>)
  {
    PopInfo info;
    return TryPop(out, info);
  }
  PopResult TryPop(T& out, PopInfo& info) const noexcept
    requires(!kCarriesBlock<T>)
  {
    uint64_t words[kWords];
    const PopResult result = handle_.TryPop(words, info);
    if (result == PopResult::kOk) FromWords(words, out);
    return result;
  }
  /// Waits for a message until the deadline: kOk, kTimeout, kClosed, kCorrupt; with Deadline::Now()
  /// as TryPop.
  PopResult Pop(T& out, shm::Deadline deadline) const noexcept
    requires(!kCarriesBlock<T>)
  {
    if (deadline.now()) return TryPop(out);
    for (QueueWait wait(handle_, WaitSide::kPop, deadline);;) {
      PopInfo info;
      const PopResult result = TryPop(out, info);
      if (!MayChange(result)) return result;
      if (!wait.Next(result == PopResult::kPending, info.stalled_on)) return PopResult::kTimeout;
    }
  }

  /// One attempt with a block: from `given` (which is empty after kOk and unchanged otherwise).
  PushResult TryPush(shm::Lane& lane, const T& value, shm::LoanRef given,
                     PushInfo* info = nullptr) const noexcept
    requires(kCarriesBlock<T>)
  {
    uint64_t words[kWords];
    ToWords(value, words);
    PushInfo unwanted;
    return handle_.TryPush(lane, words, given, info != nullptr ? *info : unwanted);
  }
  /// One attempt with a block: into the empty loan `into`; a lease if the queue is leased.
  PopResult TryPop(shm::Lane& lane, T& out, shm::LoanRef into,
                   PopInfo* info = nullptr) const noexcept
    requires(kCarriesBlock<T>)
  {
    uint64_t words[kWords];
    PopInfo unwanted;
    const PopResult result = handle_.TryPop(lane, words, into, info != nullptr ? *info : unwanted);
    if (result == PopResult::kOk) FromWords(words, out);
    return result;
  }
  /// See QueueHandle. Ack is `BlockSource::FreeLoan`.
  ReturnResult ReturnLeased(shm::Lane& lane, shm::LoanRef loan,
                            shm::Deadline deadline) const noexcept {
    return handle_.ReturnLeased(lane, loan, deadline);
  }
  ReturnResult TryReturnLeased(shm::Lane& lane, shm::LoanRef loan) const noexcept {
    return handle_.TryReturnLeased(lane, loan);
  }

  /// No more pushes: they answer kClosed. Pops drain what is there, then answer kClosed.
  void Close() const noexcept { handle_.Close(); }
  bool IsClosed() const noexcept { return handle_.IsClosed(); }
  uint64_t SizeApprox() const noexcept { return handle_.SizeApprox(); }
  uint32_t capacity() const { return handle_.ring().capacity(); }
  bool leased() const { return handle_.ring().leased(); }
  QueueStatistics Statistics() const noexcept { return handle_.Statistics(); }
  const QueueHandle& handle() const { return handle_; }

 private:
  static constexpr size_t kWords = (sizeof(T) + 7) / 8;
  static void ToWords(const T& value, uint64_t (&words)[kWords]) {
    words[kWords - 1] = 0;                                            // the bytes behind the value
    std::memcpy(words, static_cast<const void*>(&value), sizeof(T));  // local to local
  }
  static void FromWords(const uint64_t (&words)[kWords], T& value) {
    std::memcpy(static_cast<void*>(&value), words, sizeof(T));  // local to local
  }
  PushResult TryPushQuietly(const T& value, PushInfo& info) const noexcept {
    uint64_t words[kWords];
    ToWords(value, words);
    return handle_.TryPush(words, info);
  }

  QueueHandle handle_;
};

}  // namespace thole::queue
