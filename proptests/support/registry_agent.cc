// A participant that gives names to buffers, and uses what others named.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "registry_laws.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/registry/audit.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/audit.h"

namespace thole::proptests {
namespace {

using alloc::PersistentTlsfAllocator;
using registry::BufferHandle;
using registry::SharedBufferRegistry;

std::string NameOf(uint64_t name) { return "name " + std::to_string(name); }

class RegistryAgent final : public Agent {
 public:
  explicit RegistryAgent(const std::shared_ptr<shm::Attachment>& attachment) : Agent(attachment) {
    auto heap = PersistentTlsfAllocator::Open(attachment);
    if (!heap.ok()) std::abort();
    heap_ = *std::move(heap);
    auto registry = SharedBufferRegistry::Open(attachment, *heap_);
    if (!registry.ok()) std::abort();
    registry_ = *std::move(registry);
  }

  void Do(const Order& order, Reply& reply) override {
    switch (order.call) {
      case kLeave:
        return Answers(reply, attachment().Leave(Soon()));
      case kRecover:
        reply.words[0] = attachment().RepairAll();
        reply.answer = forked() && reply.words[0] == 0 ? Answer::kForked : Answer::kOk;
        break;
      case kCreateBuffer:
        Create(order, reply);
        break;
      case kAcquire:
        Acquire(order, reply);
        break;
      case kRelease:
        // A destructor leaves what the lock of a dead one keeps from it to the next call.
        reply.words[0] = *held_.at(order.words[0]).As<uint64_t>();
        held_.erase(order.words[0]);
        reply.answer = registry_->Sweep(Soon()) ? Answer::kOk : Answer::kOther;
        break;
      case kRemove:
        Answers(reply, registry_->Remove(NameOf(order.words[0]), Soon()));
        break;
      case kLookup:
        Lookup(order, reply);
        break;
      case kList:
        List(reply);
        break;
      default:
        reply.Break("no such call");
    }
    if (!forked()) reply.words[kBlocksWord] = heap_->Statistics().blocks_used;
  }

 private:
  bool forked() const { return attachment().forked(); }

  static void Answers(Reply& reply, const absl::Status& status) {
    reply.Say(status.ok() ? "" : status.ToString());
    if (status.ok()) {
      reply.answer = Answer::kOk;
    } else if (GetErrorKind(status) == ErrorKind::kForkedHandle) {
      reply.answer = Answer::kForked;
    } else if (absl::IsAlreadyExists(status)) {
      reply.answer = Answer::kExists;
    } else if (absl::IsNotFound(status)) {
      reply.answer = Answer::kNotFound;
    } else if (absl::IsResourceExhausted(status)) {
      reply.answer = Answer::kFull;
    }
  }
  void Create(const Order& order, Reply& reply) {
    registry::BufferOptions options;
    if (order.words[3] != 0) options.lifetime = registry::Lifetime::kEphemeral;
    auto made = registry_->Create(NameOf(order.words[0]), order.words[2], options, Soon());
    Answers(reply, made.status());
    if (!made.ok()) return;
    const auto bytes = made->bytes();
    if (!std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; })) {
      reply.Break("a new buffer is all zero");
    }
    *made->As<uint64_t>() = reply.words[0] = order.words[1];
    held_[order.words[1]] = *std::move(made);
  }
  void Acquire(const Order& order, Reply& reply) {
    auto handle = registry_->Acquire(NameOf(order.words[0]), 0, 0, Soon());
    Answers(reply, handle.status());
    if (!handle.ok()) return;
    reply.words[0] = *handle->As<uint64_t>();
    reply.words[1] = handle->size();
    held_[order.words[1]] = *std::move(handle);
  }
  void Lookup(const Order& order, Reply& reply) {
    const auto info = registry_->Lookup(NameOf(order.words[0]));
    Answers(reply, info.status());
    if (!info.ok()) return;
    reply.words[0] = info->holders;
    reply.words[1] = info->size_bytes;
    reply.words[2] = info->ephemeral ? 1 : 0;
  }
  void List(Reply& reply) {
    const auto list = registry_->List();
    reply.answer = forked() && list.empty() ? Answer::kForked : Answer::kOk;
    reply.words[0] = list.size();
    std::vector<uint64_t> words;
    for (const registry::BufferInfo& info : list) {
      words.push_back(ListedEntry(static_cast<uint64_t>(info.name.back() - '0'), info.size_bytes,
                                  info.holders, info.state != registry::EntryState::kLive,
                                  info.ephemeral));
    }
    std::sort(words.begin(), words.end());
    words.resize(std::min(words.size(), RegistryModel::kEntriesMax));
    std::copy(words.begin(), words.end(), reply.words + kListWord);
  }

  std::shared_ptr<PersistentTlsfAllocator> heap_;
  std::shared_ptr<SharedBufferRegistry> registry_;
  std::map<uint64_t, BufferHandle> held_;
};

std::string Audit(const shm::Segment& segment) {
  shm::Findings findings;
  shm::Holders holders;
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  registry::AuditRegistry(segment, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  registry::CollectRegistryHolders(segment, holders, findings);
  alloc::AuditHolders(segment, holders, findings);
  return findings.empty() ? "" : findings.ToString();
}

}  // namespace

Subject RegistrySubject() {
  std::vector<shm::RootRequest> roots = PersistentTlsfAllocator::Roots();
  roots.insert(roots.end() - 1,
               SharedBufferRegistry::Root({.entries_max = RegistryModel::kEntriesMax},
                                          kSegment.participants_max));
  return {roots,
          [](std::shared_ptr<shm::Attachment> attachment) {
            return std::make_unique<RegistryAgent>(std::move(attachment));
          },
          Audit};
}

}  // namespace thole::proptests
