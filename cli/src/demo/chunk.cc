#include "chunk.h"

#include <algorithm>
#include <cstring>

#include "thole/shm/crc32c.h"

namespace thole::cli::demo {
namespace {

void WriteHead(uint32_t feeder, uint64_t sequence, const Piece& piece, uint64_t size_bytes,
               uint32_t checksum, Verdict verdict, std::span<std::byte> message) {
  const ChunkHeaderData header{sequence,
                               piece.pass,
                               piece.file,
                               piece.offset,
                               piece.total_bytes,
                               size_bytes,
                               static_cast<uint32_t>(piece.path.size()),
                               feeder,
                               checksum,
                               verdict};
  std::memcpy(message.data(), static_cast<const void*>(&header), sizeof header);      // payload
  std::memcpy(message.data() + sizeof header, piece.path.data(), piece.path.size());  // payload
}

}  // namespace

std::optional<ChunkView> ParseChunk(std::span<const std::byte> message) {
  ChunkView chunk;
  if (message.size() < sizeof(ChunkHeaderData)) return std::nullopt;
  std::memcpy(static_cast<void*>(&chunk.header), message.data(), sizeof(ChunkHeaderData));
  const std::span<const std::byte> rest = message.subspan(sizeof(ChunkHeaderData));
  // TRUST: both sizes against the message.
  if (chunk.header.path_bytes > rest.size() ||
      chunk.header.size_bytes != rest.size() - chunk.header.path_bytes) {
    return std::nullopt;
  }
  chunk.path = {static_cast<const char*>(static_cast<const void*>(rest.data())),
                chunk.header.path_bytes};
  chunk.bytes = rest.subspan(chunk.header.path_bytes);
  return chunk;
}

std::span<std::byte> BodyOf(const Piece& piece, std::span<std::byte> message) {
  return message.subspan(sizeof(ChunkHeaderData) + piece.path.size(), piece.size_bytes);
}

void SealChunk(uint32_t feeder, uint64_t sequence, const Piece& piece,
               std::span<std::byte> message) {
  const std::span<std::byte> body = BodyOf(piece, message);
  WriteHead(feeder, sequence, piece, body.size(), shm::Crc32c(body.data(), body.size()), kIntact,
            message);
}

uint64_t SealEmptyChunk(uint32_t feeder, uint64_t sequence, const Piece& piece,
                        std::span<std::byte> message) {
  WriteHead(feeder, sequence, piece, 0, 0, kNotAsListed, message);
  return sizeof(ChunkHeaderData) + piece.path.size();
}

ResultData Examine(const ChunkView& chunk) {
  const ChunkHeaderData& header = chunk.header;
  const uint32_t checksum = shm::Crc32c(chunk.bytes.data(), chunk.bytes.size());
  const bool intact = header.verdict == kNotAsListed || checksum == header.checksum;
  return {header.sequence,         header.pass,        header.file,
          header.offset,           chunk.bytes.size(), CountLines(chunk.bytes),
          header.feeder,           checksum,           intact ? header.verdict : kDamaged,
          PathChecksum(chunk.path)};
}

uint32_t PathChecksum(std::string_view path) { return shm::Crc32c(path.data(), path.size()); }

uint64_t CountLines(std::span<const std::byte> bytes) {
  return static_cast<uint64_t>(std::count(bytes.begin(), bytes.end(), std::byte{'\n'}));
}

}  // namespace thole::cli::demo
