#include "comm_agent.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "channel_laws.h"
#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::proptests {
namespace {

constexpr uint64_t kWriterBytes = 2000;

std::string NameOf(uint64_t channel) { return "channel " + std::to_string(channel); }

ChannelOptions OptionsOf(uint64_t channel) {
  return {.capacity = channel == 1 ? 4u : 2u, .acknowledged = channel != 2};
}

std::vector<std::byte> PayloadOf(uint64_t id) {
  std::vector<std::byte> bytes(8 + id * 37 % 1500);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(id * 7 + i);
  std::memcpy(bytes.data(), &id, 8);
  return bytes;
}

class CommAgent final : public Agent {
 public:
  explicit CommAgent(const std::shared_ptr<shm::Attachment>& attachment) : Agent(attachment) {
    auto prepared = UnifiedCommunicationSystem::PrepareOn(attachment);
    if (!prepared.ok()) std::abort();
    system_.emplace(*std::move(prepared));
  }

  void Do(const Order& order, Reply& reply) override {
    const uint64_t first = order.words[0];
    switch (order.call) {
      case kLeave:
        return Leave(reply);
      case kRecover:
        return Recover(reply);
      case kCreate:
        Answers(reply, system_->CreateChannel(NameOf(first), OptionsOf(first), Soon()).status());
        break;
      case kClose:
        Answers(reply, Close(first));
        break;
      case kSend:
        Answers(reply, system_->SendBytes(NameOf(first), static_cast<uint32_t>(order.words[1]),
                                          PayloadOf(order.words[1]), Deadline::Now()));
        break;
      case kReceive:
        Receive(order, reply);
        break;
      case kAck:
        Answers(reply, held_.at(first).Ack());
        break;
      case kDrop:
        reply.words[0] = held_.at(first).ReadPrefix<uint64_t>() == order.words[1];
        held_.erase(first);
        reply.answer = Answer::kOk;
        break;
      case kClone:
        held_[order.words[1]] = held_.at(first).Clone();
        if (held_[order.words[1]].sequence() != held_.at(first).sequence()) {
          reply.Break("a clone is another message");
        }
        reply.answer = Answer::kOk;
        break;
      case kReserve:
        Reserve(order, reply);
        break;
      case kCommit:
        Commit(order, reply);
        break;
      case kRollback:
        writers_.erase(first);
        reply.answer = Answer::kOk;
        break;
      default:
        reply.Break("no such call");
    }
    reply.words[kBlocksUsedWord] = system_->HeapUse().blocks_used;
  }

 private:
  static void Answers(Reply& reply, const absl::Status& status) {
    reply.Say(status.ok() ? "" : status.ToString());
    const ErrorKind kind = GetErrorKind(status);
    if (kind == ErrorKind::kForkedHandle) {
      reply.answer = Answer::kForked;
    } else if (status.ok()) {
      reply.answer = Answer::kOk;
    } else if (absl::IsUnavailable(status)) {
      reply.answer = kind == ErrorKind::kPending ? Answer::kPending : Answer::kEmpty;
    } else if (absl::IsResourceExhausted(status)) {
      reply.answer = Answer::kFull;
    } else if (absl::IsOutOfRange(status) || absl::IsFailedPrecondition(status)) {
      reply.answer = Answer::kClosed;
    }
  }
  absl::Status Close(uint64_t channel) {
    auto connected = system_->ConnectChannel(NameOf(channel), Soon());
    return connected.ok() ? connected->Close() : connected.status();
  }
  void Leave(Reply& reply) {
    Answers(reply, system_->Leave(Soon()));
    if (reply.answer == Answer::kForked) return;
    for (auto& [tag, handle] : held_) {
      if (absl::IsFailedPrecondition(handle.Ack())) continue;
      reply.Break("an Ack after Leave is refused");
    }
  }
  void Recover(Reply& reply) {
    reply.words[0] = system_->Recover();
    reply.answer = attachment().forked() && reply.words[0] == 0 ? Answer::kForked : Answer::kOk;
    reply.words[kBlocksUsedWord] = system_->HeapUse().blocks_used;
  }
  void Receive(const Order& order, Reply& reply) {
    auto message = system_->TryReceive(NameOf(order.words[0]));
    Answers(reply, message.status());
    if (!message.ok()) return;
    const uint64_t id = message->ReadPrefix<uint64_t>().value_or(0);
    const auto payload = PayloadOf(id);
    const auto bytes = message->bytes();
    reply.words[0] = id;
    reply.words[1] = message->attempt();
    reply.words[2] = message->type() == static_cast<uint32_t>(id) &&
                     std::equal(payload.begin(), payload.end(), bytes.begin(), bytes.end());
    held_[order.words[1]] = *std::move(message);
  }
  void Reserve(const Order& order, Reply& reply) {
    auto writer = system_->SendZeroCopy(NameOf(order.words[0]), 0, kWriterBytes, Deadline::Now());
    Answers(reply, writer.status());
    if (writer.ok()) writers_[order.words[1]] = *std::move(writer);
  }
  void Commit(const Order& order, Reply& reply) {
    ZeroCopyWriter& writer = writers_.at(order.words[0]);
    const auto payload = PayloadOf(order.words[1]);
    if (writer.bytes().size() == kWriterBytes) {  // not so in a forked child
      std::copy(payload.begin(), payload.end(), writer.bytes().begin());
    }
    writer.set_type(static_cast<uint32_t>(order.words[1]));
    Answers(reply, writer.CommitPrefix(payload.size(), Deadline::Now()).status());
    reply.words[1] = writer.bytes().size() == kWriterBytes;
    reply.words[0] = writer.empty() ? 0 : 1;
    if (writer.empty()) writers_.erase(order.words[0]);
  }

  std::optional<UnifiedCommunicationSystem> system_;
  std::map<uint64_t, MessageHandle> held_;
  std::map<uint64_t, ZeroCopyWriter> writers_;
};

std::string Audit(const shm::Segment& segment) {
  const comm::SystemAudit audit = comm::AuditSystem(segment);
  if (!audit.findings.empty()) return audit.findings.ToString();
  return audit.orphan_bytes == 0 ? "" : "bytes that nobody holds";
}

}  // namespace

Subject CommSubject() {
  return {UnifiedCommunicationSystem::Roots(kSegment),
          [](std::shared_ptr<shm::Attachment> attachment) {
            return std::make_unique<CommAgent>(std::move(attachment));
          },
          Audit};
}

}  // namespace thole::proptests
