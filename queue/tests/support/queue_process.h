// What a process of a queue test has: names, pool, factory and handles over one attachment, whether
// it is simulated or real.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "test_names.h"
#include "test_pool.h"
#include "thole/queue/audit.h"
#include "thole/queue/queue_factory.h"
#include "thole/shm/attachment.h"
#include "thole/shm/audit.h"

namespace thole::queue::testing {

/// 56 bytes with a check: a torn or stale payload shows.
struct Item {
  uint64_t id;
  uint64_t check[6];
  static Item Of(uint64_t id) {
    Item item{id, {}};
    for (uint64_t i = 0; i < 6; ++i) item.check[i] = ~id + i;
    return item;
  }
  bool intact() const {
    for (uint64_t i = 0; i < 6; ++i) {
      if (check[i] != ~id + i) return false;
    }
    return true;
  }
};

struct QueueShape {
  std::string name;
  QueueOptions options;
};
inline QueueOptions Inline(uint32_t capacity, uint64_t first_ticket = 0) {
  QueueOptions options = QueueFactory::For<Item>({.capacity = capacity});
  options.first_ticket = first_ticket;
  return options;
}
inline QueueOptions Blocks(uint32_t capacity, bool leased, uint64_t first_ticket = 0) {
  QueueOptions options = QueueFactory::For<MessageDescriptor>({.capacity = capacity});
  options.leased = leased;
  options.first_ticket = first_ticket;
  return options;
}

/// The pool and these queues, in this order.
inline std::vector<shm::RootRequest> RootsOf(const std::vector<QueueShape>& shapes) {
  std::vector<shm::RootRequest> roots = {TestPool::Root()};
  for (const QueueShape& shape : shapes) {
    roots.push_back(*QueueFactory::Root(shape.name, shape.options));
  }
  return roots;
}

/// Registers everything; the attachment has not joined yet.
class QueueProcess {
 public:
  explicit QueueProcess(std::shared_ptr<shm::Attachment> attachment)
      : attachment_(std::move(attachment)), part_(std::make_shared<Part>(attachment_->segment())) {
    factory_.emplace(attachment_, part_->names, &part_->pool);
    for (const auto& part : part_->pool.RepairParts()) attachment_->Register(part);
    attachment_->Register(part_);
  }
  /// After Join.
  void Connect(const std::vector<QueueShape>& shapes) {
    for (const QueueShape& shape : shapes) {
      auto handle = factory_->ConnectHandle(shape.name, &shape.options, true);
      if (!handle.ok()) {
        std::fprintf(stderr, "%s\n", handle.status().ToString().c_str());
        std::abort();
      }
      handles_.push_back(*handle);
    }
  }
  const QueueHandle& handle(size_t i = 0) const { return handles_[i]; }
  PersistentQueue<Item> items(size_t i = 0) const { return PersistentQueue<Item>(handles_[i]); }
  PersistentQueue<MessageDescriptor> messages(size_t i = 0) const {
    return PersistentQueue<MessageDescriptor>(handles_[i]);
  }
  TestPool& pool() const { return part_->pool; }
  TestNames& names() const { return part_->names; }
  QueueFactory& factory() { return *factory_; }
  shm::Attachment& attachment() const { return *attachment_; }

  /// Structure of all queues, and one holder for every block of the pool.
  void Audit(shm::Findings& findings) const {
    const shm::Segment& segment = attachment_->segment();
    AuditQueues(segment, part_->names, findings);
    shm::Holders holders;
    shm::CollectLoanHolders(segment, holders, findings);
    part_->names.CollectHolders(holders);
    CollectQueueHolders(segment, part_->names, holders, findings);
    part_->pool.Audit(holders, findings);
  }

 private:
  // Lives as long as the attachment: names and pool are used while it leaves.
  struct Part final : shm::RepairPart {
    explicit Part(const shm::Segment& segment) : names(segment), pool(segment) {}
    shm::RepairStep step() const override { return shm::RepairStep::kComm; }
    shm::RepairOutcome Repair(shm::DeadParticipant&) override { return shm::RepairOutcome::kDone; }
    TestNames names;
    TestPool pool;
  };

  std::shared_ptr<shm::Attachment> attachment_;
  std::shared_ptr<Part> part_;
  std::optional<QueueFactory> factory_;
  std::vector<QueueHandle> handles_;
};

}  // namespace thole::queue::testing
