// UnifiedCommunicationSystem: messages of any size between the processes of one machine, without
// copying, surviving the death of any of them at any instruction.
//
//   #include <thole/comm/unified_communication_system.h>
//   absl::Status Example() {
//     using thole::UnifiedCommunicationSystem;
//     using thole::shm::Deadline;
//     auto system = UnifiedCommunicationSystem::Open("demo");        // any process
//     if (!system.ok()) return system.status();
//     auto jobs = system->CreateChannel("jobs");                     // idempotent
//     if (!jobs.ok()) return jobs.status();
//     if (auto sent = jobs->Send(1, 42, Deadline::Now()); !sent.ok()) return sent;
//     auto message = jobs->Receive(Deadline::In(std::chrono::seconds(1)));
//     if (!message.ok()) return message.status();
//     return *message->As<int>() == 42 ? message->Ack() : absl::DataLossError("not 42");
//   }
//
// Guarantees: docs/crash_safety.md. In short, whatever dies: a message whose send returned OK is
// delivered, or still in its channel, or its receiver died holding it (then it is offered again on
// acknowledged channels); no byte leaks; nobody waits for the dead longer than their teardown plus
// one slice (20 ms).
//
// Recovery needs no daemon: whoever opens, stalls or waits repairs the dead.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/comm/channel.h"
#include "thole/comm/channel_options.h"
#include "thole/comm/inspect.h"
#include "thole/comm/message_handle.h"
#include "thole/comm/zero_copy_writer.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/segment.h"

namespace thole::comm {

class SystemState;

struct OpenSystemOptions {
  /// Sizes of the segment when this call creates it.
  shm::SegmentOptions segment = {};
  /// False: NotFound when there is no segment, instead of creating one.
  bool create = true;
  /// Shown by `thole list`; at most 39 bytes are kept.
  std::string participant_name = "";
};

/// Movable; thread-safe. A moved-from system answers FailedPrecondition, or nothing. The seat stays
/// until the system and all that came from it (channels, messages, writers) are dropped; the
/// segment and everything in it stay as they are.
class UnifiedCommunicationSystem {
 public:
  /// Opens (and by default creates) the segment `name` in /dev/shm, repairs whoever died in it and
  /// takes a seat. Errors as Segment::Create, Segment::Open and Attachment::Join.
  static absl::StatusOr<UnifiedCommunicationSystem> Open(std::string_view name,
                                                         const OpenSystemOptions& options = {});
  /// The same at another place: a file, a memfd.
  static absl::StatusOr<UnifiedCommunicationSystem> OpenAt(const shm::Place& place,
                                                           const OpenSystemOptions& options = {});
  /// What a new segment for this system holds, in order.
  static std::vector<shm::RootRequest> Roots(const shm::SegmentOptions& segment);
  /// On an attachment that has not joined yet; for tests and special platforms. `PrepareOn` leaves
  /// joining to the caller; until then calls answer FailedPrecondition.
  static absl::StatusOr<UnifiedCommunicationSystem> PrepareOn(
      std::shared_ptr<shm::Attachment> attachment);
  static absl::StatusOr<UnifiedCommunicationSystem> OpenOn(
      std::shared_ptr<shm::Attachment> attachment, std::string_view participant_name);

  /// Creates the channel, or connects if it is there; its capacity is that of its creator.
  /// InvalidArgument (the name; the capacity; it is there with other options: acknowledged, type
  /// id), ResourceExhausted, DeadlineExceeded.
  absl::StatusOr<Channel> CreateChannel(std::string_view name, const ChannelOptions& options = {},
                                        shm::Deadline deadline = SomeSeconds());
  /// Connects to a channel that any process created. NotFound.
  absl::StatusOr<Channel> ConnectChannel(std::string_view name,
                                         shm::Deadline deadline = SomeSeconds());
  std::vector<ChannelInfo> ListChannels();

  // By name; the channel must have been created, by any process. The first use of a channel
  // connects to it, which may wait some milliseconds for a lock even if `deadline` is now.
  template <class T>
  absl::Status Send(std::string_view channel, uint32_t type, const T& value,
                    shm::Deadline deadline) {
    auto found = Use(channel, deadline);
    return found.ok() ? found->Send(type, value, deadline) : found.status();
  }
  absl::Status SendBytes(std::string_view channel, uint32_t type, std::span<const std::byte> bytes,
                         shm::Deadline deadline);
  absl::StatusOr<MessageHandle> Receive(std::string_view channel, shm::Deadline deadline);
  absl::StatusOr<MessageHandle> TryReceive(std::string_view channel);
  absl::StatusOr<ZeroCopyWriter> SendZeroCopy(std::string_view channel, uint32_t type,
                                              uint64_t size_bytes, shm::Deadline deadline);

  /// Named buffers of this segment.
  registry::SharedBufferRegistry& buffers();
  alloc::HeapStatistics HeapUse() const;
  std::vector<ParticipantInfo> Participants() const;
  /// Repairs every dead participant now; returns how many. Also gives back what destructors of this
  /// process had to leave because somebody else held a lock. Nobody needs to call it: every call
  /// that waits or stalls does it, unless a process makes no calls any more.
  uint32_t Recover();
  /// Gives everything back and frees the seat; handles that are still out answer
  /// FailedPrecondition from then on, and messages that they hold are offered again.
  /// DeadlineExceeded while another thread is in a call or a live participant holds a lock: then
  /// only `Leave` can be called again, or the system dropped.
  absl::Status Leave(shm::Deadline deadline);

  /// Not of a moved-from system, nor `buffers`.
  const std::shared_ptr<shm::Attachment>& attachment() const;

 private:
  static shm::Deadline SomeSeconds() { return shm::Deadline::In(std::chrono::seconds(5)); }
  absl::Status Ready() const;
  absl::StatusOr<Channel> Use(std::string_view channel, shm::Deadline deadline);
  explicit UnifiedCommunicationSystem(std::shared_ptr<SystemState> state)
      : state_(std::move(state)) {}
  std::shared_ptr<SystemState> state_;
};

}  // namespace thole::comm

namespace thole {
using comm::Channel;
using comm::ChannelOptions;
using comm::MessageHandle;
using comm::UnifiedCommunicationSystem;
using comm::ZeroCopyWriter;
using shm::Deadline;
}  // namespace thole
