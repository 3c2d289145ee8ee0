#include "catalog.h"

#include <algorithm>
#include <cstring>

namespace thole::cli::demo {
namespace {

template <class T>
void Put(std::span<std::byte> bytes, uint64_t offset, const T& value) {
  std::memcpy(bytes.data() + offset, static_cast<const void*>(&value), sizeof(T));  // payload
}

uint64_t EntryOffset(uint64_t file) {
  return sizeof(CatalogHeaderData) + file * sizeof(CatalogEntryData);
}

}  // namespace

uint64_t Catalog::BytesFor(const Tree& tree) {
  uint64_t bytes = EntryOffset(tree.files.size());
  for (const TreeFile& file : tree.files) bytes += file.path.size();
  return bytes;
}

void Catalog::Write(const Tree& tree, uint32_t feeders, std::span<std::byte> bytes) {
  CatalogHeaderData header{};
  header.files = tree.files.size();
  header.feeders = feeders;
  const uint64_t paths = EntryOffset(tree.files.size());
  for (uint64_t i = 0; i < tree.files.size(); ++i) {
    const TreeFile& file = tree.files[i];
    uint64_t& chunks = header.chunks_of_pass[i % feeders];
    Put(bytes, EntryOffset(i),
        CatalogEntryData{header.path_bytes, file.path.size(), file.size_bytes, file.modified_ns,
                         chunks});
    file.path.copy(static_cast<char*>(static_cast<void*>(bytes.data())) + paths + header.path_bytes,
                   file.path.size());
    header.path_bytes += file.path.size();
    chunks += ChunksOf(file.size_bytes);
  }
  Put(bytes, 0, header);
}

absl::StatusOr<Catalog> Catalog::Read(std::span<const std::byte> bytes) {
  Catalog catalog;
  catalog.bytes_ = bytes;
  const auto refuse = [] {
    return shm::Error(absl::StatusCode::kDataLoss, "the catalog of files is damaged",
                      ErrorKind::kDamaged);
  };
  if (bytes.size() < sizeof(CatalogHeaderData)) return refuse();
  std::memcpy(static_cast<void*>(&catalog.header_), bytes.data(), sizeof(CatalogHeaderData));
  // TRUST: counts against the size of the buffer; each path again where it is used.
  const CatalogHeaderData& header = catalog.header_;
  const uint64_t room = bytes.size() - sizeof(CatalogHeaderData);
  if (header.feeders < 1 || header.feeders > kFeedersMax ||
      header.files > room / sizeof(CatalogEntryData) ||
      header.path_bytes > room - header.files * sizeof(CatalogEntryData)) {
    return refuse();
  }
  return catalog;
}

CatalogEntryData Catalog::Entry(uint64_t file) const {
  CatalogEntryData entry;
  std::memcpy(static_cast<void*>(&entry), bytes_.data() + EntryOffset(file), sizeof entry);
  return entry;
}

Piece Catalog::Locate(uint32_t feeder, uint64_t sequence) const {
  const uint64_t chunks = chunks_of_pass(feeder);
  const uint64_t wanted = sequence % chunks;
  // The last file of this feeder that does not begin after the chunk.
  uint64_t low = 0;
  uint64_t high = (files() - feeder + feeders() - 1) / feeders();
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (Entry(feeder + middle * feeders()).first_chunk <= wanted ? low : high) = middle;
  }
  Piece piece;
  piece.pass = sequence / chunks;
  piece.file = feeder + low * feeders();
  const CatalogEntryData entry = Entry(piece.file);
  piece.total_bytes = entry.size_bytes;
  piece.modified_ns = entry.modified_ns;
  piece.offset = std::min((wanted - entry.first_chunk) * kChunkBytesMax, entry.size_bytes);
  piece.size_bytes = std::min(entry.size_bytes - piece.offset, kChunkBytesMax);
  // TRUST: the path inside the paths.
  if (entry.path_bytes <= header_.path_bytes &&
      entry.path_offset <= header_.path_bytes - entry.path_bytes) {
    const std::byte* path = bytes_.data() + EntryOffset(files()) + entry.path_offset;
    piece.path = {static_cast<const char*>(static_cast<const void*>(path)), entry.path_bytes};
  }
  return piece;
}

}  // namespace thole::cli::demo
