#include "thole/comm/audit.h"

#include "thole/alloc/audit.h"
#include "thole/comm/inspect.h"
#include "thole/queue/audit.h"
#include "thole/registry/audit.h"
#include "thole/registry/registry_reader.h"
#include "thole/shm/audit.h"

namespace thole::comm {
namespace {

// The names of a segment in which we have no seat.
class ReaderNames final : public shm::NameSource {
 public:
  explicit ReaderNames(const registry::RegistryReader* reader) : reader_(reader) {}
  shm::NameResult Find(std::string_view name, shm::NamedPlace& place) noexcept override {
    return reader_ == nullptr ? shm::NameResult::kNotFound : reader_->Find(name, place);
  }
  shm::NameResult Publish(shm::Lane&, shm::LoanRef, std::string_view, shm::NamedPlace&,
                          shm::Deadline) noexcept override {
    return shm::NameResult::kUnsupported;
  }
  shm::NameResult Hold(shm::Lane&, const shm::NamedPlace&, shm::Deadline) noexcept override {
    return shm::NameResult::kUnsupported;
  }
  void ForEach(uint32_t kind, const std::function<void(const shm::NamedPlace&)>& visit) override {
    if (reader_ == nullptr) return;
    for (const registry::BufferInfo& entry : reader_->List()) {
      if (entry.kind == kind) visit(entry.place);
    }
  }

 private:
  const registry::RegistryReader* reader_;
};

}  // namespace

SystemAudit AuditSystem(const shm::Segment& segment) {
  SystemAudit audit;
  shm::Findings& findings = audit.findings;
  const auto reader = registry::RegistryReader::Make(segment);
  if (!reader.ok() && !absl::IsNotFound(reader.status())) {
    findings.Add("R1", 0, std::string(reader.status().message()));
  }
  ReaderNames names(reader.ok() ? &*reader : nullptr);
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  registry::AuditRegistry(segment, findings);
  queue::AuditQueues(segment, names, findings);

  shm::Holders holders;
  shm::CollectLoanHolders(segment, holders, findings);
  registry::CollectRegistryHolders(segment, holders, findings);
  queue::CollectQueueHolders(segment, names, holders, findings);
  alloc::AuditHolders(segment, holders, findings);

  if (const auto use = HeapUseOf(segment); use.ok()) audit.used_bytes = use->used_bytes;
  alloc::ForEachUsedBlock(segment, [&](uint64_t offset, uint64_t size_bytes) {
    const bool held = holders.by_block().contains(offset);
    (held ? audit.held_bytes : audit.orphan_bytes) += size_bytes;
  });
  return audit;
}

}  // namespace thole::comm
