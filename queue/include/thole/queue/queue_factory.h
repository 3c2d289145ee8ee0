// QueueFactory: makes queues and connects to them by name.
//
//   #include <thole/queue/queue_factory.h>
//   // A queue laid out when the segment is made; needs neither heap nor registry.
//   absl::Status Example() {
//     namespace shm = thole::shm;
//     using thole::queue::QueueFactory;
//     auto root = QueueFactory::Root("numbers", {.capacity = 64, .element_bytes = 8});
//     if (!root.ok()) return root.status();
//     const std::vector<shm::RootRequest> roots = {*root};
//     auto segment = shm::Segment::Create(shm::Place::Named("demo"), {}, roots);
//     if (!segment.ok()) return segment.status();
//     auto attachment = shm::Attachment::Make(*std::move(segment));
//     if (!attachment.ok()) return attachment.status();
//     shm::RootNames names((*attachment)->segment(), shm::ComponentId::kQueue);
//     QueueFactory factory(*attachment, names, nullptr);  // registers the repair
//     if (auto joined = (*attachment)->Join("example"); !joined.ok()) return joined;
//     auto queue = factory.Connect<uint64_t>("numbers");
//     if (!queue.ok()) return queue.status();
//     (void)queue->TryPush(42);
//     return (*attachment)->Leave(shm::Deadline::Never());
//   }
//
//   step      dies after                           recovered by
//   create.1  block in the loan, not formatted     alloc: the loan is freed
//   create.2  formatted, no name yet               the same
//   create.3  COMMIT (of the names): it has a name nothing: the queue is there
//   connect.1 COMMIT: holder bit set               repair clears it
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "thole/queue/persistent_queue.h"
#include "thole/queue/queue_options.h"
#include "thole/shm/attachment.h"
#include "thole/shm/block_source.h"
#include "thole/shm/name_source.h"
#include "thole/shm/segment.h"

namespace thole::queue {

/// Thread-safe. Registers one RepairPart (kQueue) with the attachment, which must not have joined
/// yet; make one factory per attachment. `names` and `heap` must outlive the attachment. Create and
/// Connect want an attachment that joined.
class QueueFactory {
 public:
  /// `heap` null: only connecting to queues that exist.
  QueueFactory(std::shared_ptr<shm::Attachment> attachment, shm::NameSource& names,
               shm::BlockSource* heap);

  /// A queue to be laid out when the segment is made (see RootNames).
  static absl::StatusOr<shm::RootRequest> Root(std::string_view name, const QueueOptions& options);

  /// AlreadyExists, InvalidArgument (name, options), ResourceExhausted, FailedPrecondition (no
  /// heap, not joined, forked), DeadlineExceeded.
  absl::StatusOr<QueueHandle> CreateHandle(std::string_view name, const QueueOptions& options,
                                           shm::Deadline deadline = DefaultDeadline());
  /// NotFound; InvalidArgument when the name stands for something else or for other elements. Of
  /// `expected` (null: nothing) the element's size and kind are compared, the type id if not 0, and
  /// leased or not if wanted.
  absl::StatusOr<QueueHandle> ConnectHandle(std::string_view name, const QueueOptions* expected,
                                            bool compare_leased,
                                            shm::Deadline deadline = DefaultDeadline());
  /// Whichever fits; who loses a race of two creators gets the winner's. The capacity of a queue
  /// that exists stays what it is.
  absl::StatusOr<QueueHandle> OpenOrCreateHandle(std::string_view name, const QueueOptions& options,
                                                 shm::Deadline deadline = DefaultDeadline());

  template <class T>
  absl::StatusOr<PersistentQueue<T>> Create(std::string_view name, QueueOptions options = {}) {
    return Typed<T>(CreateHandle(name, For<T>(options)));
  }
  /// `type_id` 0 = not compared. Leased or not is the queue's affair.
  template <class T>
  absl::StatusOr<PersistentQueue<T>> Connect(std::string_view name, uint64_t type_id = 0) {
    const QueueOptions expected = For<T>({.type_id = type_id});
    return Typed<T>(ConnectHandle(name, &expected, false));
  }
  template <class T>
  absl::StatusOr<PersistentQueue<T>> OpenOrCreate(std::string_view name,
                                                  QueueOptions options = {}) {
    return Typed<T>(OpenOrCreateHandle(name, For<T>(options)));
  }

  /// `options` with the element's size and kind filled in.
  template <class T>
  static QueueOptions For(QueueOptions options) {
    options.element_bytes = sizeof(T);
    options.descriptors = kCarriesBlock<T>;
    return options;
  }

 private:
  static shm::Deadline DefaultDeadline() { return shm::Deadline::In(std::chrono::seconds(5)); }
  template <class T>
  static absl::StatusOr<PersistentQueue<T>> Typed(absl::StatusOr<QueueHandle> handle) {
    if (!handle.ok()) return handle.status();
    return PersistentQueue<T>(*std::move(handle));
  }
  absl::Status Ready() const;
  QueueHandle HandleOf(const QueueRing& ring) const;
  absl::Status Publish(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                       const QueueOptions& options, uint64_t bytes, shm::NamedPlace& place,
                       shm::Deadline deadline);

  std::shared_ptr<shm::Attachment> attachment_;
  shm::NameSource& names_;
  shm::BlockSource* heap_;
};

}  // namespace thole::queue
