#include "thole/comm/inspect.h"

#include <cstring>

#include "thole/queue/queue_ring.h"
#include "thole/registry/registry_reader.h"
#include "thole/shm/participant_data.h"

namespace thole::comm {
namespace {

std::string NameOf(const shm::SlotData& slot) {
  char text[shm::kSlotNameBytes + 1] = {};
  for (uint32_t i = 0; i < shm::kSlotNameBytes / 8; ++i) {
    const uint64_t word = slot.name[i].load(std::memory_order_acquire);  // any bytes are a text
    std::memcpy(text + i * 8, &word, 8);
  }
  std::string name(text);
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return name;
}

}  // namespace

std::vector<ChannelInfo> ListChannels(const shm::Segment& segment) {
  std::vector<ChannelInfo> channels;
  const auto names = registry::RegistryReader::Make(segment);
  if (!names.ok()) return channels;
  for (const registry::BufferInfo& entry : names->List()) {
    if (entry.kind != shm::kQueuePlace) continue;
    const auto ring =
        queue::QueueRing::Open(segment.view(), entry.place.offset, entry.place.size_bytes);
    if (!ring.ok() || !ring->descriptors()) continue;
    ChannelInfo info;
    info.name = entry.name;
    info.capacity = ring->capacity();
    info.acknowledged = ring->leased();
    info.closed = ring->IsClosed();
    info.waiting = ring->SizeApprox();
    info.sent = ring->data().tail.load(std::memory_order_relaxed);  // a statistic
    info.redelivered = ring->data().counters.redelivered.load(std::memory_order_relaxed);  // too
    info.participants = entry.holders;
    channels.push_back(std::move(info));
  }
  return channels;
}

std::vector<ParticipantInfo> ListParticipants(const shm::Segment& segment) {
  std::vector<ParticipantInfo> participants;
  for (uint32_t index = 0; index < segment.participants_max(); ++index) {
    const shm::SlotData& slot = *segment.Slot(index);
    const auto word = shm::SlotWord::Unpack(slot.word.load(std::memory_order_acquire));  // P-a
    if (word.state == shm::SlotState::kFree) continue;
    ParticipantInfo info;
    info.slot = index;
    info.generation = word.generation;
    info.pid = slot.pid.load(std::memory_order_acquire);                  // P-a
    info.attached_ns = slot.attached_ns.load(std::memory_order_relaxed);  // before pid: P-a
    info.name = NameOf(slot);
    info.under_repair = word.state == shm::SlotState::kRepair;
    for (uint32_t lane = 0; lane < segment.lanes_per_participant(); ++lane) {
      const auto& data = *segment.LaneAt(index, lane);
      if (data.in_call.load(std::memory_order_relaxed) != 0)
        info.in_call = true;  // a moment's view
    }
    participants.push_back(std::move(info));
  }
  return participants;
}

absl::StatusOr<alloc::HeapStatistics> HeapUseOf(const shm::Segment& segment) {
  return alloc::PersistentTlsfAllocator::ReadStatistics(segment);
}

}  // namespace thole::comm
