#include "process_maker.h"

#include <utility>

namespace thole::shm::testing {

FakePlatform& PlatformOf(Process& process) {
  return static_cast<FakePlatform&>(process.attachment().platform());
}

std::unique_ptr<Process> MakeProcess(World& world, const std::shared_ptr<FakeKernel>& kernel,
                                     SegmentView mapping, std::string* error) {
  auto segment = Segment::Open(Place::Memory(mapping.base(), mapping.size_bytes()), {});
  if (!segment.ok()) {
    *error = "the image cannot be opened: " + std::string(segment.status().message());
    return nullptr;
  }
  auto attachment =
      Attachment::Make(*std::move(segment), std::make_unique<FakePlatform>(kernel, mapping));
  if (!attachment.ok()) {
    *error = "no attachment: " + std::string(attachment.status().message());
    return nullptr;
  }
  return world.MakeProcess(*std::move(attachment));
}

std::string JoinProcess(World& world, Process& process, std::string_view name) {
  const absl::Status joined = process.attachment().Join(name);
  if (!joined.ok()) return std::string(name) + " cannot join: " + std::string(joined.message());
  world.Joined(process);
  return "";
}

std::string FormatImage(World& world, SegmentView mapping) {
  SegmentOptions options = world.options();
  options.size_bytes = world.segment_bytes();
  const std::vector<RootRequest> roots = world.Roots();
  auto made = Segment::Create(Place::Memory(mapping.base(), mapping.size_bytes()), options, roots);
  return made.ok() ? "" : "the image cannot be made: " + std::string(made.status().message());
}

void FindUnrepairedSlots(const Segment& segment, const FakeKernel& kernel, Findings& findings) {
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    SlotData* slot = segment.Slot(i);
    if (slot == nullptr || kernel.SlotIsAlive(i)) continue;
    const SlotWord word = SlotWord::Unpack(slot->word.load(std::memory_order_acquire));  // P-c
    if (word.state == SlotState::kFree) continue;
    findings.Add("repair", segment.view().OffsetOf(slot),
                 "slot " + std::to_string(i) + " of a dead participant is not free (state " +
                     std::to_string(static_cast<uint64_t>(word.state)) + ", pending " +
                     std::to_string(word.pending) + ")");
  }
}

Deadline In(Process& process, std::chrono::nanoseconds span) {
  return Deadline::At(process.attachment().platform().NowNs() + span.count());
}

void Kill(Process& process) { PlatformOf(process).Die(); }

std::unique_ptr<Process> MakeSuccessor(World& world, Process& like) {
  FakePlatform& platform = PlatformOf(like);
  std::string error;
  return MakeProcess(world, platform.kernel(), platform.mapping(), &error);
}

}  // namespace thole::shm::testing
