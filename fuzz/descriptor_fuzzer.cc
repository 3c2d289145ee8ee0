// Any descriptor in a channel's queue: a peer pushes it through the queue's own interface, past
// comm, and a receiver of comm takes it. It gets bytes of that block, or an error.
//
// Input: a byte that chooses the channel, then for each message the size of its block and the words
// of its descriptor.
#include <cstring>

#include "support/byte_source.h"
#include "support/reference_image.h"
#include "thole/comm/audit.h"
#include "thole/queue/persistent_queue.h"
#include "thole/queue/queue_factory.h"

namespace {

using namespace thole;
using queue::MessageDescriptor;
using shm::Deadline;

constexpr uint32_t kMessagesMax = 4;
constexpr shm::CallId kCall = 1;

/// A participant that uses the parts of comm one by one.
struct Peer {
  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<alloc::PersistentTlsfAllocator> heap;
  std::shared_ptr<registry::SharedBufferRegistry> names;
  std::unique_ptr<queue::QueueFactory> factory;
};

Peer Join(std::shared_ptr<shm::Attachment> attachment) {
  Peer peer;
  peer.attachment = std::move(attachment);
  peer.heap = *alloc::PersistentTlsfAllocator::Open(peer.attachment);
  peer.names = *registry::SharedBufferRegistry::Open(peer.attachment, *peer.heap);
  peer.factory = std::make_unique<queue::QueueFactory>(peer.attachment, *peer.names, &*peer.heap);
  return peer;
}

void PushOne(Peer& peer, const queue::PersistentQueue<MessageDescriptor>& messages,
             fuzz::ByteSource& input) {
  shm::Call call = peer.attachment->Enter(kCall);
  const shm::LoanRef loan = peer.attachment->TakeLoan(call.lane(), &*peer.heap, Deadline::Now());
  if (!loan) return;
  const uint64_t bytes = 1 + input.Size(10);
  if (peer.heap->AllocateTo(call.lane(), loan, bytes, 64, Deadline::Now()) !=
      shm::BlockResult::kOk) {
    return peer.attachment->loans().Return(loan);
  }
  uint64_t words[queue::kDescriptorWords];
  for (uint64_t& word : words)
    word = input.Byte() % 2 == 0 ? input.Size(24) : input.Number<uint64_t>();
  MessageDescriptor descriptor;
  std::memcpy(static_cast<void*>(&descriptor), words, sizeof(descriptor));  // local to local
  descriptor.block = loan->block.load(std::memory_order_relaxed);           // own loan
  if (messages.TryPush(call.lane(), descriptor, loan) != queue::PushResult::kOk) {
    (void)peer.heap->FreeLoan(call.lane(), loan, Deadline::Now());
  }
  peer.attachment->loans().Return(loan);
}

void ReceiveAll(UnifiedCommunicationSystem& system, const char* channel) {
  for (uint32_t i = 0; i < 2 * kMessagesMax; ++i) {
    auto message = system.TryReceive(channel);
    if (!message.ok()) continue;  // that one was refused
    uint64_t sum = message->type() + message->source() + message->sequence() +
                   message->timestamp_ns() + message->correlation();
    for (const std::byte value : message->bytes()) sum += static_cast<uint64_t>(value);
    if (sum % 2 == 0) (void)message->Ack().ok();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::ReferenceStage stage;
  fuzz::ByteSource input(data, size);
  const auto kernel = stage.Begin();
  auto system = stage.image().Open(kernel);
  if (!system.ok()) std::abort();
  const char* channel = input.Byte() % 2 == 0 ? "jobs" : "plain";
  ReceiveAll(*system, channel);  // make room
  ReceiveAll(*system, "jobs");
  {
    Peer peer = Join(*stage.image().Attach(kernel));
    if (!peer.attachment->Join("peer").ok()) std::abort();
    auto handle = peer.factory->ConnectHandle(channel, nullptr, false);
    if (!handle.ok()) std::abort();
    const queue::PersistentQueue<MessageDescriptor> messages(*std::move(handle));
    for (uint32_t i = 0; i < kMessagesMax && !input.empty(); ++i) PushOne(peer, messages, input);
    // Before the names and the heap go, which the queue's part of leaving asks.
    if (!peer.attachment->Leave(Deadline::Now()).ok()) peer.attachment->Abandon();
  }
  ReceiveAll(*system, channel);
  (void)comm::AuditSystem(system->attachment()->segment());
  return 0;
}
