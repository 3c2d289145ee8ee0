#include "stage.h"

#include <utility>

namespace thole::cli::demo {
namespace {

// Room for chunks in flight. Small enough for the 64 MiB that containers often have.
constexpr uint64_t kHeapBytes = uint64_t{44} << 20;
constexpr uint64_t kWorkType = 0x7468'6f6c'6564'0001;
constexpr uint64_t kResultsType = 0x7468'6f6c'6564'0002;
constexpr ChannelOptions kWork{.capacity = 1024, .acknowledged = true, .type_id = kWorkType};
constexpr ChannelOptions kResults{.capacity = 4096, .acknowledged = true, .type_id = kResultsType};

std::string PositionName(uint32_t feeder) { return "position-" + std::to_string(feeder); }

}  // namespace

absl::StatusOr<Stage> Stage::Build(const std::string& name, const Tree& tree, uint32_t feeders) {
  comm::OpenSystemOptions options;
  options.participant_name = "supervisor";
  options.segment.size_bytes = kHeapBytes + Catalog::BytesFor(tree) * 17 / 16;
  if (options.segment.size_bytes > shm::kSegmentBytesMax) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "the list of files alone does not fit into a segment: give --input a "
                      "smaller folder");
  }
  auto system = UnifiedCommunicationSystem::Open(name, options);
  if (!system.ok()) return system.status();
  Stage stage(*std::move(system));
  absl::Status filled = stage.Fill(tree, feeders);
  if (filled.ok()) return stage;
  (void)shm::Segment::Remove(shm::Place::Named(name));
  return filled;
}

absl::Status Stage::Fill(const Tree& tree, uint32_t feeders) {
  if (auto made = system_.CreateChannel("work", kWork); !made.ok()) return made.status();
  if (auto made = system_.CreateChannel("results", kResults); !made.ok()) return made.status();
  for (uint32_t i = 0; i < feeders; ++i) {
    auto made = system_.buffers().Create(PositionName(i), sizeof(SharedWordData));
    if (!made.ok()) return made.status();
  }
  auto control = system_.buffers().Create("control", sizeof(SharedWordData));
  if (!control.ok()) return control.status();
  auto catalog = system_.buffers().Create("catalog", Catalog::BytesFor(tree));
  if (!catalog.ok()) return catalog.status();
  Catalog::Write(tree, feeders, catalog->bytes());
  return Connect();
}

absl::StatusOr<Stage> Stage::Enter(const std::string& name, const std::string& participant) {
  auto system =
      UnifiedCommunicationSystem::Open(name, {.create = false, .participant_name = participant});
  if (!system.ok()) return system.status();
  Stage stage(*std::move(system));
  if (auto connected = stage.Connect(); !connected.ok()) return connected;
  return stage;
}

absl::Status Stage::Connect() {
  auto work = system_.ConnectChannel("work");
  if (!work.ok()) return work.status();
  work_ = std::make_unique<Channel>(*std::move(work));
  auto results = system_.ConnectChannel("results");
  if (!results.ok()) return results.status();
  results_ = std::make_unique<Channel>(*std::move(results));
  auto control = system_.buffers().Acquire("control", 0, sizeof(SharedWordData));
  if (!control.ok()) return control.status();
  control_ = *std::move(control);
  if (auto read = ReadCatalog(); !read.ok()) return read;
  for (uint32_t i = 0; i < catalog_.feeders(); ++i) {
    auto position = system_.buffers().Acquire(PositionName(i), 0, sizeof(SharedWordData));
    if (!position.ok()) return position.status();
    positions_.push_back(*std::move(position));
  }
  return absl::OkStatus();
}

absl::Status Stage::ReadCatalog() {
  auto buffer = system_.buffers().Acquire("catalog");
  if (!buffer.ok()) return buffer.status();
  catalog_bytes_ = *std::move(buffer);
  auto catalog = Catalog::Read(catalog_bytes_.bytes());
  if (!catalog.ok()) return catalog.status();
  catalog_ = *catalog;
  return absl::OkStatus();
}

}  // namespace thole::cli::demo
