#include "test_names.h"

#include <cstring>

#include "thole/shm/transaction.h"

namespace thole::queue::testing {
namespace {

using shm::NamedPlace;
using shm::NameResult;

constexpr uint16_t kTableKind = 7;

struct PaddedName {
  uint64_t words[4] = {};
  explicit PaddedName(std::string_view name) {
    std::memcpy(words, name.data(), name.size() < 32 ? name.size() : 31);
  }
};

bool IsNamed(const TestNameData& entry, const PaddedName& name) {
  for (int i = 0; i < 4; ++i) {
    if (entry.name[i] != name.words[i]) return false;
  }
  return entry.offset != 0;
}

NamedPlace PlaceOf(const TestNameData& entry, uint32_t index) {
  return {.offset = entry.offset,
          .size_bytes = entry.size_bytes,
          .type_id = entry.type_id,
          .kind = static_cast<uint32_t>(entry.kind.load()),
          .index = index,
          .generation = 1};
}

}  // namespace

shm::RootRequest TestNames::Root() {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kQueue;
  root.kind = kTableKind;
  root.size_bytes = sizeof(TestNamesData);
  root.align = shm::kCacheLine;
  root.name = "table";
  return root;
}

TestNames::TestNames(const shm::Segment& segment) : roots_(segment, shm::ComponentId::kQueue) {
  if (const auto root = segment.Root(shm::ComponentId::kQueue, kTableKind)) {
    data_ = segment.view().At<TestNamesData>(root->offset);
  }
}

NameResult TestNames::Find(std::string_view name, NamedPlace& place) noexcept {
  const NameResult in_roots = roots_.Find(name, place);
  if (in_roots != NameResult::kNotFound || data_ == nullptr) return in_roots;
  const PaddedName padded(name);
  for (uint32_t i = 0; i < 4; ++i) {
    if (!IsNamed(data_->entries[i], padded)) continue;
    place = PlaceOf(data_->entries[i], i);
    return NameResult::kOk;
  }
  return NameResult::kNotFound;
}

NameResult TestNames::Publish(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                              NamedPlace& place, shm::Deadline deadline) noexcept {
  if (data_ == nullptr) return NameResult::kUnsupported;
  if (shm::Lock(lane, data_->lock, deadline) != shm::LockResult::kOk) return NameResult::kBusy;
  NamedPlace found;
  NameResult result = NameResult::kFull;
  if (Find(name, found) == NameResult::kOk) result = NameResult::kExists;
  for (uint32_t i = 0; i < 4 && result == NameResult::kFull; ++i) {
    TestNameData& entry = data_->entries[i];
    if (entry.offset != 0) continue;
    const PaddedName padded(name);
    shm::Transaction publish(lane);
    for (int word = 0; word < 4; ++word) publish.Set(entry.name[word], padded.words[word]);
    publish.Set(entry.size_bytes, place.size_bytes);
    publish.Set(entry.type_id, place.type_id);
    publish.Set(entry.kind, place.kind);
    publish.Set(entry.offset, place.offset);
    publish.Set(loan->block, 0);
    (void)publish.Commit();
    place.index = i;
    place.generation = 1;
    result = NameResult::kOk;
  }
  shm::Unlock(lane, data_->lock);
  return result;
}

void TestNames::ForEach(uint32_t kind, const std::function<void(const NamedPlace&)>& visit) {
  roots_.ForEach(kind, visit);
  for (uint32_t i = 0; data_ != nullptr && i < 4; ++i) {
    const TestNameData& entry = data_->entries[i];
    if (entry.offset != 0 && entry.kind == kind) visit(PlaceOf(entry, i));
  }
}

void TestNames::CollectHolders(shm::Holders& holders) const {
  for (uint32_t i = 0; data_ != nullptr && i < 4; ++i) {
    holders.Add(data_->entries[i].offset, "the table of names");
  }
}

}  // namespace thole::queue::testing
