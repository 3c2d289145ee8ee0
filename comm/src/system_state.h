// SystemState: what one process has of one segment, shared by all of its handles. Private to
// `comm`.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/comm/channel_options.h"
#include "thole/queue/queue_factory.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/attachment.h"

namespace thole::comm {

class ChannelState;

class SystemState : public std::enable_shared_from_this<SystemState> {
 public:
  /// Registers the repair parts; the caller joins.
  static absl::StatusOr<std::shared_ptr<SystemState>> Make(
      std::shared_ptr<shm::Attachment> attachment);
  ~SystemState();
  SystemState(const SystemState&) = delete;
  SystemState& operator=(const SystemState&) = delete;

  shm::Attachment& attachment() { return *attachment_; }
  const std::shared_ptr<shm::Attachment>& shared_attachment() const { return attachment_; }
  alloc::PersistentTlsfAllocator& heap() { return *heap_; }
  registry::SharedBufferRegistry& names() { return *names_; }
  const registry::SharedBufferRegistry& names() const { return *names_; }

  absl::StatusOr<std::shared_ptr<ChannelState>> CreateChannel(std::string_view name,
                                                              const ChannelOptions& options,
                                                              shm::Deadline deadline);
  absl::StatusOr<std::shared_ptr<ChannelState>> ConnectChannel(std::string_view name,
                                                               shm::Deadline deadline);

  /// OK, or why no call may be made: forked, or left.
  absl::Status Ready() const;
  /// False after `Leave` began.
  bool usable() const {
    return attachment_->joined() && !leaving_.load(std::memory_order_seq_cst);  // see StayGuard
  }
  /// A lane for one call; none after `Leave` began.
  shm::Call Enter(shm::CallId call, shm::Deadline deadline) noexcept {
    return usable() ? attachment_->Enter(call, deadline) : shm::Call();
  }
  absl::Status Leave(shm::Deadline deadline);
  /// Keeps the seat while a store to the segment is made without a lane: first the guard, then
  /// `Ready`, then the store.
  class StayGuard {
   public:
    explicit StayGuard(SystemState& system) : system_(system) {
      system_.staying_.fetch_add(1, std::memory_order_seq_cst);  // before leaving_ is read
    }
    ~StayGuard() { system_.staying_.fetch_sub(1, std::memory_order_release); }  // after the store
    StayGuard(const StayGuard&) = delete;
    StayGuard& operator=(const StayGuard&) = delete;

   private:
    SystemState& system_;
  };
  /// Repairs the dead, and gives back what destructors could not.
  uint32_t Recover() noexcept;
  /// Gives back what destructors could not: doomed loans. Any call with a lane does it; where very
  /// many have gathered it waits for a millisecond, but not beyond `deadline`.
  void Sweep(shm::Lane& lane, shm::Deadline deadline) noexcept {
    if (attachment_->loans().AnyDoomed()) SweepDoomed(lane, deadline);
  }
  /// Frees or returns what `loan` holds without waiting; dooms the loan where it cannot.
  void ReleaseLoan(shm::LoanRef loan) noexcept;

 private:
  explicit SystemState(std::shared_ptr<shm::Attachment> attachment)
      : attachment_(std::move(attachment)) {}
  void SweepDoomed(shm::Lane& lane, shm::Deadline deadline) noexcept;
  /// What to do about a lock that somebody holds.
  enum class Held : uint8_t {
    kLeave,       // to the next attempt
    kLookForDead  // if its owner is dead, release it: some microseconds; wait for a live one
  };
  bool TryRelease(shm::Lane& lane, shm::LoanRef loan, Held held,
                  shm::Deadline deadline = shm::Deadline::Now()) noexcept;
  bool ReleaseSoon(shm::Lane& lane, shm::LoanRef loan) noexcept;
  queue::QueueHandle QueueOfLease(uint64_t lease);
  std::shared_ptr<ChannelState> Remember(std::string_view name, queue::QueueHandle queue);
  std::shared_ptr<ChannelState> Known(std::string_view name);

  std::shared_ptr<shm::Attachment> attachment_;
  std::shared_ptr<alloc::PersistentTlsfAllocator> heap_;
  std::shared_ptr<registry::SharedBufferRegistry> names_;
  std::unique_ptr<queue::QueueFactory> queues_;
  std::atomic<bool> leaving_{false};
  std::atomic<uint32_t> staying_{0};
  // What this process has connected to. The state of a channel keeps this object alive, so the map
  // keeps queues and only looks at states.
  struct Entry {
    queue::QueueHandle queue;
    std::weak_ptr<ChannelState> state;
  };
  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> channels_;
};

}  // namespace thole::comm
