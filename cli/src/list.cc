// thole list: what is in /dev/shm, and what is in one segment.
#include <iostream>

#include "CLI/CLI.hpp"
#include "command.h"
#include "inspect.h"
#include "nlohmann/json.hpp"
#include "table.h"

namespace thole::cli {
namespace {

struct ListOptions {
  std::string name;
  bool json = false;
};

// One word for why a file that is named like a segment is none that we can read.
std::string StateWord(const absl::Status& status) {
  if (status.ok()) return "ok";
  switch (GetErrorKind(status)) {
    case ErrorKind::kNotOurs:
      return "foreign";
    case ErrorKind::kOtherVersion:
      return "other version";
    case ErrorKind::kDamaged:
      return "damaged";
    default:
      return absl::IsPermissionDenied(status) ? "no permission" : "unreadable";
  }
}

nlohmann::json SummaryJson(const std::string& name, const SegmentReport& report) {
  return {{"name", name},
          {"state", report.problems.empty() ? "ok" : "damaged"},
          {"size_bytes", report.size_bytes},
          {"used_bytes", report.used_bytes},
          {"alive", report.participants.size() - report.CountParticipants("dead")},
          {"dead", report.CountParticipants("dead")},
          {"channels", report.channels.size()},
          {"buffers", report.buffers.size()},
          {"waiting", report.waiting_messages()}};
}

Row SummaryRow(const nlohmann::json& json) {
  const auto number = [&](const char* key) { return Grouped(json.at(key).get<uint64_t>()); };
  return {Printable(json.at("name").get<std::string>()),
          Size(json.at("size_bytes")),
          Size(json.at("used_bytes")),
          number("alive"),
          number("dead"),
          number("channels"),
          number("waiting"),
          json.at("state")};
}

ExitCode ListAll(bool as_json) {
  nlohmann::json all = nlohmann::json::array();
  std::vector<Row> rows = {
      {"NAME", "SIZE", "USED", "ALIVE", "DEAD", "CHANNELS", "WAITING", "STATE"}};
  for (const std::string& name : shm::Segment::List()) {
    auto segment =
        shm::Segment::Open(shm::Place::Named(name), {.read_only = true, .survive_cuts = true});
    if (segment.ok()) {
      all.push_back(SummaryJson(name, Inspect(*segment)));
      rows.push_back(SummaryRow(all.back()));
    } else if (!absl::IsNotFound(segment.status())) {  // gone since: not to be listed
      const std::string state = StateWord(segment.status());
      const std::string message(segment.status().message());
      all.push_back({{"name", name}, {"state", state}, {"error", message}});
      rows.push_back({Printable(name), "-", "-", "-", "-", "-", "-", state});
    }
  }
  if (as_json) {
    std::cout << Dump(all) << "\n";
  } else if (rows.size() == 1) {
    std::cerr << "no segments\n";
  } else {
    std::cout << FormatTable(rows, {1, 2, 3, 4, 5, 6});
  }
  return ExitCode::kOk;
}

nlohmann::json ReportJson(const std::string& name, const SegmentReport& report) {
  nlohmann::json json = SummaryJson(name, report);
  json["heap_bytes"] = report.heap_bytes;
  json["problems"] = report.problems;
  for (const char* key : {"channels", "buffers", "participants"}) {
    json[key] = nlohmann::json::array();
  }
  for (const auto& channel : report.channels) json["channels"].push_back(ToJson(channel));
  for (const auto& buffer : report.buffers) json["buffers"].push_back(ToJson(buffer));
  for (const auto& participant : report.participants) {
    json["participants"].push_back(ToJson(participant));
  }
  return json;
}

void PrintReport(const std::string& name, const SegmentReport& report) {
  std::cout << "segment " << Printable(name) << ": " << Size(report.size_bytes) << ", "
            << Size(report.used_bytes) << " of " << Size(report.heap_bytes) << " in use\n";
  std::vector<Row> rows = {
      {"CHANNEL", "WAITING", "CAPACITY", "SENT", "REDELIVERED", "USERS", "KIND"}};
  for (const auto& channel : report.channels) {
    rows.push_back({Printable(channel.name), Grouped(channel.waiting), Grouped(channel.capacity),
                    Grouped(channel.sent), Grouped(channel.redelivered),
                    Grouped(channel.participants),
                    std::string(channel.acknowledged ? "acknowledged" : "plain") +
                        (channel.closed ? ", closed" : "")});
  }
  if (rows.size() > 1) std::cout << "\n" << FormatTable(rows, {1, 2, 3, 4, 5});
  rows = {{"BUFFER", "SIZE", "USERS", "STATE"}};
  for (const auto& buffer : report.buffers) {
    rows.push_back({Printable(buffer.name), Size(buffer.size_bytes), Grouped(buffer.holders),
                    buffer.state == registry::EntryState::kLive ? "live" : "removed"});
  }
  if (rows.size() > 1) std::cout << "\n" << FormatTable(rows, {1, 2});
  rows = {{"PARTICIPANT", "PID", "SLOT", "STATE"}};
  for (const auto& participant : report.participants) {
    const comm::ParticipantInfo& info = participant.info;
    rows.push_back({Printable(info.name), std::to_string(info.pid), std::to_string(info.slot),
                    participant.state + (info.in_call ? ", in a call" : "")});
  }
  if (rows.size() > 1) std::cout << "\n" << FormatTable(rows, {1, 2});
}

ExitCode List(const ListOptions& options) {
  if (options.name.empty()) return ListAll(options.json);
  auto segment = shm::Segment::Open(shm::Place::Named(options.name),
                                    {.read_only = true, .survive_cuts = true});
  if (!segment.ok()) return Fail(segment.status());
  const SegmentReport report = Inspect(*segment);
  if (options.json) {
    std::cout << Dump(ReportJson(options.name, report)) << "\n";
  } else {
    PrintReport(options.name, report);
  }
  for (const std::string& problem : report.problems) {
    std::cerr << "thole: " << Printable(problem) << "\n";
  }
  return report.problems.empty() ? ExitCode::kOk : ExitCode::kNo;
}

}  // namespace

void AddListCommand(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* list = app.add_subcommand("list", "Lists the segments in /dev/shm, or what is in one");
  list->add_option("name", options->name, "The segment to look into; without it all are listed")
      ->check([](const std::string& name) { return name.empty() ? "is empty" : ""; }, "");
  list->add_flag("--json", options->json, "Print one JSON array, or one object for a segment");
  list->callback([options, &chosen] { chosen = [options] { return List(*options); }; });
}

}  // namespace thole::cli
