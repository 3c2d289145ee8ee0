#include "member_thread.h"
#include "message.h"

namespace thole::soak {
namespace {

constexpr uint64_t kRestNsMax = 4'000'000;

class Producer : public MemberThread {
 public:
  Producer(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
           const Channels& channels, uint32_t thread)
      : MemberThread(task, board, system, thread), channels_(channels) {}

  bool Run() {
    while (phase() != kEnd && !complained()) {
      record_.beats.fetch_add(1);
      if (phase() == kDrain || phase() == kEmpty) GiveBack(table_);
      StandStill([](uint32_t now) { return now == kPause || now == kDrain || now == kEmpty; });
      if (random_.Chance(40) && !UseTable(table_)) return false;
      if (random_.Chance(20)) table_.Release();
      if (!SendOne(!random_.Chance(8))) return false;
      // In bursts: receivers shall also sleep, and the processors have time for deaths.
      if (random_.Chance(32)) Wait(static_cast<int64_t>(random_.Below(kRestNsMax)) * threads());
    }
    return !complained();
  }

 private:
  int64_t threads() const { return task_.streams.threads; }

  bool SendOne(bool acknowledged) {
    const uint32_t index = task_.streams.IndexOf(task_.index, thread_, acknowledged);
    StreamLedger ledger = task_.streams.LedgerOf(board_, index);
    const uint64_t number = ledger.next();
    if (!ledger.MayBegin(number, NowNs())) {
      if (acknowledged) Wait(1'000'000);
      return true;
    }
    ledger.Begin(number, NowNs());
    const uint64_t seed = random_.Next();
    const Channel& channel = acknowledged ? channels_.jobs : channels_.plain;
    const absl::Status sent = random_.Chance(4) ? SendCopy(channel, index, number, seed)
                                                : SendInPlace(channel, index, number, seed);
    if (sent.ok()) {
      ledger.Accepted(number);
      record_.sent.fetch_add(1);
      return true;
    }
    ledger.Refused(number);
    return PassesByItself(sent) || absl::IsCancelled(sent) || Complain("a send", sent);
  }

  absl::Status SendCopy(const Channel& channel, uint32_t stream, uint64_t number, uint64_t seed) {
    copy_.resize(SizeFor(seed));
    Fill(copy_, stream, number, seed);
    return Timed([&](Deadline d) { return channel.SendBytes(kMessageType, copy_, d); });
  }

  absl::Status SendInPlace(const Channel& channel, uint32_t stream, uint64_t number,
                           uint64_t seed) {
    // Sometimes more room than is needed: the rest goes back to the heap.
    const uint64_t more = random_.Chance(5) ? random_.Below(5000) : 0;
    auto writer = Timed(
        [&](Deadline d) { return channel.SendZeroCopy(kMessageType, SizeFor(seed) + more, d); });
    if (!writer.ok()) return writer.status();
    const uint64_t size = Fill(writer->bytes(), stream, number, seed);
    if (phase() != kRun) {
      // A pause finds some blocks on loan to writers. Where all is to be empty they go.
      StandStill([](uint32_t now) { return now == kPause; });
      if (phase() != kRun) return absl::CancelledError("asked to stop");
    }
    if (random_.Chance(30)) return absl::CancelledError("changed its mind");
    return Timed([&](Deadline d) { return writer->CommitPrefix(size, d); }).status();
  }

  const Channels& channels_;
  registry::BufferHandle table_;
  std::vector<std::byte> copy_;
};

}  // namespace

bool Produce(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
             const Channels& channels, uint32_t thread) {
  return Producer(task, board, system, channels, thread).Run();
}

}  // namespace thole::soak
