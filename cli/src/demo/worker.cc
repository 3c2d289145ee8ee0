#include "worker.h"

#include <chrono>

#include "demo/chunk.h"
#include "demo/feeder.h"

namespace thole::cli::demo {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(100);

absl::Status SendResult(Stage& stage, const ResultData& result) {
  for (;;) {
    auto sent = stage.results().Send(kResultMessage, result, Deadline::In(kPatience));
    if (sent.ok() || !PassesByItself(sent)) return sent;
  }
}

}  // namespace

absl::Status Work(Stage& stage) {
  for (;;) {
    auto message = stage.work().Receive(Deadline::In(kPatience));
    if (absl::IsOutOfRange(message.status())) return absl::OkStatus();
    if (!message.ok() && PassesByItself(message.status())) continue;
    if (!message.ok()) return message.status();
    const auto chunk = ParseChunk(message->bytes());
    if (!chunk || message->type() != kChunkMessage) {
      return shm::Error(absl::StatusCode::kDataLoss, "a message arrived that is no chunk",
                        ErrorKind::kDamaged);
    }
    if (auto sent = SendResult(stage, Examine(*chunk)); !sent.ok()) return sent;
    if (auto done = message->Ack(); !done.ok()) return done;
  }
}

}  // namespace thole::cli::demo
