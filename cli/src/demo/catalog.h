// The catalog: the listed files in a buffer of the segment, and how they are cut into chunks.
//
// Every process must agree on what the n-th chunk of a feeder is, so that one number says how far a
// feeder came and a chunk that is sent twice is known by its number. So the catalog is written
// once, by the supervisor, before anybody else starts, and sizes are those of the listing.
//
//   +--------------------+------------------------+---------------------+
//   | CatalogHeaderData  | entries, sorted by path | paths, one after another |
//   +--------------------+------------------------+---------------------+
//
// File i belongs to feeder i mod n. The chunks of a feeder's files, in order, make one pass; chunk
// number s of a feeder is chunk s mod (chunks of a pass) of pass s / (chunks of a pass). A file is
// cut into chunks of 1 MiB; an empty file has one empty chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "demo/demo_options.h"
#include "demo/tree.h"

namespace thole::cli::demo {

struct CatalogHeaderData {
  uint64_t files;
  uint64_t feeders;
  uint64_t path_bytes;
  uint64_t chunks_of_pass[kFeedersMax];  // by feeder
};
static_assert(sizeof(CatalogHeaderData) == 24 + 8 * kFeedersMax);
static_assert(std::has_unique_object_representations_v<CatalogHeaderData>);

struct CatalogEntryData {
  uint64_t path_offset;
  uint64_t path_bytes;
  uint64_t size_bytes;
  uint64_t modified_ns;
  uint64_t first_chunk;  // of this file, in a pass of its feeder
};
static_assert(sizeof(CatalogEntryData) == 40);
static_assert(std::has_unique_object_representations_v<CatalogEntryData>);

/// One chunk: a part of a file, in one pass.
struct Piece {
  uint64_t pass = 0;
  uint64_t file = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;   ///< of the chunk
  uint64_t total_bytes = 0;  ///< of the file
  uint64_t modified_ns = 0;
  std::string_view path;
};

/// A view of a catalog's bytes, which must outlive it. A value.
class Catalog {
 public:
  static uint64_t BytesFor(const Tree& tree);
  /// Writes the catalog of `tree` for so many feeders into `bytes`, of at least BytesFor(tree).
  static void Write(const Tree& tree, uint32_t feeders, std::span<std::byte> bytes);
  /// DataLoss when the bytes are no catalog.
  static absl::StatusOr<Catalog> Read(std::span<const std::byte> bytes);

  uint64_t files() const { return header_.files; }
  uint32_t feeders() const { return static_cast<uint32_t>(header_.feeders); }
  /// 0 when the feeder has no files.
  uint64_t chunks_of_pass(uint32_t feeder) const { return header_.chunks_of_pass[feeder]; }
  /// The chunk number `sequence` of `feeder`, which must have files.
  Piece Locate(uint32_t feeder, uint64_t sequence) const;
  static uint64_t ChunksOf(uint64_t size_bytes) {
    return size_bytes == 0 ? 1 : (size_bytes + kChunkBytesMax - 1) / kChunkBytesMax;
  }

 private:
  CatalogEntryData Entry(uint64_t file) const;

  CatalogHeaderData header_{};
  std::span<const std::byte> bytes_;
};

}  // namespace thole::cli::demo
