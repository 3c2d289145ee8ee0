#include "report.h"

#include <cstdio>

#include <nlohmann/json.hpp>

namespace thole::soak {
namespace {

nlohmann::json ToJson(const Vitals& vitals) {
  return {{"private_kib", vitals.private_kib}, {"descriptors", vitals.descriptors}};
}

}  // namespace

std::string SoakReport::ToJson() const {
  nlohmann::ordered_json json = {
      {"kills", kills},
      {"stops", stops},
      {"lost", lost},
      {"duplicated", duplicated},
      {"leaked_bytes", leaked_bytes},
      {"hung", hung},
      {"false_deaths", false_deaths},
      {"audit_findings", audit_findings},
      {"seconds", seconds},
      {"kills_inside_calls", kills_inside_calls},
      {"killed_while_stopped", killed_while_stopped},
      {"faults", faults},
      {"exits", exits},
      {"in_namespaces", in_namespaces},
      {"sent", sent},
      {"received", received},
      {"acknowledged", acked},
      {"redelivered", redelivered},
      {"taken_along", taken_along},
      {"damaged", damaged},
      {"audits", audits},
      {"unexpected_ends", unexpected_ends},
      {"not_flat", not_flat},
      {"longest_over_ms", longest_over_ms},
      {"used_bytes_before", used_bytes_before},
      {"used_bytes_after", used_bytes_after},
      {"shm_files_before", files_before},
      {"shm_files_after", files_after},
      {"findings", findings},
  };
  const char* names[] = {"supervisor", "producer", "consumer"};
  for (int i = 0; i < 3; ++i) {
    json["vitals"][names[i]] = {{"first", soak::ToJson(first[i])}, {"last", soak::ToJson(last[i])}};
  }
  return json.dump(1) + "\n";
}

std::string SoakReport::ToTable() const {
  char text[2000];
  const auto n = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::snprintf(
      text, sizeof(text),
      "%.1f s, %llu kills (%.1f a second; %llu inside a call, %llu faults, %llu exits, %llu in\n"
      "namespaces of their own, %llu while stopped), %llu stops, %llu audits\n"
      "%llu messages sent, %llu deliveries, %llu acknowledged, %llu came back, %llu plain ones "
      "died "
      "with\ntheir receiver; a call was late by %.1f ms at most\n"
      "private KiB (descriptors) at first and at last: supervisor %llu (%llu) %llu (%llu), "
      "producer "
      "%llu (%llu)\n%llu (%llu), consumer %llu (%llu) %llu (%llu); heap in use %llu and %llu "
      "bytes, "
      "%llu and %llu files\n"
      "lost %llu, duplicated %llu, damaged %llu, leaked bytes %llu, hung %llu, false deaths %llu,\n"
      "audit findings %llu, ended by themselves %llu, not flat %llu\n",
      seconds, n(kills), seconds > 0 ? static_cast<double>(kills) / seconds : 0.0,
      n(kills_inside_calls), n(faults), n(exits), n(in_namespaces), n(killed_while_stopped),
      n(stops), n(audits), n(sent), n(received), n(acked), n(redelivered), n(taken_along),
      longest_over_ms, n(first[0].private_kib), n(first[0].descriptors), n(last[0].private_kib),
      n(last[0].descriptors), n(first[1].private_kib), n(first[1].descriptors),
      n(last[1].private_kib), n(last[1].descriptors), n(first[2].private_kib),
      n(first[2].descriptors), n(last[2].private_kib), n(last[2].descriptors), n(used_bytes_before),
      n(used_bytes_after), n(files_before), n(files_after), n(lost), n(duplicated), n(damaged),
      n(leaked_bytes), n(hung), n(false_deaths), n(audit_findings), n(unexpected_ends),
      n(not_flat));
  std::string all = text;
  for (const std::string& finding : findings) all += "  " + finding + "\n";
  return all;
}

}  // namespace thole::soak
