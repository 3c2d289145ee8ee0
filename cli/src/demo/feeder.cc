#include "feeder.h"

#include <chrono>

#include "demo/chunk.h"

namespace thole::cli::demo {
namespace {

// What feeders leave of the heap, so that there is always room for results: without results no
// chunk would ever be acknowledged, and without that none freed.
constexpr uint64_t kReserveBytes = uint64_t{8} << 20;
constexpr auto kPatience = std::chrono::milliseconds(100);

class Feeder {
 public:
  Feeder(Stage& stage, uint32_t index) : stage_(stage), index_(index) {}

  /// False: told to stop before it was sent.
  absl::StatusOr<bool> Send(uint64_t sequence) {
    const Piece piece = stage_.catalog().Locate(index_, sequence);
    if (piece.file != open_number_) {
      file_ = OpenFile::AsListed(std::string(piece.path), piece.total_bytes, piece.modified_ns);
      open_number_ = piece.file;
    }
    auto writer = Reserve(ChunkBytes(piece));
    if (!writer.ok()) return writer.status();
    if (writer->empty()) return false;
    const bool whole = file_ && file_.ReadAt(piece.offset, BodyOf(piece, writer->bytes()).data(),
                                             piece.size_bytes);
    uint64_t bytes = ChunkBytes(piece);
    if (whole && file_.StillAsListed()) {
      SealChunk(index_, sequence, piece, writer->bytes());
    } else {
      bytes = SealEmptyChunk(index_, sequence, piece, writer->bytes());
    }
    return Commit(*writer, bytes);
  }

 private:
  /// An empty writer when told to stop.
  absl::StatusOr<ZeroCopyWriter> Reserve(uint64_t bytes) {
    while (!stage_.stopped()) {
      if (!IsRoomFor(bytes)) continue;
      auto writer = stage_.work().SendZeroCopy(kChunkMessage, bytes, Deadline::In(kPatience));
      if (writer.ok() || !PassesByItself(writer.status())) return writer;
    }
    return ZeroCopyWriter();
  }

  /// Whether the heap has enough for a chunk and for results; waits a moment when it has not.
  bool IsRoomFor(uint64_t bytes) {
    UnifiedCommunicationSystem& system = stage_.system();
    if (system.HeapUse().free_bytes >= bytes + kReserveBytes) return true;
    if (system.Recover() > 0) return false;  // the dead held some: look again
    shm::Platform& platform = system.attachment()->platform();
    shm::Word32 nobody_wakes{0};
    platform.WaitWord(nobody_wakes, 0, 1, platform.NowNs() + 1'000'000);
    return false;
  }

  absl::StatusOr<bool> Commit(ZeroCopyWriter& writer, uint64_t bytes) {
    while (!stage_.stopped()) {
      auto sent = writer.CommitPrefix(bytes, Deadline::In(kPatience));
      if (sent.ok()) return true;
      if (!PassesByItself(sent.status())) return sent.status();
    }
    return false;
  }

  Stage& stage_;
  const uint32_t index_;
  OpenFile file_;
  uint64_t open_number_ = ~uint64_t{0};
};

}  // namespace

absl::Status Feed(Stage& stage, uint32_t index) {
  if (stage.catalog().chunks_of_pass(index) == 0) return absl::OkStatus();
  Feeder feeder(stage, index);
  registry::BufferHandle& position = stage.position(index);
  for (uint64_t sequence = LoadWord(position); !stage.stopped(); ++sequence) {
    auto sent = feeder.Send(sequence);
    if (!sent.ok()) return sent.status();
    if (!*sent) break;
    StoreWord(position, sequence + 1);
  }
  return absl::OkStatus();
}

}  // namespace thole::cli::demo
