// The ledger and the comparison with the disk, without processes: results are handed in directly.
#include "demo/collector.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "demo/stage.h"
#include "thole/shm/crc32c.h"

namespace thole::cli::demo {
namespace {

namespace fs = std::filesystem;

class CollectorTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    Write("a", std::string(100, 'a').append(1, '\n'));
    Write("b", std::string(2 * kChunkBytesMax + 10, 'b'));
    Write("c", "");
    tree_ = *ListTree(folder_);
    const std::string name = "collector-test-" + std::to_string(getpid());
    auto stage = Stage::Build(name, tree_, 2);
    ASSERT_TRUE(stage.ok()) << stage.status();
    stage_ = std::make_unique<Stage>(*std::move(stage));
    (void)shm::Segment::Remove(shm::Place::Named(name));
    collector_ = std::make_unique<Collector>(stage_->catalog(), stage_->results());
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  /// What an honest worker would say about a chunk.
  ResultData Result(uint32_t feeder, uint64_t sequence) {
    const Piece piece = stage_->catalog().Locate(feeder, sequence);
    std::vector<std::byte> message(ChunkBytes(piece));
    const auto file =
        OpenFile::AsListed(std::string(piece.path), piece.total_bytes, piece.modified_ns);
    EXPECT_TRUE(file.ReadAt(piece.offset, BodyOf(piece, message).data(), piece.size_bytes));
    SealChunk(feeder, sequence, piece, message);
    return Examine(*ParseChunk(message));
  }
  void AcceptPass(uint64_t pass) {
    for (uint32_t feeder = 0; feeder < 2; ++feeder) {
      const uint64_t chunks = stage_->catalog().chunks_of_pass(feeder);
      for (uint64_t i = 0; i < chunks; ++i) {
        collector_->Accept(Result(feeder, pass * chunks + i));
      }
    }
  }

  const std::string folder_ = testing::TempDir() + "thole-collector-" + std::to_string(getpid());
  Tree tree_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<Collector> collector_;
};

TEST_F(CollectorTest, CountsEveryFileOnceInEveryPass) {
  AcceptPass(0);
  AcceptPass(1);
  const CollectorTotals totals = collector_->totals();
  EXPECT_EQ(totals.files, 6u);
  EXPECT_EQ(totals.bytes, 2 * (101 + 2 * kChunkBytesMax + 10));
  EXPECT_EQ(totals.lines, 2u);
  EXPECT_EQ(totals.damaged, 0u);
  const std::vector<uint64_t> sent = {2 * stage_->catalog().chunks_of_pass(0),
                                      2 * stage_->catalog().chunks_of_pass(1)};
  EXPECT_TRUE(collector_->HasAll(sent));
  EXPECT_EQ(collector_->CountMissing(sent), 0u);
}

TEST_F(CollectorTest, AMissingChunkIsLostAndItsFileIsNotVerified) {
  collector_->Accept(Result(1, 0));
  collector_->Accept(Result(1, 2));
  const std::vector<uint64_t> sent = {0, 3};
  EXPECT_FALSE(collector_->HasAll(sent));
  EXPECT_EQ(collector_->CountMissing(sent), 1u);
  EXPECT_EQ(collector_->totals().files, 0u);
}

TEST_F(CollectorTest, DuplicatesAreDropped) {
  AcceptPass(0);
  collector_->Accept(Result(1, 1));
  EXPECT_EQ(collector_->totals().duplicates, 1u);
  EXPECT_EQ(collector_->totals().files, 3u);
}

TEST_F(CollectorTest, WhatTheDiskDoesNotSayIsDamage) {
  const std::vector<void (*)(ResultData&)> lies = {
      [](ResultData& result) { result.checksum ^= 1; },
      [](ResultData& result) { result.lines += 1; },
      [](ResultData& result) { result.size_bytes -= 1; },
      [](ResultData& result) { result.offset += 1; },
      [](ResultData& result) { result.file += 1; },
      [](ResultData& result) { result.pass += 1; },
      [](ResultData& result) { result.path_checksum += 1; },
      [](ResultData& result) { result.verdict = kDamaged; },
      [](ResultData& result) { result.verdict = 99; },
  };
  const uint64_t chunks = stage_->catalog().chunks_of_pass(0);
  for (size_t i = 0; i < lies.size(); ++i) {
    ResultData result = Result(0, i * chunks);  // file a, in one pass after the other
    lies[i](result);
    collector_->Accept(result);
    EXPECT_EQ(collector_->totals().damaged, i + 1) << "lie " << i;
  }
  EXPECT_EQ(collector_->totals().files, 0u);
  EXPECT_EQ(collector_->problems().size(), lies.size());
}

TEST_F(CollectorTest, NumbersThatCannotBeAreDamage) {
  ResultData result = Result(0, 0);
  result.feeder = 1000;
  collector_->Accept(result);
  result = Result(0, 0);
  result.sequence = ~uint64_t{0};
  collector_->Accept(result);
  EXPECT_EQ(collector_->totals().damaged, 2u);
}

TEST_F(CollectorTest, AFileThatChangedIsLeftOutNotDamaged) {
  const ResultData before = Result(0, 0);
  Write("a", "something else\n");
  collector_->Accept(before);
  EXPECT_EQ(collector_->totals().not_as_listed, 1u);
  EXPECT_EQ(collector_->totals().damaged, 0u);
  EXPECT_EQ(collector_->totals().files, 0u);
}

}  // namespace
}  // namespace thole::cli::demo
