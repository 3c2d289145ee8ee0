#include "member_thread.h"
#include "message.h"

namespace thole::soak {
namespace {

constexpr size_t kHeldMax = 4;

class Consumer : public MemberThread {
 public:
  Consumer(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
           const Channels& channels, uint32_t thread)
      : MemberThread(task, board, system, thread), channels_(channels) {}

  bool Run() {
    while (phase() != kEnd && !complained()) {
      record_.beats.fetch_add(1);
      StandStill([](uint32_t now) { return now == kPause; });
      if (phase() == kEmpty || phase() == kDrain) {
        while (!held_.empty()) {
          if (!AckFirst()) return false;
        }
        GiveBack(table_);
      }
      StandStill([](uint32_t now) { return now == kEmpty || now == kPause; });
      if (phase() == kRun && random_.Chance(60) && !UseTable(table_)) return false;
      if (random_.Chance(20)) table_.Release();
      if (!(random_.Chance(8) ? ReceivePlain() : ReceiveJob())) return false;
    }
    held_.clear();
    return !complained();
  }

 private:
  struct Held {
    MessageHandle message;
    OpenAck ack;
  };

  // Which message this is, if it is one; what is wrong with it goes into the findings.
  bool Note(const MessageHandle& message, bool acknowledged, OpenAck& ack) {
    record_.received.fetch_add(1);
    const auto head = Verify(message.bytes());
    if (!head || head->stream >= task_.streams.count() ||
        task_.streams.IsAcknowledged(head->stream) != acknowledged) {
      board_->damaged.fetch_add(1);
      board_->AddFinding(("a message of " + std::to_string(message.size()) + " bytes, sequence " +
                          std::to_string(message.sequence()) + ", is not what was sent")
                             .c_str());
      return false;
    }
    ack.stream = head->stream;
    ack.number = head->number;
    StreamLedger ledger = task_.streams.LedgerOf(board_, head->stream);
    const Delivery delivery = ledger.Delivered(head->number, message.attempt(), ack.delivery);
    if (delivery != Delivery::kFine) Duplicated(ack, ToString(delivery), message.attempt());
    return true;
  }

  void Duplicated(const OpenAck& ack, const char* what, uint32_t attempt) {
    board_->duplicated.fetch_add(1);
    const Entry entry =
        Entry::Unpack(board_.stream(ack.stream).entries[ack.number % Stream::kPlaces].load());
    board_->AddFinding(("stream " + std::to_string(ack.stream) + ", message " +
                        std::to_string(ack.number) + ", attempt " + std::to_string(attempt) +
                        ", to consumer " + std::to_string(task_.index) + ": " + what +
                        "; the ledger has " + entry.ToString())
                           .c_str());
  }

  // False: something is wrong that a program should not go on after.
  bool ReceivePlain() {
    record_.in_plain.store(1);
    auto message = Timed([&](Deadline d) {
      return channels_.plain.Receive(random_.Chance(2) ? d : Deadline::Now());
    });
    OpenAck unused;
    if (message.ok()) (void)Note(*message, false, unused);
    record_.in_plain.store(0);
    return message.ok() || PassesByItself(message.status()) ||
           Complain("a plain receive", message.status());
  }

  bool ReceiveJob() {
    auto message = Timed([&](Deadline d) { return channels_.jobs.Receive(d); });
    if (!message.ok()) {
      return PassesByItself(message.status()) || Complain("a receive", message.status());
    }
    Held job{*std::move(message), {}};
    if (!Note(job.message, true, job.ack)) return job.message.Ack().ok();
    if (random_.Chance(40)) return true;  // not now: somebody else shall do it
    if (random_.Chance(20)) {
      MessageHandle clone = job.message.Clone();
      job.message.Release();
      job.message = std::move(clone);
    }
    held_.push_back(std::move(job));
    if (held_.size() <= kHeldMax && random_.Chance(4)) return true;  // keep it for a while
    StandStill([](uint32_t now) { return now == kPause; });
    return AckFirst();
  }

  bool AckFirst() {
    const size_t which = random_.Below(held_.size());
    Held job = std::move(held_[which]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    record_.open_ack.store(job.ack.Pack());
    if (auto done = job.message.Ack(); !done.ok()) return Complain("an ack", done);
    if (!task_.streams.LedgerOf(board_, job.ack.stream).Acked(job.ack.number, job.ack.delivery)) {
      Duplicated(job.ack, "somebody else got it while it was leased here", job.message.attempt());
    }
    record_.open_ack.store(0);
    record_.acked.fetch_add(1);
    return true;
  }

  const Channels& channels_;
  registry::BufferHandle table_;
  std::vector<Held> held_;
};

}  // namespace

bool Consume(const MemberTask& task, const SharedBoard& board, UnifiedCommunicationSystem& system,
             const Channels& channels, uint32_t thread) {
  return Consumer(task, board, system, channels, thread).Run();
}

}  // namespace thole::soak
