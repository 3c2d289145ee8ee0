// Real processes that create, acquire, release and remove named buffers, each killed where the
// input says. Afterwards every name that nobody removed is there, whole, and when all are removed
// the heap is empty.
//
// Input: see ForkRun::Run; a program is a row of calls.
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/fork_run.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/registry/audit.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/audit.h"

namespace {

using namespace thole;
using fuzz::Broken;
using fuzz::ByteSource;
using registry::BufferHandle;
using registry::Lifetime;
using shm::Deadline;

constexpr uint32_t kCallsMax = 40;
constexpr uint32_t kNames = 5;
constexpr uint32_t kEphemeralName = 4;  // the last one goes with its last handle

struct Ledger {
  struct Name {
    fuzz::Count created, removing;
  };
  std::array<Name, kNames> names;
};
fuzz::SharedLedger<Ledger>& TheLedger() {
  static fuzz::SharedLedger<Ledger> ledger;
  return ledger;
}

std::string NameOf(uint32_t which) { return "name " + std::to_string(which); }
/// The size of a buffer follows from its name: every creator wants the same.
uint64_t SizeOf(uint32_t which) { return 100 + 400 * uint64_t{which}; }
std::byte MarkOf(uint32_t which) { return static_cast<std::byte>(0x40 + which); }

struct Participant {
  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<alloc::PersistentTlsfAllocator> heap;
  std::shared_ptr<registry::SharedBufferRegistry> buffers;
};

std::vector<shm::RootRequest> Roots() {
  std::vector<shm::RootRequest> roots = alloc::PersistentTlsfAllocator::Roots();
  const auto shape = shm::WithDefaults({}, shm::kSegmentBytesMin);
  roots.insert(roots.begin() + 1,
               registry::SharedBufferRegistry::Root({.entries_max = 4}, shape.participants_max));
  return roots;
}

Participant Open(int file) {
  auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
  if (!segment.ok()) Broken("open: " + segment.status().ToString());
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) Broken("attach: " + attachment.status().ToString());
  auto heap = alloc::PersistentTlsfAllocator::Open(*attachment);
  if (!heap.ok()) Broken("heap: " + heap.status().ToString());
  auto buffers = registry::SharedBufferRegistry::Open(*attachment, **heap);
  if (!buffers.ok()) Broken("registry: " + buffers.status().ToString());
  if (auto joined = (*attachment)->Join("fuzzer"); !joined.ok()) Broken(joined.ToString());
  return {*std::move(attachment), *std::move(heap), *std::move(buffers)};
}

void ExpectNoDamage(const absl::Status& status, const char* call) {
  if (absl::IsDataLoss(status) || absl::IsInternal(status) || absl::IsInvalidArgument(status)) {
    Broken(std::string(call) + ": " + status.ToString());
  }
}

class Child {
 public:
  explicit Child(Participant& participant) : participant_(participant) {}

  void Run(ByteSource& program) {
    for (uint32_t i = 0; i < kCallsMax && !program.empty(); ++i) Step(program);
  }

 private:
  void Step(ByteSource& program) {
    registry::SharedBufferRegistry& buffers = *participant_.buffers;
    const auto which = static_cast<uint32_t>(program.Below(kNames));
    switch (program.Below(8)) {
      case 0:
      case 1:
        return Create(which, /*open_too=*/false);
      case 2:
        return Create(which, /*open_too=*/true);
      case 3:
        return Keep(which, buffers.Acquire(NameOf(which), 0, SizeOf(which), Deadline::Now()));
      case 4:
        if (!held_.empty()) held_.erase(held_.begin() + static_cast<long>(which % held_.size()));
        return;
      case 5:
        TheLedger()->names[which].removing.Set(1);
        return ExpectNoDamage(buffers.Remove(NameOf(which), Deadline::Now()), "remove");
      case 6:
        (void)buffers.List();
        return ExpectNoDamage(buffers.Lookup(NameOf(which)).status(), "lookup");
      default:
        participant_.attachment->RepairAll();
        (void)buffers.Sweep(Deadline::Now());
    }
  }

  void Create(uint32_t which, bool open_too) {
    const registry::BufferOptions options{
        .lifetime = which == kEphemeralName ? Lifetime::kEphemeral : Lifetime::kPersistent};
    registry::SharedBufferRegistry& buffers = *participant_.buffers;
    auto made = open_too
                    ? buffers.OpenOrCreate(NameOf(which), SizeOf(which), options, Deadline::Now())
                    : buffers.Create(NameOf(which), SizeOf(which), options, Deadline::Now());
    if (made.ok()) TheLedger()->names[which].created.Set(1);
    Keep(which, std::move(made));
  }

  void Keep(uint32_t which, absl::StatusOr<BufferHandle> handle) {
    ExpectNoDamage(handle.status(), "a handle");
    if (!handle.ok()) return;
    // All zero, or what everybody writes: other bytes are another buffer's.
    for (std::byte& value : handle->bytes().first(SizeOf(which))) {
      if (value != std::byte{0} && value != MarkOf(which)) Broken("a buffer has foreign bytes");
      value = MarkOf(which);
    }
    held_.push_back(*std::move(handle));
  }

  Participant& participant_;
  std::vector<BufferHandle> held_;
};

void Audit(const shm::Segment& segment) {
  shm::Findings findings;
  shm::Holders holders;
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  registry::AuditRegistry(segment, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  registry::CollectRegistryHolders(segment, holders, findings);
  alloc::AuditHolders(segment, holders, findings);
  fuzz::ExpectNone(findings, "after the repair");
}

void CheckNames(const Participant& survivor) {
  for (uint32_t which = 0; which < kNames; ++which) {
    const auto found = survivor.buffers->Lookup(NameOf(which));
    ExpectNoDamage(found.status(), "the survivor's lookup");
    const Ledger::Name& name = TheLedger()->names[which];
    if (name.created && !name.removing && which != kEphemeralName && !found.ok()) {
      Broken(NameOf(which) + " was created, never removed, and is gone");
    }
    if (found.ok() && which == kEphemeralName) Broken("an ephemeral buffer outlives its holders");
    if (!found.ok()) continue;
    const auto removed = survivor.buffers->Remove(NameOf(which), Deadline::Now());
    if (!removed.ok()) Broken("the survivor cannot remove: " + removed.ToString());
  }
  const uint64_t used = survivor.heap->Statistics().used_bytes;
  if (used != 0) Broken(std::to_string(used) + " bytes belong to no name");
  if (survivor.buffers->entry_count() != 0) Broken("an entry belongs to no name");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<shm::RootRequest> roots = Roots();
  TheLedger().Clear();
  const shm::Segment segment = fuzz::NewForkSegment(roots);
  fuzz::ForkRun::Run(ByteSource(data, size), [&](uint32_t, ByteSource& program) {
    auto* participant = new Participant(Open(segment.file()));  // never destroyed: simply gone
    (new Child(*participant))->Run(program);
  });
  const Participant survivor = Open(segment.file());
  survivor.attachment->RepairAll();
  (void)survivor.buffers->Sweep(Deadline::Now());
  Audit(segment);
  CheckNames(survivor);
  Audit(segment);
  return 0;
}
