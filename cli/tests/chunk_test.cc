#include "demo/chunk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "thole/shm/crc32c.h"

namespace thole::cli::demo {
namespace {

constexpr std::string_view kText = "one\ntwo\nthree";

Piece MakePiece() {
  Piece piece;
  piece.pass = 3;
  piece.file = 17;
  piece.offset = kChunkBytesMax;
  piece.size_bytes = kText.size();
  piece.total_bytes = kChunkBytesMax + kText.size();
  piece.path = "/some/where";
  return piece;
}

std::vector<std::byte> MakeChunk() {
  const Piece piece = MakePiece();
  std::vector<std::byte> message(ChunkBytes(piece));
  std::memcpy(BodyOf(piece, message).data(), kText.data(), kText.size());
  SealChunk(1, 42, piece, message);
  return message;
}

TEST(Chunk, CarriesPathOffsetAndTotal) {
  const auto message = MakeChunk();
  const auto chunk = ParseChunk(message);
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->path, "/some/where");
  EXPECT_EQ(chunk->header.offset, kChunkBytesMax);
  EXPECT_EQ(chunk->header.total_bytes, kChunkBytesMax + kText.size());
  EXPECT_EQ(chunk->header.checksum, shm::Crc32c(kText.data(), kText.size()));
  EXPECT_EQ(chunk->bytes.size(), kText.size());
}

TEST(Chunk, TheWorkerCountsBytesAndLinesItself) {
  const auto message = MakeChunk();
  const ResultData result = Examine(*ParseChunk(message));
  EXPECT_EQ(result.verdict, kIntact);
  EXPECT_EQ(result.lines, 2u);
  EXPECT_EQ(result.size_bytes, kText.size());
  EXPECT_EQ(result.sequence, 42u);
  EXPECT_EQ(result.feeder, 1u);
  EXPECT_EQ(result.path_checksum, PathChecksum("/some/where"));
}

TEST(Chunk, EveryChangedByteOfTheFileIsSeen) {
  for (size_t i = 0; i < kText.size(); ++i) {
    auto message = MakeChunk();
    message[message.size() - 1 - i] ^= std::byte{1};
    EXPECT_EQ(Examine(*ParseChunk(message)).verdict, kDamaged);
  }
}

TEST(Chunk, AFileThatIsNotAsListedBringsNoBytes) {
  const Piece piece = MakePiece();
  std::vector<std::byte> message(ChunkBytes(piece));
  message.resize(SealEmptyChunk(0, 5, piece, message));
  const auto chunk = ParseChunk(message);
  ASSERT_TRUE(chunk.has_value());
  EXPECT_TRUE(chunk->bytes.empty());
  EXPECT_EQ(Examine(*chunk).verdict, kNotAsListed);
}

TEST(Chunk, SizesThatDoNotFitTheMessageAreRefused) {
  EXPECT_FALSE(ParseChunk({}).has_value());
  const auto message = MakeChunk();
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(ParseChunk(std::span(message).first(size)).has_value()) << size;
  }
  auto longer = message;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseChunk(longer).has_value());
  ChunkHeaderData header;
  std::memcpy(static_cast<void*>(&header), message.data(), sizeof header);
  header.path_bytes = ~uint32_t{0};
  header.size_bytes = message.size() - sizeof header - header.path_bytes;  // wraps around to fit
  auto lying = message;
  std::memcpy(lying.data(), static_cast<const void*>(&header), sizeof header);
  EXPECT_FALSE(ParseChunk(lying).has_value());
}

TEST(Chunk, LinesAreCountedLikeWc) {
  const auto count = [](std::string_view text) {
    return CountLines(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_EQ(count(""), 0u);
  EXPECT_EQ(count("no end"), 0u);
  EXPECT_EQ(count("\n\n\n"), 3u);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "line " + std::to_string(i) + "\n";
  for (size_t skip = 0; skip < 70; ++skip) {
    const std::string_view rest = std::string_view(many).substr(skip);
    EXPECT_EQ(count(rest), static_cast<uint64_t>(std::count(rest.begin(), rest.end(), '\n')));
  }
}

}  // namespace
}  // namespace thole::cli::demo
