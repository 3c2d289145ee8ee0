#include "collector.h"

#include <chrono>

#include "demo/feeder.h"
#include "thole/shm/crc32c.h"

namespace thole::cli::demo {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(100);
constexpr size_t kProblemsKept = 10;

// A number for one file in one pass. Files of the same pass differ by less than the number of
// files, so the product does not make two of them alike.
uint64_t FileInPass(const Catalog& catalog, const Piece& piece) {
  return piece.pass * catalog.files() + piece.file;
}

}  // namespace

Collector::Collector(const Catalog& catalog, comm::Channel results)
    : catalog_(catalog), results_(std::move(results)), ledgers_(catalog.feeders()) {
  for (uint32_t i = 0; i < catalog.feeders(); ++i) {
    facts_.emplace_back(catalog.chunks_of_pass(i));
  }
}

absl::Status Collector::Run() {
  while (!aborted_.load(std::memory_order_relaxed)) {  // a flag: nothing hangs on it
    auto message = results_.Receive(shm::Deadline::In(kPatience));
    if (absl::IsOutOfRange(message.status())) return absl::OkStatus();
    if (!message.ok() && PassesByItself(message.status())) continue;
    if (!message.ok()) return message.status();
    const auto* result = message->As<ResultData>();
    if (result == nullptr || message->type() != kResultMessage) {
      return shm::Error(absl::StatusCode::kDataLoss, "a message arrived that is no result",
                        ErrorKind::kDamaged);
    }
    Accept(*result);
    if (auto done = message->Ack(); !done.ok()) return done;
  }
  return absl::CancelledError("the collector was stopped");
}

void Collector::Accept(const ResultData& result) {
  const std::lock_guard<std::mutex> guard(mutex_);
  ++totals_.results;
  // TRUST: a result names a feeder that has files; the rest is compared with the catalog.
  if (result.feeder >= ledgers_.size() || catalog_.chunks_of_pass(result.feeder) == 0) {
    ++totals_.damaged;
    return;
  }
  switch (ledgers_[result.feeder].Mark(result.sequence)) {
    case Arrival::kDuplicate:
      ++totals_.duplicates;
      return;
    case Arrival::kImpossible:
      ++totals_.damaged;
      return;
    case Arrival::kNew:
      AcceptNew(result);
  }
}

void Collector::AcceptNew(const ResultData& result) {
  const Piece piece = catalog_.Locate(result.feeder, result.sequence);
  if (result.verdict == kNotAsListed) return LeaveOut(piece);
  if (!Compare(result, piece)) return;
  totals_.bytes += result.size_bytes;
  totals_.lines += result.lines;
  CountFile(piece);
}

// False when the chunk does not count: damaged, or the file is not as listed any more.
bool Collector::Compare(const ResultData& result, const Piece& piece) {
  const bool fits = result.verdict == kIntact && result.pass == piece.pass &&
                    result.file == piece.file && result.offset == piece.offset &&
                    result.size_bytes == piece.size_bytes &&
                    result.path_checksum == PathChecksum(piece.path);
  if (!fits) {
    AddProblem(piece, "arrived damaged");
    return false;
  }
  const uint64_t chunk = result.sequence % catalog_.chunks_of_pass(result.feeder);
  std::optional<ChunkFacts>& facts = facts_[result.feeder][chunk];
  if (!facts) facts = ReadFromDisk(piece);
  if (!facts) {
    LeaveOut(piece);
    return false;
  }
  if (facts->checksum != result.checksum || facts->lines != result.lines) {
    AddProblem(piece, "is not what the disk says");
    return false;
  }
  return true;
}

std::optional<Collector::ChunkFacts> Collector::ReadFromDisk(const Piece& piece) {
  const OpenFile file =
      OpenFile::AsListed(std::string(piece.path), piece.total_bytes, piece.modified_ns);
  buffer_.resize(piece.size_bytes);
  if (!file || !file.ReadAt(piece.offset, buffer_.data(), buffer_.size())) return std::nullopt;
  if (!file.StillAsListed()) return std::nullopt;
  return ChunkFacts{shm::Crc32c(buffer_.data(), buffer_.size()), CountLines(buffer_)};
}

void Collector::LeaveOut(const Piece& piece) {
  left_out_.insert(piece.file);
  totals_.not_as_listed = left_out_.size();
}

void Collector::CountFile(const Piece& piece) {
  const uint64_t chunks = Catalog::ChunksOf(piece.total_bytes);
  if (chunks > 1) {
    const auto [entry, added] = incomplete_.try_emplace(FileInPass(catalog_, piece), chunks);
    if (--entry->second > 0) return;
    incomplete_.erase(entry);
  }
  ++totals_.files;
}

void Collector::AddProblem(const Piece& piece, const std::string& what) {
  ++totals_.damaged;
  if (problems_.size() >= kProblemsKept) return;
  problems_.push_back("'" + std::string(piece.path) + "', bytes from " +
                      std::to_string(piece.offset) + " on, pass " + std::to_string(piece.pass + 1) +
                      ": " + what);
}

CollectorTotals Collector::totals() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return totals_;
}

bool Collector::HasAll(std::span<const uint64_t> sent) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  for (size_t i = 0; i < ledgers_.size(); ++i) {
    if (!ledgers_[i].HasAll(sent[i])) return false;
  }
  return true;
}

uint64_t Collector::CountMissing(std::span<const uint64_t> sent) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  uint64_t missing = 0;
  for (size_t i = 0; i < ledgers_.size(); ++i) missing += ledgers_[i].CountMissing(sent[i]);
  return missing;
}

std::vector<std::string> Collector::problems() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return problems_;
}

}  // namespace thole::cli::demo
