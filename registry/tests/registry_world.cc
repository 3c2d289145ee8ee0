#include "registry_world.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "thole/registry/audit.h"
#include "thole/shm/audit.h"

namespace thole::registry::testing {
namespace {

using shm::Deadline;
using shm::NameResult;

template <class T>
T Must(absl::StatusOr<T> result, const char* what) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s: %s\n", what, std::string(result.status().message()).c_str());
  std::abort();
}

std::vector<shm::RootRequest> RootsFor(uint32_t entries_max, uint32_t participants_max) {
  return {SharedBufferRegistry::Root({.entries_max = entries_max}, participants_max),
          TestHeap::Root(shm::kRestOfSegment)};
}

}  // namespace

Member::Member(std::shared_ptr<shm::Attachment> attachment) : attachment_(std::move(attachment)) {
  heap_ = TestHeap::Make(*attachment_);
  registry_ = Must(SharedBufferRegistry::Open(attachment_, *heap_), "open the registry");
}

bool Member::Keep(absl::StatusOr<BufferHandle> handle) {
  if (!handle.ok()) return false;
  handles_.push_back(*std::move(handle));
  return true;
}

bool Member::Keep(std::string_view name) { return Keep(registry_->Acquire(name)); }

NameResult Member::PublishQueue(std::string_view name, shm::NamedPlace* place) {
  shm::Call call = attachment_->Enter(1);
  const shm::LoanRef loan = attachment_->TakeLoan(call.lane(), heap_.get(), Deadline::Never());
  if (!loan) return NameResult::kFull;
  if (heap_->AllocateTo(call.lane(), loan, 64, 64, Deadline::Never()) != shm::BlockResult::kOk) {
    attachment_->loans().Return(loan);
    return NameResult::kFull;
  }
  place->kind = shm::kQueuePlace;
  place->size_bytes = 64;
  place->type_id = 5;
  const NameResult result = registry_->Publish(call.lane(), loan, name, *place, Deadline::Never());
  if (result != NameResult::kOk) {
    (void)heap_->FreeLoan(call.lane(), loan, Deadline::Never());
  }
  attachment_->loans().Return(loan);
  return result;
}

shm::NamedPlace Member::PlaceOf(std::string_view name) {
  shm::NamedPlace place;
  (void)registry_->Find(name, place);
  return place;
}

void AuditAll(const shm::Segment& segment, shm::Findings& findings) {
  AuditSegment(segment, findings);
  AuditRegistry(segment, findings);
  shm::Holders holders;
  CollectLoanHolders(segment, holders, findings);
  CollectRegistryHolders(segment, holders, findings);
  TestHeap::Audit(segment, holders, findings);
  const auto table = RegistryTable::Make(segment);
  if (!table.ok()) return;
  if (table->data().lock.word.load() != 0) findings.Add("quiet", 0, "the registry is locked");
  if (table->data().unsettled.load() != 0) findings.Add("quiet", 0, "an entry is unsettled");
}

std::vector<shm::RootRequest> RegistryWorld::Roots() const {
  return RootsFor(entries_max_, options().participants_max);
}

std::unique_ptr<shm::testing::Process> RegistryWorld::MakeProcess(
    std::shared_ptr<shm::Attachment> attachment) {
  return std::make_unique<RegistryProcess>(std::move(attachment));
}

void RegistryWorld::Audit(shm::testing::Process& survivor, shm::Findings& findings) {
  Member& member = MemberOf(survivor);
  const shm::Segment& segment = survivor.attachment().segment();
  AuditAll(segment, findings);
  if (!findings.empty()) return;
  // It still works, and gives everything back.
  SharedBufferRegistry& registry = member.registry();
  const Deadline soon = shm::testing::In(survivor, std::chrono::seconds(1));
  if (!registry.Sweep(soon)) findings.Add("works", 0, "the leftovers cannot be swept");
  const uint64_t used = member.heap().used_bytes();
  auto made = registry.Create("the survivor's", 100, {}, soon);
  if (made.ok()) {
    auto again = registry.Create("the survivor's", 100, {}, soon);
    if (!absl::IsAlreadyExists(again.status())) findings.Add("works", 0, "created twice");
    if (!registry.Remove("the survivor's", soon).ok()) findings.Add("works", 0, "not removable");
    made->Release();
  } else if (!absl::IsResourceExhausted(made.status())) {
    findings.Add("works", 0, "no buffer: " + std::string(made.status().message()));
  }
  if (member.heap().used_bytes() != used) findings.Add("works", 0, "leaked");
  AuditAll(segment, findings);
}

NamedSegment::NamedSegment(uint32_t entries_max, uint32_t participants_max, uint64_t size_bytes) {
  static std::atomic<int> number{0};
  name_ = "registry-test-" + std::to_string(getpid()) + "-" + std::to_string(number.fetch_add(1));
  (void)shm::Segment::Remove(shm::Place::Named(name_));
  const auto roots = RootsFor(entries_max, participants_max);
  (void)Must(shm::Segment::Create(shm::Place::Named(name_),
                                  {.size_bytes = size_bytes,
                                   .participants_max = participants_max,
                                   .lanes_per_participant = 4},
                                  roots),
             "create the segment");
}

NamedSegment::~NamedSegment() { (void)shm::Segment::Remove(shm::Place::Named(name_)); }

std::unique_ptr<Member> NamedSegment::Join() const {
  auto segment = Must(shm::Segment::Open(shm::Place::Named(name_), {}), "open the segment");
  auto attachment = Must(shm::Attachment::Make(std::move(segment)), "attach");
  auto member = std::make_unique<Member>(attachment);
  const absl::Status joined = attachment->Join("test");
  if (joined.ok()) return member;
  std::fprintf(stderr, "join: %s\n", std::string(joined.message()).c_str());
  std::abort();
}

shm::Segment NamedSegment::OpenReadOnly() const {
  return Must(shm::Segment::Open(shm::Place::Named(name_), {.read_only = true}), "open");
}

}  // namespace thole::registry::testing
