#include "demo/catalog.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace thole::cli::demo {
namespace {

Tree MakeTree(std::initializer_list<uint64_t> sizes) {
  Tree tree;
  for (const uint64_t size : sizes) {
    const size_t number = tree.files.size();
    tree.files.push_back({"/folder/file-" + std::to_string(number), size, 1000 + number});
  }
  return tree;
}

struct WrittenCatalog {
  std::vector<std::byte> bytes;
  absl::StatusOr<Catalog> catalog;
};
WrittenCatalog Write(const Tree& tree, uint32_t feeders) {
  WrittenCatalog written{std::vector<std::byte>(Catalog::BytesFor(tree)),
                         absl::UnknownError("not read")};
  Catalog::Write(tree, feeders, written.bytes);
  written.catalog = Catalog::Read(written.bytes);
  return written;
}

TEST(Catalog, TheChunksOfAllFeedersAreTheWholeTreeOnce) {
  const Tree tree = MakeTree({0, 1, kChunkBytesMax - 1, kChunkBytesMax, kChunkBytesMax + 1,
                              5 * kChunkBytesMax, 7, 0, 3 * kChunkBytesMax + 5});
  for (uint32_t feeders = 1; feeders <= kFeedersMax; ++feeders) {
    const WrittenCatalog written = Write(tree, feeders);
    ASSERT_TRUE(written.catalog.ok());
    const Catalog& catalog = *written.catalog;
    std::map<uint64_t, uint64_t> next_offset;  // by file
    for (uint32_t feeder = 0; feeder < feeders; ++feeder) {
      for (uint64_t s = 0; s < catalog.chunks_of_pass(feeder); ++s) {
        const Piece piece = catalog.Locate(feeder, s);
        const TreeFile& file = tree.files[piece.file];
        EXPECT_EQ(piece.file % feeders, feeder);
        EXPECT_EQ(piece.path, file.path);
        EXPECT_EQ(piece.total_bytes, file.size_bytes);
        EXPECT_EQ(piece.modified_ns, file.modified_ns);
        EXPECT_EQ(piece.offset, next_offset[piece.file]);
        EXPECT_LE(piece.size_bytes, kChunkBytesMax);
        next_offset[piece.file] += piece.size_bytes;
      }
    }
    ASSERT_EQ(next_offset.size(), tree.files.size()) << "a file without a chunk";
    for (const auto& [file, bytes] : next_offset) EXPECT_EQ(bytes, tree.files[file].size_bytes);
  }
}

TEST(Catalog, EveryPassHasTheSameChunks) {
  const WrittenCatalog written = Write(MakeTree({10, 2 * kChunkBytesMax, 30, 40}), 2);
  ASSERT_TRUE(written.catalog.ok());
  const uint64_t chunks = written.catalog->chunks_of_pass(1);
  EXPECT_EQ(chunks, 3u);
  for (uint64_t s = 0; s < chunks; ++s) {
    const Piece first = written.catalog->Locate(1, s);
    const Piece later = written.catalog->Locate(1, s + 41 * chunks);
    EXPECT_EQ(first.pass, 0u);
    EXPECT_EQ(later.pass, 41u);
    EXPECT_EQ(first.file, later.file);
    EXPECT_EQ(first.offset, later.offset);
  }
}

TEST(Catalog, FeedersWithoutFilesHaveNoChunks) {
  const WrittenCatalog written = Write(MakeTree({10, 20}), 5);
  ASSERT_TRUE(written.catalog.ok());
  EXPECT_EQ(written.catalog->chunks_of_pass(1), 1u);
  EXPECT_EQ(written.catalog->chunks_of_pass(2), 0u);
  EXPECT_EQ(written.catalog->chunks_of_pass(4), 0u);
}

TEST(Catalog, AnyBytesAreRefusedOrStayInside) {
  const Tree tree = MakeTree({10, 20, 30});
  EXPECT_FALSE(Catalog::Read({}).ok());
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    WrittenCatalog written = Write(tree, 2);
    for (int change = 0; change < 3; ++change) {
      written.bytes[random() % written.bytes.size()] = static_cast<std::byte>(random());
    }
    const auto catalog = Catalog::Read(written.bytes);
    if (!catalog.ok() || catalog->files() < 2 || catalog->chunks_of_pass(0) == 0) continue;
    const Piece piece = catalog->Locate(0, random());  // a wild access is for the sanitizer to see
    EXPECT_LE(piece.path.size(), written.bytes.size());
    EXPECT_LE(piece.size_bytes, kChunkBytesMax);
  }
}

}  // namespace
}  // namespace thole::cli::demo
