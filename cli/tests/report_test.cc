#include "demo/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace thole::cli::demo {
namespace {

using testing::HasSubstr;

DemoReport GoodReport() {
  DemoReport report;
  report.files = 1'234'567;
  report.bytes = uint64_t{3} << 29;
  report.seconds = 10;
  report.messages = 500'000;
  report.feeder_kills = 40;
  report.worker_kills = 60;
  report.kills_inside_calls = 33;
  return report;
}

TEST(DemoReport, JsonHasTheDocumentedKeysAndNoOthers) {
  const auto json = nlohmann::json::parse(ToJsonLine(GoodReport()));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("files", "bytes", "seconds", "messages_per_s",
                                                  "kills", "feeder_kills", "worker_kills",
                                                  "kills_inside_calls", "redelivered", "duplicates",
                                                  "lost", "leaked_bytes", "audit_findings"));
  EXPECT_EQ(json["messages_per_s"], 50'000);
  EXPECT_EQ(json["kills"], 100);
}

TEST(DemoReport, TableIsForPeople) {
  const std::string table = ToTable(GoodReport());
  EXPECT_THAT(table, HasSubstr("1,234,567"));
  EXPECT_THAT(table, HasSubstr("1.5 GiB"));
  EXPECT_THAT(table, HasSubstr("33 %"));
  EXPECT_THAT(table, HasSubstr("the promise held"));
}

TEST(DemoReport, ThePromiseBreaksWithEachPartOfIt) {
  EXPECT_TRUE(GoodReport().PromiseHeld());
  const std::vector<void (*)(DemoReport&)> breaks = {
      [](DemoReport& report) { report.lost = 1; },
      [](DemoReport& report) { report.damaged = 1; },
      [](DemoReport& report) { report.leaked_bytes = 16; },
      [](DemoReport& report) { report.leaked_bytes = -16; },
      [](DemoReport& report) { report.orphan_bytes = 16; },
      [](DemoReport& report) { report.audit_findings = 1; },
      [](DemoReport& report) { report.troubles = 1; },
  };
  for (const auto& break_it : breaks) {
    DemoReport report = GoodReport();
    break_it(report);
    EXPECT_FALSE(report.PromiseHeld());
    EXPECT_THAT(ToTable(report), HasSubstr("BROKEN"));
  }
}

TEST(DemoReport, AnEmptyOneDividesByNothing) {
  const auto json = nlohmann::json::parse(ToJsonLine(DemoReport()));
  EXPECT_EQ(json["messages_per_s"], 0);
  EXPECT_THAT(ToTable(DemoReport()), HasSubstr("0 %"));
}

}  // namespace
}  // namespace thole::cli::demo
