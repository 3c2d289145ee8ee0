#include "queue_agent.h"

#include <cstdlib>
#include <map>
#include <optional>

#include "channel_laws.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/queue/audit.h"
#include "thole/queue/queue_factory.h"
#include "thole/shm/audit.h"

namespace thole::proptests {
namespace {

using alloc::PersistentTlsfAllocator;
using queue::MessageDescriptor;
using queue::PopInfo;
using queue::PopResult;
using queue::PushInfo;
using queue::PushResult;
using queue::QueueFactory;
using shm::LoanRef;

constexpr uint64_t kQueues = 3;
constexpr uint64_t kBlockBytes = 300;
constexpr shm::CallId kCallId = 1;

struct Item {
  uint64_t id;
  uint64_t inverse;
};

std::string NameOf(uint64_t queue) { return "queue " + std::to_string(queue); }

queue::QueueOptions OptionsOf(uint64_t queue) {
  if (queue == 1) return QueueFactory::For<Item>({.capacity = 4});
  return QueueFactory::For<MessageDescriptor>({.capacity = 2, .leased = queue == 0});
}

Answer AnswerOf(PushResult result) {
  switch (result) {
    case PushResult::kOk:
      return Answer::kOk;
    case PushResult::kFull:
      return Answer::kFull;
    case PushResult::kPending:
      return Answer::kPending;
    case PushResult::kClosed:
      return Answer::kClosed;
    default:
      return Answer::kOther;
  }
}
Answer AnswerOf(PopResult result) {
  switch (result) {
    case PopResult::kOk:
      return Answer::kOk;
    case PopResult::kEmpty:
      return Answer::kEmpty;
    case PopResult::kPending:
      return Answer::kPending;
    case PopResult::kClosed:
      return Answer::kClosed;
    default:
      return Answer::kOther;
  }
}

// Lives as long as the attachment: names and heap are used while it leaves.
struct Ground final : shm::RepairPart {
  explicit Ground(const shm::Segment& segment) : names(segment, shm::ComponentId::kQueue) {}
  shm::RepairStep step() const override { return shm::RepairStep::kComm; }
  shm::RepairOutcome Repair(shm::DeadParticipant&) override { return shm::RepairOutcome::kDone; }
  shm::RootNames names;
};

class QueueAgent final : public Agent {
 public:
  explicit QueueAgent(const std::shared_ptr<shm::Attachment>& attachment)
      : Agent(attachment), ground_(std::make_shared<Ground>(attachment->segment())) {
    auto heap = PersistentTlsfAllocator::Open(attachment);
    if (!heap.ok()) std::abort();
    heap_ = *std::move(heap);
    factory_.emplace(attachment, ground_->names, heap_.get());
    attachment->Register(ground_);
  }
  void Joined() override {
    for (uint64_t i = 0; i < kQueues; ++i) {
      const queue::QueueOptions options = OptionsOf(i);
      auto handle = factory_->ConnectHandle(NameOf(i), &options, true, Soon());
      if (!handle.ok()) std::abort();
      queues_.push_back(*std::move(handle));
    }
  }

  void Do(const Order& order, Reply& reply) override {
    switch (order.call) {
      case kLeave:
        Leave(reply);
        return;
      case kRecover:
        reply.words[0] = attachment().RepairAll();
        reply.answer = forked() && reply.words[0] == 0 ? Answer::kForked : Answer::kOk;
        break;
      case kClose:
        queues_[order.words[0]].Close();
        reply.answer = forked() ? Answer::kForked : Answer::kOk;
        break;
      case kSend:
        reply.answer = Send(order.words[0], order.words[1]);
        break;
      case kReceive:
        reply.answer = Receive(order, reply);
        break;
      case kAck:
        reply.answer = Acknowledge(order);
        break;
      case kDrop:
        reply.answer = Drop(order, reply);
        break;
      default:
        reply.Break("no such call");
    }
    // In a forked child a queue answers that it is closed.
    if (forked() && reply.answer == Answer::kClosed) reply.answer = Answer::kForked;
    if (!forked()) reply.words[kBlocksUsedWord] = heap_->Statistics().blocks_used;
  }

 private:
  struct Held {
    uint64_t queue;
    uint64_t id;
    LoanRef loan;
  };
  bool forked() const { return attachment().forked(); }

  void Leave(Reply& reply) {
    const absl::Status left = attachment().Leave(Soon());
    reply.Say(left.ok() ? "" : left.ToString());
    if (left.ok()) reply.answer = Answer::kOk;
    if (GetErrorKind(left) == ErrorKind::kForkedHandle) reply.answer = Answer::kForked;
  }
  // A block whose first and last word are the message's number.
  Answer Send(uint64_t queue, uint64_t id) {
    if (queue == 1) {
      return AnswerOf(queue::PersistentQueue<Item>(queues_[queue]).TryPush({id, ~id}));
    }
    shm::Call call = attachment().Enter(kCallId, Soon());
    if (!call) return forked() ? Answer::kForked : Answer::kOther;
    const LoanRef loan = attachment().TakeLoan(call.lane(), heap_.get(), Soon());
    if (heap_->AllocateTo(call.lane(), loan, kBlockBytes, 64, Soon()) != shm::BlockResult::kOk) {
      return Answer::kOther;
    }
    *LastWord(loan) = id;
    MessageDescriptor descriptor{};
    descriptor.size_bytes = kBlockBytes;
    descriptor.correlation = id;
    const PushResult result = queue::PersistentQueue<MessageDescriptor>(queues_[queue])
                                  .TryPush(call.lane(), descriptor, loan);
    if (result != PushResult::kOk) (void)heap_->FreeLoan(call.lane(), loan, Soon());
    attachment().loans().Return(loan);
    return AnswerOf(result);
  }
  Answer Receive(const Order& order, Reply& reply) {
    const uint64_t queue = order.words[0];
    PopInfo info;
    if (queue == 1) {
      Item item{};
      const PopResult result = queue::PersistentQueue<Item>(queues_[queue]).TryPop(item, info);
      reply.words[0] = item.id;
      reply.words[1] = info.attempts;
      reply.words[2] = item.id == ~item.inverse;
      return AnswerOf(result);
    }
    shm::Call call = attachment().Enter(kCallId, Soon());
    if (!call) return forked() ? Answer::kForked : Answer::kOther;
    const LoanRef loan = attachment().TakeLoan(call.lane(), heap_.get(), Soon());
    MessageDescriptor descriptor{};
    const PopResult result = queue::PersistentQueue<MessageDescriptor>(queues_[queue])
                                 .TryPop(call.lane(), descriptor, loan, &info);
    if (result != PopResult::kOk) {
      attachment().loans().Return(loan);
      return AnswerOf(result);
    }
    reply.words[0] = descriptor.correlation;
    reply.words[1] = info.attempts;
    reply.words[2] = *LastWord(loan) == descriptor.correlation;
    held_[order.words[1]] = {queue, descriptor.correlation, loan};
    return Answer::kOk;
  }
  Answer Acknowledge(const Order& order) {
    shm::Call call = attachment().Enter(kCallId, Soon());
    if (!call) return forked() ? Answer::kForked : Answer::kOther;
    const LoanRef loan = held_.extract(order.words[0]).mapped().loan;
    const bool freed = heap_->FreeLoan(call.lane(), loan, Soon()) == shm::BlockResult::kOk;
    attachment().loans().Return(loan);
    return freed ? Answer::kOk : Answer::kOther;
  }
  Answer Drop(const Order& order, Reply& reply) {
    const auto [queue, id, loan] = held_.at(order.words[0]);
    reply.words[0] = id == order.words[1] && *LastWord(loan) == id;
    if (!queues_[queue].ring().leased()) return Acknowledge(order);
    held_.erase(order.words[0]);
    shm::Call call = attachment().Enter(kCallId, Soon());
    const auto returned = queues_[queue].ReturnLeased(call.lane(), loan, Soon());
    attachment().loans().Return(loan);
    return returned == queue::ReturnResult::kOk ? Answer::kOk : Answer::kOther;
  }
  // Behind what the queue itself keeps in a leased block.
  uint64_t* LastWord(LoanRef loan) const {
    return attachment().view().At<uint64_t>(loan->block.load() + kBlockBytes / 8 * 8 - 8);
  }

  std::shared_ptr<Ground> ground_;
  std::shared_ptr<PersistentTlsfAllocator> heap_;
  std::optional<QueueFactory> factory_;
  std::vector<queue::QueueHandle> queues_;
  std::map<uint64_t, Held> held_;
};

std::string Audit(const shm::Segment& segment) {
  shm::Findings findings;
  shm::Holders holders;
  shm::RootNames names(segment, shm::ComponentId::kQueue);
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  queue::AuditQueues(segment, names, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  queue::CollectQueueHolders(segment, names, holders, findings);
  alloc::AuditHolders(segment, holders, findings);
  return findings.empty() ? "" : findings.ToString();
}

}  // namespace

Subject QueueSubject() {
  std::vector<shm::RootRequest> roots = PersistentTlsfAllocator::Roots();
  for (uint64_t i = 0; i < kQueues; ++i) {
    roots.insert(roots.end() - 1, *QueueFactory::Root(NameOf(i), OptionsOf(i)));
  }
  return {roots,
          [](std::shared_ptr<shm::Attachment> attachment) {
            return std::make_unique<QueueAgent>(std::move(attachment));
          },
          Audit};
}

ChannelModel QueueModel() {
  ChannelModel model;
  model.channels[0] = {.acknowledged = true, .capacity = 2};
  model.channels[1] = {.acknowledged = false, .capacity = 4, .in_blocks = false};
  model.channels[2] = {.acknowledged = false, .capacity = 2};
  return model;
}

}  // namespace thole::proptests
