// What the tests of the registry stand on: a segment with a TestHeap and a registry, and somebody
// who is attached to it, in a real process or in a simulated one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test_heap.h"
#include "thole/registry/shared_buffer_registry.h"
#include "thole/shm/testing/scenario.h"

namespace thole::registry::testing {

/// Heap and registry on one attachment, with the handles it has.
class Member {
 public:
  /// Before the attachment joins. Aborts when the registry cannot be opened.
  explicit Member(std::shared_ptr<shm::Attachment> attachment);

  shm::Attachment& attachment() { return *attachment_; }
  TestHeap& heap() { return *heap_; }
  SharedBufferRegistry& registry() { return *registry_; }
  const std::shared_ptr<SharedBufferRegistry>& shared_registry() { return registry_; }
  RegistryData& data() { return registry_->reader().table().data(); }

  /// Acquires and keeps the handle. False when there is none.
  bool Keep(std::string_view name);
  bool Keep(absl::StatusOr<BufferHandle> handle);
  std::vector<BufferHandle>& handles() { return handles_; }
  /// A queue's worth of block under a name, held by this participant.
  shm::NameResult PublishQueue(std::string_view name, shm::NamedPlace* place);
  shm::NamedPlace PlaceOf(std::string_view name);

 private:
  std::shared_ptr<shm::Attachment> attachment_;
  std::shared_ptr<TestHeap> heap_;
  std::shared_ptr<SharedBufferRegistry> registry_;
  std::vector<BufferHandle> handles_;
};

/// "n7".
inline std::string Numbered(std::string_view stem, uint64_t number) {
  return std::string(stem).append(std::to_string(number));
}

/// Every audit there is, of a quiet segment. `settled`: nobody is inside a call.
void AuditAll(const shm::Segment& segment, shm::Findings& findings);

class RegistryProcess final : public shm::testing::Process {
 public:
  explicit RegistryProcess(std::shared_ptr<shm::Attachment> attachment)
      : Process(attachment), member_(std::move(attachment)) {}
  Member& member() { return member_; }

 private:
  Member member_;
};

class RegistryWorld final : public shm::testing::World {
 public:
  explicit RegistryWorld(uint32_t entries_max = 6) : entries_max_(entries_max) {}
  uint64_t segment_bytes() const override { return 96 << 10; }
  std::vector<shm::RootRequest> Roots() const override;
  std::unique_ptr<shm::testing::Process> MakeProcess(
      std::shared_ptr<shm::Attachment> attachment) override;
  void Audit(shm::testing::Process& survivor, shm::Findings& findings) override;

  // The ledger of a program: outside of the segment, it survives everybody.
  std::map<std::string, int> created;
  std::map<std::string, int> refused;
  shm::Word64 nowhere{0};          // stands for bytes that a damaged entry does not give
  std::vector<std::string> wrong;  // what a process saw that cannot be

 private:
  uint32_t entries_max_;
};

inline Member& MemberOf(shm::testing::Process& process) {
  return static_cast<RegistryProcess&>(process).member();
}

/// A real segment in /dev/shm that goes with the object.
class NamedSegment {
 public:
  explicit NamedSegment(uint32_t entries_max = 64, uint32_t participants_max = 16,
                        uint64_t size_bytes = 4 << 20);
  ~NamedSegment();
  NamedSegment(const NamedSegment&) = delete;
  NamedSegment& operator=(const NamedSegment&) = delete;
  /// Opens it and joins. Works in any process.
  std::unique_ptr<Member> Join() const;
  shm::Segment OpenReadOnly() const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

}  // namespace thole::registry::testing
