// Programs made of operations: one alone beside an idle process, or two at once.
#include <string>

#include "process_maker.h"
#include "thole/shm/segment_data.h"
#include "thole/shm/testing/systematic.h"

namespace thole::shm::testing {
namespace {

std::string TextOf(const Operation& operation) { return operation.name + ", " + operation.shape; }

/// What a world formats, apart from the header, in which time and chance are. Worlds of the same
/// fingerprint can stand over one segment. "" when it cannot be formatted.
std::string FingerprintOf(World& world) {
  struct FreeBytes {
    void operator()(void* bytes) const { std::free(bytes); }
  };
  constexpr uint64_t kPage = 4096;
  const uint64_t bytes = RoundUp(world.segment_bytes(), kPage);
  const std::unique_ptr<void, FreeBytes> memory(std::aligned_alloc(kPage, bytes));
  auto* base = static_cast<std::byte*>(memory.get());
  std::fill_n(base, bytes, std::byte{0});
  const SegmentView image(base, world.segment_bytes());
  if (!FormatImage(world, image).empty()) return "";
  std::string text = std::to_string(world.segment_bytes());
  for (const RootRequest& root : world.Roots()) {
    text += " " + root.name + " " + std::to_string(root.size_bytes) + " " +
            std::to_string(root.lane_area_bytes);
  }
  uint64_t hash = 0;
  for (uint64_t at = sizeof(SegmentHeaderData); at < bytes; ++at) {
    hash = Random(hash ^ static_cast<uint64_t>(base[at])).Next();
  }
  return text + " " + std::to_string(hash);
}

/// Two worlds over one segment: what each operation remembers stays apart. They make processes in
/// the order of SimRun: the setup's, one for each operation, repairers and survivors.
class PairWorld final : public World {
 public:
  PairWorld(const Operation& first, const Operation& second)
      : first_(first.make_world()), second_(second.make_world()) {}
  World& first() { return *first_; }
  World& second() { return *second_; }

  uint64_t segment_bytes() const override { return first_->segment_bytes(); }
  SegmentOptions options() const override { return first_->options(); }
  std::vector<RootRequest> Roots() const override { return first_->Roots(); }
  std::unique_ptr<Process> MakeProcess(std::shared_ptr<Attachment> attachment) override {
    const bool is_second = made_++ == kOfSecond;
    std::unique_ptr<Process> process =
        (is_second ? *second_ : *first_).MakeProcess(std::move(attachment));
    if (is_second) of_second_ = process.get();
    return process;
  }
  void Joined(Process& process) override {
    (&process == of_second_ ? *second_ : *first_).Joined(process);
  }
  void Audit(Process& survivor, Findings& findings) override { first_->Audit(survivor, findings); }

 private:
  static constexpr int kOfSecond = 2;
  std::unique_ptr<World> first_;
  std::unique_ptr<World> second_;
  int made_ = 0;
  const Process* of_second_ = nullptr;
};

Program PairOf(const Operation& first, const Operation& second) {
  Program program;
  program.component = first.component;
  program.name = "pair " + TextOf(first) + " + " + TextOf(second);
  program.processes = 2;
  program.shares_only_image = true;
  program.joins_itself = first.joins_itself;
  program.make_world = [first, second] { return std::make_unique<PairWorld>(first, second); };
  program.prepare_joined = [first, second](World& world, const std::vector<Process*>& processes,
                                           Random& random) {
    auto& pair = static_cast<PairWorld&>(world);
    if (first.prepare) first.prepare(pair.first(), *processes[0], *processes[1], random);
    if (second.prepare) second.prepare(pair.second(), *processes[1], *processes[0], random);
  };
  program.body = [first, second](World& world, Process& process, uint32_t index, Random& random) {
    auto& pair = static_cast<PairWorld&>(world);
    if (index == 0) first.act(pair.first(), process, random);
    if (index == 1) second.act(pair.second(), process, random);
  };
  return program;
}

Program AloneOf(const Operation& operation) {
  Program program;
  program.component = operation.component;
  program.name = "alone " + TextOf(operation);
  program.processes = 2;
  program.shares_only_image = true;
  program.joins_itself = operation.joins_itself;
  program.make_world = operation.make_world;
  program.prepare_joined = [operation](World& world, const std::vector<Process*>& processes,
                                       Random& random) {
    if (operation.prepare) operation.prepare(world, *processes[0], *processes[1], random);
  };
  program.body = [operation](World& world, Process& process, uint32_t index, Random& random) {
    if (index == 0) operation.act(world, process, random);
  };
  program.killed_at_end = 1;
  if (operation.check) {
    program.check = [operation](World& world, Process& survivor, uint32_t, Findings& findings) {
      operation.check(world, survivor, findings);
    };
  }
  return program;
}

}  // namespace

std::vector<Program> AloneProgramsOf(const std::vector<Operation>& operations) {
  std::vector<Program> programs;
  for (const Operation& operation : operations) programs.push_back(AloneOf(operation));
  return programs;
}

std::vector<Program> PairProgramsOf(const std::vector<Operation>& operations) {
  std::vector<std::string> fingerprints;
  for (const Operation& operation : operations) {
    fingerprints.push_back(operation.alone ? "" : FingerprintOf(*operation.make_world()));
  }
  std::vector<Program> programs;
  for (size_t first = 0; first < operations.size(); ++first) {
    for (size_t second = first; second < operations.size(); ++second) {
      if (fingerprints[first].empty() || fingerprints[first] != fingerprints[second]) continue;
      if (operations[first].joins_itself != operations[second].joins_itself) continue;
      programs.push_back(PairOf(operations[first], operations[second]));
    }
  }
  return programs;
}

}  // namespace thole::shm::testing
