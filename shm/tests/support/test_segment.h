// Segments for tests: names of their own, a root of plain words, attachments that must succeed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "child.h"
#include "thole/shm/attachment.h"
#include "thole/shm/audit.h"
#include "thole/shm/crc32c.h"
#include "thole/shm/segment.h"

namespace thole::shm {

/// A name that nobody else uses; what stands under it goes with it.
class TestName {
 public:
  TestName() : owner_(getpid()), name_(Prefix() + std::to_string(Next()++)) {}
  ~TestName() {
    if (getpid() == owner_) (void)Segment::Remove(place());
  }
  TestName(const TestName&) = delete;
  TestName& operator=(const TestName&) = delete;

  static std::string Prefix() { return "shm-test-" + std::to_string(getpid()) + "-"; }
  const std::string& text() const { return name_; }
  Place place() const { return Place::Named(name_); }
  /// The file behind the name.
  std::string path() const { return "/dev/shm/thole." + name_; }

 private:
  static int& Next() {
    static int next = 0;
    return next;
  }
  pid_t owner_;
  std::string name_;
};

inline constexpr uint16_t kWordsKind = 1;
inline constexpr uint64_t kWords = 64;

/// A root of kWords words that belongs to `component`.
inline RootRequest WordsRoot(ComponentId component = ComponentId::kShm) {
  RootRequest request{};
  request.component = component;
  request.kind = kWordsKind;
  request.size_bytes = kWords * sizeof(Word64);
  request.name = "words";
  return request;
}

inline SegmentOptions SmallOptions(uint32_t participants = 6, uint32_t lanes = 2) {
  SegmentOptions options;
  options.size_bytes = kSegmentBytesMin;
  options.participants_max = participants;
  options.lanes_per_participant = lanes;
  return options;
}

inline Segment MakeSegment(const Place& place, const SegmentOptions& options = SmallOptions(),
                           ComponentId component = ComponentId::kShm) {
  const std::vector<RootRequest> roots{WordsRoot(component)};
  auto segment = Segment::Create(place, options, roots);
  if (!segment.ok()) {
    std::fprintf(stderr, "%s\n", segment.status().ToString().c_str());
    std::abort();
  }
  return *std::move(segment);
}

inline Segment OpenSegment(const Place& place, bool read_only = false) {
  OpenOptions options;
  options.read_only = read_only;
  auto segment = Segment::Open(place, options);
  if (!segment.ok()) {
    std::fprintf(stderr, "%s\n", segment.status().ToString().c_str());
    std::abort();
  }
  return *std::move(segment);
}

/// An attachment of its own that has no seat yet.
inline std::shared_ptr<Attachment> MakeAttachment(const Place& place,
                                                  std::unique_ptr<Platform> platform = nullptr) {
  auto attachment = Attachment::Make(OpenSegment(place), std::move(platform));
  if (!attachment.ok()) {
    std::fprintf(stderr, "%s\n", attachment.status().ToString().c_str());
    std::abort();
  }
  return *std::move(attachment);
}

inline std::shared_ptr<Attachment> JoinedAttachment(const Place& place,
                                                    std::unique_ptr<Platform> platform = nullptr) {
  auto attachment = MakeAttachment(place, std::move(platform));
  if (auto joined = attachment->Join("test"); !joined.ok()) {
    std::fprintf(stderr, "%s\n", joined.ToString().c_str());
    std::abort();
  }
  return attachment;
}

/// The words of the root above.
inline Word64* WordsOf(const Segment& segment, ComponentId component = ComponentId::kShm) {
  const auto root = segment.Root(component, kWordsKind);
  return root ? segment.view().Array<Word64>(root->offset, kWords) : nullptr;
}

template <class Word>
auto Get(const Word& word) {
  return word.load(std::memory_order_seq_cst);  // a test looks from outside
}
template <class Word, class Value>
void Put(Word& word, Value value) {
  word.store(value, std::memory_order_seq_cst);  // a test writes from outside
}

inline SlotWord WordOf(const Segment& segment, uint32_t slot) {
  return SlotWord::Unpack(Get(segment.Slot(slot)->word));
}
inline uint32_t SlotsInUse(const Segment& segment) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    used += WordOf(segment, i).state != SlotState::kFree;
  }
  return used;
}
/// The checksum that fits a header, as a hostile peer would write it.
inline uint64_t StaticCheckOf(const SegmentHeaderData& header) {
  uint32_t sum = Crc32c(&header, offsetof(SegmentHeaderData, boot_id));
  sum = Crc32c(&header.slots_offset, 3 * sizeof(uint64_t), sum);
  sum = Crc32c(header.lane_areas, sizeof header.lane_areas, sum);
  return Crc32c(header.roots, sizeof header.roots, sum);
}
inline std::string Audited(const Segment& segment) {
  Findings findings;
  AuditSegment(segment, findings);
  return findings.ToString();
}

/// Nothing of a test may stay: names, descriptors, mappings.
struct Belongings {
  std::vector<std::string> names;
  int descriptors = 0;
  int mappings = 0;
  static Belongings Now();
  friend bool operator==(const Belongings&, const Belongings&) = default;
  friend void PrintTo(const Belongings& what, std::ostream* out) {
    *out << what.names.size() << " names, " << what.descriptors << " descriptors, " << what.mappings
         << " mappings";
  }
};

}  // namespace thole::shm
