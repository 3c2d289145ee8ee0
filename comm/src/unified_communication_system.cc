#include "thole/comm/unified_communication_system.h"

#include "channel_state.h"
#include "system_state.h"
#include "thole/comm/inspect.h"

namespace thole::comm {
namespace {

// Kind of a root of `queue` that is no queue itself.
constexpr uint16_t kChannelsRoot = 100;
// How long a call by name waits for the registry's lock when it may not wait at all.
constexpr int64_t kConnectPatienceNs = 2'000'000;

}  // namespace

std::vector<shm::RootRequest> UnifiedCommunicationSystem::Roots(
    const shm::SegmentOptions& segment) {
  std::vector<shm::RootRequest> roots = alloc::PersistentTlsfAllocator::Roots();
  const uint32_t participants = shm::WithDefaults(segment, segment.size_bytes).participants_max;
  roots.insert(roots.begin() + 1,
               registry::SharedBufferRegistry::Root(
                   registry::RegistryOptions::For(segment.size_bytes), participants));
  // Channels are made later, in the heap. The root is what makes the queue's repair step wanted.
  roots.insert(roots.begin() + 2, {.component = shm::ComponentId::kQueue,
                                   .kind = kChannelsRoot,
                                   .size_bytes = shm::kCacheLine,
                                   .align = shm::kCacheLine,
                                   .name = "channels",
                                   .lane_area_bytes = 0,
                                   .format = nullptr});
  return roots;
}

absl::StatusOr<UnifiedCommunicationSystem> UnifiedCommunicationSystem::Open(
    std::string_view name, const OpenSystemOptions& options) {
  return OpenAt(shm::Place::Named(name), options);
}

absl::StatusOr<UnifiedCommunicationSystem> UnifiedCommunicationSystem::OpenAt(
    const shm::Place& place, const OpenSystemOptions& options) {
  auto segment = options.create
                     ? shm::Segment::OpenOrCreate(place, options.segment, Roots(options.segment))
                     : shm::Segment::Open(place, {});
  if (!segment.ok()) return segment.status();
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) return attachment.status();
  return OpenOn(*std::move(attachment), options.participant_name);
}

absl::StatusOr<UnifiedCommunicationSystem> UnifiedCommunicationSystem::PrepareOn(
    std::shared_ptr<shm::Attachment> attachment) {
  auto state = SystemState::Make(std::move(attachment));
  if (!state.ok()) return state.status();
  return UnifiedCommunicationSystem(*std::move(state));
}

absl::StatusOr<UnifiedCommunicationSystem> UnifiedCommunicationSystem::OpenOn(
    std::shared_ptr<shm::Attachment> attachment, std::string_view participant_name) {
  auto system = PrepareOn(std::move(attachment));
  if (!system.ok()) return system;
  if (auto joined = system->attachment()->Join(participant_name); !joined.ok()) return joined;
  return system;
}

absl::Status UnifiedCommunicationSystem::Ready() const {
  if (state_ != nullptr) return state_->Ready();
  return shm::Error(absl::StatusCode::kFailedPrecondition,
                    "this system was moved from: use the one it was moved to");
}

absl::StatusOr<Channel> UnifiedCommunicationSystem::CreateChannel(std::string_view name,
                                                                  const ChannelOptions& options,
                                                                  shm::Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  auto channel = state_->CreateChannel(name, options, deadline);
  if (!channel.ok()) return channel.status();
  return Channel(*std::move(channel));
}

absl::StatusOr<Channel> UnifiedCommunicationSystem::ConnectChannel(std::string_view name,
                                                                   shm::Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  auto channel = state_->ConnectChannel(name, deadline);
  if (!channel.ok()) return channel.status();
  return Channel(*std::move(channel));
}

absl::StatusOr<Channel> UnifiedCommunicationSystem::Use(std::string_view channel,
                                                        shm::Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  const int64_t patient = state_->attachment().platform().NowNs() + kConnectPatienceNs;
  return ConnectChannel(channel,
                        deadline.PassedAt(patient) ? shm::Deadline::At(patient) : deadline);
}

std::vector<ChannelInfo> UnifiedCommunicationSystem::ListChannels() {
  if (!Ready().ok()) return {};
  return comm::ListChannels(state_->attachment().segment());
}

absl::Status UnifiedCommunicationSystem::SendBytes(std::string_view channel, uint32_t type,
                                                   std::span<const std::byte> bytes,
                                                   shm::Deadline deadline) {
  auto found = Use(channel, deadline);
  return found.ok() ? found->SendBytes(type, bytes, deadline) : found.status();
}

absl::StatusOr<MessageHandle> UnifiedCommunicationSystem::Receive(std::string_view channel,
                                                                  shm::Deadline deadline) {
  auto found = Use(channel, deadline);
  if (!found.ok()) return found.status();
  return found->Receive(deadline);
}

absl::StatusOr<MessageHandle> UnifiedCommunicationSystem::TryReceive(std::string_view channel) {
  return Receive(channel, shm::Deadline::Now());
}

absl::StatusOr<ZeroCopyWriter> UnifiedCommunicationSystem::SendZeroCopy(std::string_view channel,
                                                                        uint32_t type,
                                                                        uint64_t size_bytes,
                                                                        shm::Deadline deadline) {
  auto found = Use(channel, deadline);
  if (!found.ok()) return found.status();
  return found->SendZeroCopy(type, size_bytes, deadline);
}

registry::SharedBufferRegistry& UnifiedCommunicationSystem::buffers() { return state_->names(); }

alloc::HeapStatistics UnifiedCommunicationSystem::HeapUse() const {
  return Ready().ok() ? state_->heap().Statistics() : alloc::HeapStatistics{};
}

std::vector<ParticipantInfo> UnifiedCommunicationSystem::Participants() const {
  if (!Ready().ok()) return {};
  return ListParticipants(state_->attachment().segment());
}

uint32_t UnifiedCommunicationSystem::Recover() { return Ready().ok() ? state_->Recover() : 0; }

absl::Status UnifiedCommunicationSystem::Leave(shm::Deadline deadline) {
  if (state_ == nullptr) return Ready();
  return state_->Leave(deadline);
}

const std::shared_ptr<shm::Attachment>& UnifiedCommunicationSystem::attachment() const {
  return state_->shared_attachment();
}

}  // namespace thole::comm
