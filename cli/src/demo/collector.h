// The collector: receives every result, drops duplicates, compares each file once with the disk and
// every further pass with what it found there. It runs beside the supervisor and is never killed:
// it is the ledger.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "demo/catalog.h"
#include "demo/chunk.h"
#include "demo/ledger.h"
#include "thole/comm/channel.h"

namespace thole::cli::demo {

struct CollectorTotals {
  uint64_t files = 0;  ///< verified, over all passes
  uint64_t bytes = 0;
  uint64_t lines = 0;
  uint64_t results = 0;  ///< received, duplicates included
  uint64_t duplicates = 0;
  uint64_t damaged = 0;        ///< chunks that were not what the disk says
  uint64_t not_as_listed = 0;  ///< files that changed or went away meanwhile: left out
};

/// `Run` and `Accept` by one thread; the rest by any.
class Collector {
 public:
  /// `catalog` must outlive it.
  Collector(const Catalog& catalog, comm::Channel results);

  /// Receives until the channel is closed and drained, or `Abort`.
  absl::Status Run();
  void Abort() { aborted_.store(true, std::memory_order_relaxed); }  // seen by the next wait

  void Accept(const ResultData& result);
  CollectorTotals totals() const;
  /// Whether all that the feeders have sent (a number for each) has arrived.
  bool HasAll(std::span<const uint64_t> sent) const;
  uint64_t CountMissing(std::span<const uint64_t> sent) const;
  /// The first few things that went wrong, as sentences.
  std::vector<std::string> problems() const;

 private:
  struct ChunkFacts {
    uint32_t checksum;
    uint64_t lines;
  };
  void AcceptNew(const ResultData& result);
  bool Compare(const ResultData& result, const Piece& piece);
  std::optional<ChunkFacts> ReadFromDisk(const Piece& piece);
  void LeaveOut(const Piece& piece);
  void CountFile(const Piece& piece);
  void AddProblem(const Piece& piece, const std::string& what);

  const Catalog& catalog_;
  comm::Channel results_;
  std::atomic<bool> aborted_{false};
  mutable std::mutex mutex_;  // of everything below
  std::vector<Ledger> ledgers_;
  // What the disk says, by feeder and chunk of a pass.
  std::vector<std::vector<std::optional<ChunkFacts>>> facts_;
  // Chunks of a file that are still to come in a pass; only of files that have several.
  std::unordered_map<uint64_t, uint64_t> incomplete_;
  std::set<uint64_t> left_out_;
  CollectorTotals totals_;
  std::vector<std::string> problems_;
  std::vector<std::byte> buffer_;
};

}  // namespace thole::cli::demo
