// What travels: a chunk of a file from a feeder to a worker, and a result from there to the
// collector.
//
//   chunk   +-----------------+------+----------------------+
//           | ChunkHeaderData | path | the bytes of the file |
//           +-----------------+------+----------------------+
//   result  ResultData
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "demo/catalog.h"

namespace thole::cli::demo {

inline constexpr uint32_t kChunkMessage = 1;
inline constexpr uint32_t kResultMessage = 2;

/// Values of `verdict`.
enum Verdict : uint32_t {
  kIntact = 0,
  kNotAsListed = 1,  ///< the file changed or cannot be read any more: the chunk brings no bytes
  kDamaged = 2,      ///< what arrived is not what the feeder sent
};

struct ChunkHeaderData {
  uint64_t sequence;  // of this feeder's chunks
  uint64_t pass;
  uint64_t file;
  uint64_t offset;
  uint64_t total_bytes;  // of the file
  uint64_t size_bytes;   // of the bytes after the path
  uint32_t path_bytes;
  uint32_t feeder;
  uint32_t checksum;  // CRC32C of the bytes
  uint32_t verdict;
};
static_assert(sizeof(ChunkHeaderData) == 64);
static_assert(std::has_unique_object_representations_v<ChunkHeaderData>);

struct ResultData {
  uint64_t sequence;
  uint64_t pass;
  uint64_t file;
  uint64_t offset;
  uint64_t size_bytes;  // counted by the worker
  uint64_t lines;       // counted by the worker
  uint32_t feeder;
  uint32_t checksum;  // computed by the worker
  uint32_t verdict;
  uint32_t path_checksum;  // CRC32C of the path that came with the chunk
};
static_assert(sizeof(ResultData) == 64);
static_assert(std::has_unique_object_representations_v<ResultData>);

/// A chunk whose parts were found inside the message.
struct ChunkView {
  ChunkHeaderData header{};
  std::string_view path;
  std::span<const std::byte> bytes;
};
/// Nothing when the message cannot be a chunk.
std::optional<ChunkView> ParseChunk(std::span<const std::byte> message);

/// Room that a chunk needs.
inline uint64_t ChunkBytes(const Piece& piece) {
  return sizeof(ChunkHeaderData) + piece.path.size() + piece.size_bytes;
}
/// Where the bytes of the file go.
std::span<std::byte> BodyOf(const Piece& piece, std::span<std::byte> message);
/// Writes header and path in front of the bytes, which are there already.
void SealChunk(uint32_t feeder, uint64_t sequence, const Piece& piece,
               std::span<std::byte> message);
/// The same for a file that is not as listed: no bytes. Returns the size of the message.
uint64_t SealEmptyChunk(uint32_t feeder, uint64_t sequence, const Piece& piece,
                        std::span<std::byte> message);

/// Looks at every byte of a chunk as a worker does.
ResultData Examine(const ChunkView& chunk);
uint32_t PathChecksum(std::string_view path);
uint64_t CountLines(std::span<const std::byte> bytes);

}  // namespace thole::cli::demo
