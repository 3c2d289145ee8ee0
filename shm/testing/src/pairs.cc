// Programs made of operations: one alone beside an idle process, two at once, or rows of them.
#include <algorithm>
#include <map>
#include <string>

#include "process_maker.h"
#include "thole/shm/segment_data.h"
#include "thole/shm/testing/systematic.h"

namespace thole::shm::testing {
namespace {

constexpr std::string_view kBetweenRows = " + ";
constexpr std::string_view kBetweenOperations = " / ";

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

/// A world for each operation over one segment: what each of them remembers stays apart. They make
/// processes in the order of SimRun: the setup's, one for each row, repairers and survivors.
class RowsWorld final : public World {
 public:
  explicit RowsWorld(const Rows& rows) {
    for (const auto& row : rows) {
      auto& worlds = worlds_.emplace_back();
      for (const Operation* operation : row) worlds.push_back(operation->make_world());
    }
    of_row_.resize(rows.size());
  }
  World& of(size_t row, size_t at) { return *worlds_[row][at]; }

  uint64_t segment_bytes() const override { return first().segment_bytes(); }
  SegmentOptions options() const override { return first().options(); }
  std::vector<RootRequest> Roots() const override { return first().Roots(); }
  std::unique_ptr<Process> MakeProcess(std::shared_ptr<Attachment> attachment) override {
    const size_t row = made_++ - 1;  // the setup's is none
    const bool in_row = row < worlds_.size();
    std::unique_ptr<Process> process =
        worlds_[in_row ? row : 0][0]->MakeProcess(std::move(attachment));
    if (in_row) of_row_[row] = process.get();
    return process;
  }
  void Joined(Process& process) override {
    const auto row = std::find(of_row_.begin(), of_row_.end(), &process) - of_row_.begin();
    worlds_[static_cast<size_t>(row) < worlds_.size() ? row : 0][0]->Joined(process);
  }
  void Audit(Process& survivor, Findings& findings) override {
    worlds_[0][0]->Audit(survivor, findings);
  }

 private:
  const World& first() const { return *worlds_[0][0]; }
  std::vector<std::vector<std::unique_ptr<World>>> worlds_;
  std::vector<const Process*> of_row_;
  size_t made_ = 0;
};

Program PairOf(const Operation& first, const Operation& second) {
  Program program = RowsProgramOf({{&first}, {&second}});
  program.name = "pair " + TextOf(first) + " + " + TextOf(second);
  program.shares_only_image = true;
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

Program RowsProgramOf(const Rows& rows) {
  Program program;
  program.component = rows[0][0]->component;
  program.name = RowsName(rows);
  program.processes = static_cast<uint32_t>(rows.size());
  program.joins_itself = rows[0][0]->joins_itself;
  program.make_world = [rows] { return std::make_unique<RowsWorld>(rows); };
  program.prepare_joined = [rows](World& world, const std::vector<Process*>& processes,
                                  Random& random) {
    for (size_t row = 0; row < rows.size(); ++row) {
      Process& other = *processes[(row + 1) % rows.size()];
      for (size_t at = 0; at < rows[row].size(); ++at) {
        const Operation& operation = *rows[row][at];
        World& of = static_cast<RowsWorld&>(world).of(row, at);
        if (operation.prepare) operation.prepare(of, *processes[row], other, random);
      }
    }
  };
  program.body = [rows](World& world, Process& process, uint32_t row, Random& random) {
    const bool begins_joined = !rows[row][0]->joins_itself;
    for (size_t at = 0; at < rows[row].size(); ++at) {
      if (begins_joined && !process.attachment().joined()) return;  // one of them was to leave
      rows[row][at]->act(static_cast<RowsWorld&>(world).of(row, at), process, random);
    }
  };
  return program;
}

std::string RowsName(const Rows& rows) {
  std::string name = "rows ";
  for (const auto& row : rows) {
    if (&row != &rows[0]) name += kBetweenRows;
    for (const auto& operation : row) {
      if (&operation != &row[0]) name += kBetweenOperations;
      name += TextOf(*operation);
    }
  }
  return name;
}

std::optional<Program> RowsProgramNamed(std::string_view name,
                                        const std::vector<Operation>& operations) {
  constexpr std::string_view kBegin = "rows ";
  if (!name.starts_with(kBegin)) return std::nullopt;
  name.remove_prefix(kBegin.size());
  Rows rows(1);
  while (true) {
    const auto is_next = [&](const Operation& operation) {
      const std::string text = TextOf(operation);
      if (!name.starts_with(text)) return false;
      const std::string_view rest = name.substr(text.size());
      return rest.empty() || rest.starts_with(kBetweenRows) || rest.starts_with(kBetweenOperations);
    };
    const auto found = std::find_if(operations.begin(), operations.end(), is_next);
    if (found == operations.end()) return std::nullopt;
    rows.back().push_back(&*found);
    name.remove_prefix(TextOf(*found).size());
    if (name.empty()) return RowsProgramOf(rows);
    if (name.starts_with(kBetweenRows)) rows.emplace_back();
    name.remove_prefix(name.starts_with(kBetweenRows) ? kBetweenRows.size()
                                                      : kBetweenOperations.size());
  }
}

std::vector<std::vector<const Operation*>> OperationsByWorld(
    const std::vector<Operation>& operations) {
  std::map<std::string, std::vector<const Operation*>> groups;
  for (const Operation& operation : operations) {
    if (operation.alone) continue;
    const std::string fingerprint = FingerprintOf(*operation.make_world());
    if (fingerprint.empty()) continue;
    groups[fingerprint + (operation.joins_itself ? " joins" : "")].push_back(&operation);
  }
  std::vector<std::vector<const Operation*>> in_order;
  for (const Operation& operation : operations) {  // of the first of each group
    for (auto& [fingerprint, group] : groups) {
      if (group[0] == &operation) in_order.push_back(group);
    }
  }
  return in_order;
}

std::vector<Program> AloneProgramsOf(const std::vector<Operation>& operations) {
  std::vector<Program> programs;
  for (const Operation& operation : operations) programs.push_back(AloneOf(operation));
  return programs;
}

std::vector<Program> PairProgramsOf(const std::vector<Operation>& operations) {
  std::vector<Program> programs;
  for (const auto& group : OperationsByWorld(operations)) {
    for (size_t first = 0; first < group.size(); ++first) {
      for (size_t second = first; second < group.size(); ++second) {
        programs.push_back(PairOf(*group[first], *group[second]));
      }
    }
  }
  return programs;
}

}  // namespace thole::shm::testing
