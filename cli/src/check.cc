// thole check: whether a segment is as it must be, and the repair of what dead processes left.
#include <chrono>
#include <iostream>

#include "CLI/CLI.hpp"
#include "command.h"
#include "inspect.h"
#include "nlohmann/json.hpp"
#include "table.h"
#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::cli {
namespace {

struct CheckOptions {
  std::string name;
  std::string file;
  bool repair = false;
  bool json = false;
};

struct CheckResult {
  comm::SystemAudit audit;
  uint64_t live = 0;
  uint64_t dead = 0;
  uint32_t repaired = 0;
};

// A step that a live participant is in the middle of looks like damage, but not for long.
constexpr int kLooksAtLive = 5;

absl::StatusOr<CheckResult> Look(const shm::Place& place) {
  auto segment = shm::Segment::Open(place, {.read_only = true, .survive_cuts = true});
  if (!segment.ok()) return segment.status();
  CheckResult result;
  for (const ParticipantReport& participant : InspectParticipants(*segment)) {
    ++(participant.state == "dead" ? result.dead : result.live);
  }
  result.audit = comm::AuditSystem(*segment);
  for (int look = 1; look < kLooksAtLive && result.live > 0; ++look) {
    if (result.audit.findings.empty() && result.audit.orphan_bytes == 0) break;
    result.audit = comm::AuditSystem(*segment);
  }
  if (segment->was_cut()) return CutMeanwhile(place);
  return result;
}

absl::StatusOr<uint32_t> Repair(const shm::Place& place) {
  auto before = shm::Segment::Open(place, {.read_only = true, .survive_cuts = true});
  if (!before.ok()) return before.status();
  uint64_t dead = 0;
  for (const auto& participant : InspectParticipants(*before)) dead += participant.state == "dead";
  auto system = comm::UnifiedCommunicationSystem::OpenAt(
      place, {.create = false, .participant_name = "check"});
  if (!system.ok()) return system.status();
  system->Recover();
  if (auto left = system->Leave(shm::Deadline::In(std::chrono::seconds(5))); !left.ok()) {
    return left;
  }
  uint64_t still_dead = 0;
  for (const auto& participant : InspectParticipants(*before)) {
    still_dead += participant.state == "dead";
  }
  return static_cast<uint32_t>(dead > still_dead ? dead - still_dead : 0);
}

nlohmann::json ToJson(const shm::Place& place, const CheckResult& result) {
  nlohmann::json findings = nlohmann::json::array();
  for (const shm::Finding& finding : result.audit.findings.kept()) {
    findings.push_back(
        {{"invariant", finding.invariant}, {"offset", finding.offset}, {"text", finding.text}});
  }
  return {{"name", place.text()},
          {"findings", findings},
          {"finding_count", result.audit.findings.count()},
          {"used_bytes", result.audit.used_bytes},
          {"held_bytes", result.audit.held_bytes},
          {"orphan_bytes", result.audit.orphan_bytes},
          {"live_participants", result.live},
          {"dead_participants", result.dead},
          {"repaired", result.repaired}};
}

void Print(const shm::Place& place, const CheckResult& result) {
  constexpr size_t kShown = 20;
  std::cout << Printable(place.Describe()) << "\n"
            << FormatTable({{"  findings", Grouped(result.audit.findings.count())},
                            {"  bytes in use", Grouped(result.audit.used_bytes)},
                            {"  bytes with a holder", Grouped(result.audit.held_bytes)},
                            {"  bytes leaked", Grouped(result.audit.orphan_bytes)},
                            {"  participants alive", Grouped(result.live)},
                            {"  participants dead", Grouped(result.dead)},
                            {"  participants repaired", Grouped(result.repaired)}},
                           {1});
  const auto& kept = result.audit.findings.kept();
  for (size_t i = 0; i < kept.size() && i < kShown; ++i) {
    std::cout << "  " << kept[i].invariant << " at " << kept[i].offset << ": "
              << Printable(kept[i].text) << "\n";
  }
  if (result.audit.findings.count() > kShown) std::cout << "  ... (all of them: --json)\n";
}

void Advise(const CheckResult& result, bool repaired) {
  if (result.dead > 0 && !repaired) {
    std::cerr << "thole: " << result.dead
              << " dead participants wait for repair, which may explain findings; whoever opens "
                 "the segment repairs them, as does `--repair`\n";
  }
  if (result.live > 0 && !result.audit.findings.empty()) {
    std::cerr << "thole: " << result.live
              << " participants are at work; findings may be steps they are in the middle of\n";
  }
}

ExitCode Check(const CheckOptions& options) {
  if (options.name.empty() == options.file.empty()) {
    return FailUsage(options.name.empty()
                         ? "nothing to check: give the name of a segment, or --file PATH; "
                           "`thole list` shows the names"
                         : "both a name and --file were given: give one of them");
  }
  const shm::Place place =
      options.name.empty() ? shm::Place::File(options.file) : shm::Place::Named(options.name);
  uint32_t repaired = 0;
  if (options.repair) {
    auto done = Repair(place);
    if (!done.ok()) return Fail(done.status());
    repaired = *done;
  }
  auto result = Look(place);
  if (!result.ok()) return Fail(result.status());
  result->repaired = repaired;
  if (options.json) {
    std::cout << Dump(ToJson(place, *result)) << "\n";
  } else {
    Print(place, *result);
  }
  Advise(*result, options.repair);
  const bool clean = result->audit.findings.empty() && result->audit.orphan_bytes == 0;
  return clean ? ExitCode::kOk : ExitCode::kNo;
}

}  // namespace

void AddCheckCommand(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* check = app.add_subcommand(
      "check", "Audits a live, dead or copied segment: exit 0 if it is as it must be, else 1");
  check->add_option("name", options->name, "The segment, as `thole list` shows it");
  check->add_option("--file", options->file, "A segment in a file, or a copy of one");
  check->add_flag("--repair", options->repair, "Take part and repair what the dead left, first");
  check->add_flag("--json", options->json, "Print one JSON object");
  check->callback([options, &chosen] { chosen = [options] { return Check(*options); }; });
}

}  // namespace thole::cli
