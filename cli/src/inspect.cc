#include "inspect.h"

#include <memory>

#include "nlohmann/json.hpp"
#include "thole/shm/platform.h"

namespace thole::cli {
namespace {

// Dead: the life byte is unlocked; or it is locked, but by a child that inherited the lock.
std::string StateOf(const shm::Segment& segment, const comm::ParticipantInfo& info,
                    shm::Platform* platform) {
  if (info.under_repair) return "dead";
  const shm::SlotData* slot = segment.Slot(info.slot);
  if (platform == nullptr || slot == nullptr) return "unknown";
  const uint32_t pid = slot->pid.load(std::memory_order_acquire);               // P-a
  const uint64_t started = slot->start_time.load(std::memory_order_relaxed);    // fits the pid: P-a
  const uint64_t space = slot->pid_namespace.load(std::memory_order_relaxed);   // likewise
  const uint64_t clock = slot->time_namespace.load(std::memory_order_relaxed);  // likewise
  if (!platform->IsHeld(shm::LockByte::kLife, info.slot)) return "dead";
  const shm::ProcessIdentity self = platform->Self();
  if (pid == 0 || space != self.pid_namespace || clock != self.time_namespace) return "live";
  const auto now = platform->StartTimeOf(pid);
  return now && *now != started ? "dead" : "live";
}

bool IsStillThere(const shm::Segment& segment, const comm::ParticipantInfo& info) {
  const shm::SlotData* slot = segment.Slot(info.slot);
  if (slot == nullptr) return false;
  const auto word = shm::SlotWord::Unpack(slot->word.load(std::memory_order_acquire));  // P-a
  return word.state != shm::SlotState::kFree && word.generation == info.generation;
}

// A segment need not have names or a heap: then there is nothing to report, and nothing wrong.
void AddProblem(const absl::Status& status, SegmentReport& report) {
  if (!absl::IsNotFound(status)) report.problems.emplace_back(status.message());
}

}  // namespace

absl::Status CutMeanwhile(const shm::Place& place) {
  return shm::Error(absl::StatusCode::kDataLoss,
                    place.Describe() +
                        " was cut by somebody while it was looked at: what is gone "
                        "cannot be repaired, remove the file",
                    ErrorKind::kDamaged);
}

uint64_t SegmentReport::CountParticipants(std::string_view state) const {
  uint64_t count = 0;
  for (const ParticipantReport& participant : participants) count += participant.state == state;
  return count;
}

uint64_t SegmentReport::waiting_messages() const {
  uint64_t count = 0;
  for (const comm::ChannelInfo& channel : channels) count += channel.waiting;
  return count;
}

std::vector<ParticipantReport> InspectParticipants(const shm::Segment& segment) {
  std::vector<ParticipantReport> result;
  // Looks at locks only. Where the file may not be opened for writing, nobody's state is known.
  const std::unique_ptr<shm::Platform> platform =
      segment.file() >= 0 ? shm::MakeKernelPlatform(segment.file()) : nullptr;
  for (comm::ParticipantInfo& info : comm::ListParticipants(segment)) {
    const std::string state = StateOf(segment, info, platform.get());
    // Who left or was repaired meanwhile is not to be called dead.
    if (IsStillThere(segment, info)) result.push_back({std::move(info), state});
  }
  return result;
}

SegmentReport Inspect(const shm::Segment& segment) {
  SegmentReport report;
  report.size_bytes = segment.view().size_bytes();
  report.participants = InspectParticipants(segment);
  report.channels = comm::ListChannels(segment);
  if (const auto names = registry::RegistryReader::Make(segment); names.ok()) {
    for (registry::BufferInfo& entry : names->List()) {
      if (entry.kind != shm::kQueuePlace) report.buffers.push_back(std::move(entry));
    }
  } else {
    AddProblem(names.status(), report);
  }
  if (const auto heap = comm::HeapUseOf(segment); heap.ok()) {
    report.heap_bytes = heap->heap_bytes;
    report.used_bytes = heap->used_bytes;
  } else {
    AddProblem(heap.status(), report);
  }
  if (segment.was_cut()) report.problems.emplace_back(CutMeanwhile(segment.place()).message());
  return report;
}

nlohmann::json ToJson(const ParticipantReport& participant) {
  const comm::ParticipantInfo& info = participant.info;
  return {{"slot", info.slot},      {"generation", info.generation},   {"pid", info.pid},
          {"name", info.name},      {"attached_ns", info.attached_ns}, {"state", participant.state},
          {"in_call", info.in_call}};
}

nlohmann::json ToJson(const comm::ChannelInfo& channel) {
  return {{"name", channel.name},
          {"capacity", channel.capacity},
          {"acknowledged", channel.acknowledged},
          {"closed", channel.closed},
          {"waiting", channel.waiting},
          {"sent", channel.sent},
          {"redelivered", channel.redelivered},
          {"participants", channel.participants}};
}

nlohmann::json ToJson(const registry::BufferInfo& buffer) {
  return {
      {"name", buffer.name},           {"size_bytes", buffer.size_bytes},
      {"type_id", buffer.type_id},     {"holders", buffer.holders},
      {"ephemeral", buffer.ephemeral}, {"removed", buffer.state != registry::EntryState::kLive}};
}

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace thole::cli
