// TestNames: the smallest NameSource that keeps the promise: the roots of the segment, and a table
// of four names that can be published. Stands in for registry, which queue does not know.
#pragma once

#include "thole/shm/findings.h"
#include "thole/shm/name_source.h"
#include "thole/shm/owner_lock.h"

namespace thole::queue::testing {

struct TestNameData {
  shm::Word64 name[4];  // zero-padded
  shm::Word64 offset;   // 0 = no entry
  shm::Word64 size_bytes;
  shm::Word64 type_id;
  shm::Word64 kind;
};
struct TestNamesData {
  shm::OwnerLockData lock;
  TestNameData entries[4];
};

class TestNames final : public shm::NameSource {
 public:
  static shm::RootRequest Root();
  explicit TestNames(const shm::Segment& segment);

  shm::NameResult Find(std::string_view name, shm::NamedPlace& place) noexcept override;
  shm::NameResult Publish(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                          shm::NamedPlace& place, shm::Deadline deadline) noexcept override;
  shm::NameResult Hold(shm::Lane&, const shm::NamedPlace&, shm::Deadline) noexcept override {
    return shm::NameResult::kOk;
  }
  void ForEach(uint32_t kind, const std::function<void(const shm::NamedPlace&)>& visit) override;
  void CollectHolders(shm::Holders& holders) const;

 private:
  shm::RootNames roots_;
  TestNamesData* data_ = nullptr;  // null: the roots only
};

}  // namespace thole::queue::testing
