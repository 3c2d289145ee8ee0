// Every single bit of a segment, flipped: header, slots, lanes, heap, registry, queues, blocks. It
// is refused or found, or the segment works. Nothing crashes, hangs, or leaks unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "support/reference_image.h"
#include "thole/comm/audit.h"
#include "thole/registry/registry_table.h"
#include "thole/shm/testing/child_run.h"

namespace thole::fuzz {
namespace {

using shm::testing::ChildReport;

constexpr uint64_t kBits = kImageBytes * 8;
constexpr double kHangSeconds = 20;
// ChildReport::counters.
enum Counter { kRefused, kFound, kAnswered, kHarmless };

bool SaysDamaged(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsUnimplemented(status) ||
         absl::IsInvalidArgument(status);
}

/// A message and a buffer of a new name, as if nothing had happened. What stands in the way, or
/// empty; `*said` when the answer is that the segment is damaged.
std::string Works(comm::UnifiedCommunicationSystem& system, bool* said) {
  const auto judge = [&](const absl::Status& status, const char* call) {
    *said = *said || SaysDamaged(status);
    return status.ok() ? std::string() : std::string(call) + ": " + status.ToString() + "; ";
  };
  std::string problem;
  for (const char* name : {"jobs", "plain"}) {  // answers of any kind, but they come
    auto message = system.TryReceive(name);
    *said = *said || SaysDamaged(message.status());
    if (message.ok()) (void)message->Ack().ok();
  }
  auto channel = system.CreateChannel("fresh", {.capacity = 2}, shm::Deadline::Now());
  problem += judge(channel.status(), "create");
  if (!channel.ok()) return problem;
  problem += judge(channel->Send(1, uint64_t{0x5eed}, shm::Deadline::Now()), "send");
  auto message = channel->TryReceive();
  problem += judge(message.status(), "receive");
  if (message.ok()) {
    const auto* value = message->As<uint64_t>();
    if (value == nullptr || *value != 0x5eed) problem += "another message arrived; ";
    problem += judge(message->Ack(), "ack");
  }
  auto buffer = system.buffers().Create("fresh buffer", 8, {}, shm::Deadline::Now());
  problem += judge(buffer.status(), "buffer");
  return problem;
}

class Flipper {
 public:
  /// Repairs and uses the reference with this bit flipped, and counts what became of it.
  void Flip(uint64_t bit, ChildReport& report) {
    report.SetCurrent("bit " + std::to_string(bit % 8) + " of byte " + std::to_string(bit / 8));
    std::byte* bytes = image_.bytes().data();
    std::memcpy(bytes, reference_.data(), kImageBytes);
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    if (!shm::Segment::Open(image_.place(), {.read_only = true}).ok()) {
      ++report.counters[kRefused];
      return;
    }
    bool said = false;
    bool found = Audit().broken;
    std::string problem;
    if (auto system = image_.Open(); system.ok()) {
      system->Recover();
      found = Audit().broken || found;
      problem = Works(*system, &said);
    } else {
      problem = "open: " + system.status().ToString();
      said = SaysDamaged(system.status());
    }
    const State after = Audit();
    found = found || after.broken;
    if (found || said) {
      ++report.counters[found ? kFound : kAnswered];
    } else if (problem.empty() && after.orphan_bytes == 0) {
      ++report.counters[kHarmless];
    } else {
      report.AddFailure(report.current, problem + std::to_string(after.orphan_bytes) + " leaked");
    }
  }

 private:
  struct State {
    bool broken;
    uint64_t orphan_bytes;
  };
  State Audit() {
    auto segment = shm::Segment::Open(image_.place(), {.read_only = true});
    if (!segment.ok()) return {true, 0};
    const comm::SystemAudit audit = comm::AuditSystem(*segment);
    return {!audit.findings.empty(), audit.orphan_bytes};
  }

  Image image_;
  const std::vector<std::byte> reference_ = MakeReference();
};

void FlipEvery(uint64_t step) {
  ChildReport& report = *shm::testing::NewChildReport();
  RunInChild(report, kHangSeconds, [&](ChildReport& in_child) {
    Flipper flipper;
    for (uint64_t bit = 0; bit < kBits; bit += step) flipper.Flip(bit, in_child);
  });
  for (const shm::testing::Failure& failure : report.Failures()) {
    ADD_FAILURE() << failure.where << ": " << failure.text;
  }
  EXPECT_EQ(report.failures, 0u);
  const uint64_t* counted = report.counters;
  EXPECT_EQ(counted[kRefused] + counted[kFound] + counted[kAnswered] + counted[kHarmless] +
                report.failures,
            (kBits + step - 1) / step);
  // Otherwise the segment would be empty, or nobody would look.
  EXPECT_GT(counted[kRefused], 0u);
  EXPECT_GT(counted[kFound], 0u);
  EXPECT_GT(counted[kHarmless], 0u);
  std::printf("%lu refused, %lu found by an audit, %lu answered as damage, %lu harmless\n",
              counted[kRefused], counted[kFound], counted[kAnswered], counted[kHarmless]);
}

TEST(ReferenceSegment, IsWholeOnceItsDeadAreRepaired) {
  const Image image;
  const std::vector<std::byte> reference = MakeReference();
  std::memcpy(image.bytes().data(), reference.data(), kImageBytes);
  auto system = image.Open();
  ASSERT_TRUE(system.ok()) << system.status();
  bool said = false;
  EXPECT_EQ(Works(*system, &said), "");
  EXPECT_FALSE(said);
  const auto audit = comm::AuditSystem(system->attachment()->segment());
  EXPECT_TRUE(audit.findings.empty()) << audit.findings.ToString();
  EXPECT_EQ(audit.orphan_bytes, 0u);
}

TEST(ReferenceSegment, HasItsChainsOfNamesWhereTheSeedsSayThatTheyAre) {
  const Image image;
  const std::vector<std::byte> reference = MakeReference();
  std::memcpy(image.bytes().data(), reference.data(), kImageBytes);
  const auto segment = shm::Segment::Open(image.place(), {.read_only = true});
  ASSERT_TRUE(segment.ok()) << segment.status();
  const auto table = registry::RegistryTable::Make(*segment);
  ASSERT_TRUE(table.ok()) << table.status();
  size_t found = 0;
  for (uint32_t i = 0; i < table->bucket_count(); ++i) {
    const auto link = registry::LinkWord::Unpack(table->bucket(i).load());
    if (link.index_plus_one == 0) continue;
    const uint64_t bucket = segment->view().OffsetOf(&table->bucket(i)) / 8;
    const uint64_t entry = table->EntryOffset(link.index_plus_one - 1) / 8;
    const auto is_it = [&](const ImageChain& chain) {
      return chain.bucket == bucket && chain.entry == entry;
    };
    const auto known = std::count_if(std::begin(kImageChains), std::end(kImageChains), is_it);
    found += static_cast<size_t>(known);
    if (known == 0) std::printf("also {%zu, %zu}\n", size_t{bucket}, size_t{entry});
  }
  EXPECT_EQ(found, std::size(kImageChains)) << "kImageChains in support/reference_image.h";
}

// A step without a factor of 8 or 64 comes by every bit of a word.
TEST(EveryBit, OfASampleIsRefusedFoundOrHarmlessWhenFlipped) { FlipEvery(37); }
TEST(EveryBit, IsRefusedFoundOrHarmlessWhenFlipped) { FlipEvery(1); }

}  // namespace
}  // namespace thole::fuzz
