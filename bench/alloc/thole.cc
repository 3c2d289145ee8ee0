#include "thole.h"

namespace thole::bench {
namespace {

constexpr uint16_t kLoansRoot = 11;

/// The loans of the workers, in order.
struct LoansData {
  shm::LoanData loans[kWorkersMax][kLiveMax];
};

shm::Segment NewSegment(uint64_t heap_bytes) {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kShm;  // nobody's repair waits for it
  root.kind = kLoansRoot;
  root.size_bytes = sizeof(LoansData);
  root.align = shm::kCacheLine;
  root.name = "loans";
  auto roots = alloc::PersistentTlsfAllocator::Roots();
  roots.insert(roots.begin() + 1, root);
  return Must(shm::Segment::Create(shm::Place::Descriptor(), {.size_bytes = heap_bytes}, roots));
}

}  // namespace

Thole::Thole(const Options& options, uint64_t heap_bytes)
    : segment_(NewSegment(heap_bytes)),
      heap_options_{.batch = options.batch},
      file_(segment_.file()) {}

Thole::Worker::Worker(const Thole& system, uint32_t index)
    : attachment_(Must(shm::Attachment::Make(
          Must(shm::Segment::Open(shm::Place::Descriptor(system.file_), {}))))),
      heap_(Must(alloc::PersistentTlsfAllocator::Open(attachment_, system.heap_options_))) {
  Must(attachment_->Join("bench"));
  const auto root = attachment_->segment().Root(shm::ComponentId::kShm, kLoansRoot);
  Check(root.has_value(), "the segment has no loans");
  loans_ = attachment_->view().At<LoansData>(root->offset)->loans[index];
  call_ = attachment_->Enter(1);
  lane_ = &call_.lane();
}

Thole::Worker::~Worker() {
  call_.End();
  Must(attachment_->Leave(shm::Deadline::Never()));
}

}  // namespace thole::bench

int main(int argc, char** argv) { return thole::bench::Main<thole::bench::Thole>(argc, argv); }
