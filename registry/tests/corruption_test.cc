// Any bytes in the registry's root lead to a result: no crash, no endless loop, a finding where the
// bytes cannot be.
#include <gtest/gtest.h>

#include <cstring>

#include "registry_world.h"
#include "thole/registry/audit.h"

namespace thole::registry {
namespace {

using shm::Deadline;
using shm::testing::Random;
using testing::Member;
using testing::Numbered;
using testing::TestHeap;

constexpr uint64_t kBytes = 48 << 10;
constexpr uint32_t kParticipants = 4;

// An image with entries in every state, and room to work in copies of it.
class Image {
 public:
  Image() : original_(kBytes / sizeof(Line)), copy_(kBytes / sizeof(Line)) {
    const std::vector<shm::RootRequest> roots = {
        SharedBufferRegistry::Root({.entries_max = 8}, kParticipants),
        TestHeap::Root(shm::kRestOfSegment)};
    auto made = shm::Segment::Create(
        shm::Place::Memory(copy_.data(), kBytes),
        {.size_bytes = kBytes, .participants_max = kParticipants, .lanes_per_participant = 1},
        roots);
    if (!made.ok()) {
      std::fprintf(stderr, "%s\n", std::string(made.status().message()).c_str());
      std::abort();
    }
    root_ = *made->Root(shm::ComponentId::kRegistry, kRegistryRoot);
    auto member = Join();
    for (uint64_t i = 0; i < 4; ++i) {
      (void)member->Keep(member->registry().Create(Numbered("n", i), 64));
    }
    (void)member->registry().Remove("n1");
    shm::NamedPlace queue;
    (void)member->PublishQueue("q", &queue);
    std::memcpy(original_.data(), copy_.data(), kBytes);
    member_ = std::move(member);
  }
  // The first member's handles must not touch the copies that follow.
  ~Image() { Reset(); }

  void Reset() { std::memcpy(copy_.data(), original_.data(), kBytes); }
  std::byte* root() { return copy_.front().bytes + root_.offset; }
  uint64_t root_bytes() const { return root_.size_bytes; }
  absl::StatusOr<shm::Segment> Open() {
    return shm::Segment::Open(shm::Place::Memory(copy_.data(), kBytes), {});
  }
  std::unique_ptr<Member> Join() {
    auto segment = Open();
    if (!segment.ok()) return nullptr;
    if (!RegistryTable::Make(*segment).ok()) return nullptr;
    auto attachment = shm::Attachment::Make(*std::move(segment), shm::MakePrivatePlatform());
    if (!attachment.ok()) return nullptr;
    auto member = std::make_unique<Member>(*attachment);
    return (*attachment)->Join("test").ok() ? std::move(member) : nullptr;
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> original_;
  std::vector<Line> copy_;
  shm::RootData root_;
  std::unique_ptr<Member> member_;  // whose handles and loans the image shows
};

uint64_t FindingsOf(Image& image) {
  auto segment = image.Open();
  if (!segment.ok()) return 1;
  shm::Findings findings;
  AuditRegistry(*segment, findings);
  shm::Holders holders;
  CollectRegistryHolders(*segment, holders, findings);
  return findings.count();
}

// Everything a user may call. Answers may be anything.
void UseAll(Image& image) {
  auto me = image.Join();
  if (me == nullptr) return;
  SharedBufferRegistry& registry = me->registry();
  const auto soon = [] { return Deadline::Now(); };
  for (uint64_t i = 0; i < 5; ++i) {
    const std::string name = Numbered("n", i);
    (void)registry.Lookup(name);
    auto handle = registry.Acquire(name, 0, 1, soon());
    if (handle.ok() && !handle->bytes().empty()) {
      (void)handle->bytes().front();
      (void)handle->bytes().back();
    }
  }
  (void)registry.Create("new", 64, {}, soon());
  (void)registry.List();
  (void)registry.entry_count();
  (void)registry.WaitFor("never", soon());
  for (uint64_t i = 0; i < 4; ++i) registry.Remove(Numbered("n", i), soon()).IgnoreError();
  shm::Call call = me->attachment().TryEnter(1);
  std::vector<shm::NamedPlace> queues;
  registry.ForEach(shm::kQueuePlace,
                   [&](const shm::NamedPlace& queue) { queues.push_back(queue); });
  for (const auto& queue : queues) {
    (void)registry.Hold(call.lane(), queue, soon());
    (void)registry.MarkRemoved(call.lane(), queue, soon());
    (void)registry.ReleaseHold(call.lane(), queue, soon());
    (void)registry.ClaimDying(call.lane(), queue, soon());
    const auto loan = me->attachment().TakeLoan(call.lane(), nullptr, soon());
    if (loan) (void)registry.FreeEntry(call.lane(), queue, loan, soon());
  }
  (void)registry.Sweep(soon());
}

TEST(RegistryCorruption, TheUndamagedImageIsClean) {
  Image image;
  EXPECT_EQ(FindingsOf(image), 0u);
  UseAll(image);
}

TEST(RegistryCorruption, EverySingleFlippedBitLeadsToAResult) {
  Image image;
  uint64_t found = 0;
  const uint64_t bits = image.root_bytes() * 8;
  for (uint64_t bit = 0; bit < bits; ++bit) {
    image.Reset();
    image.root()[bit / 8] ^= std::byte{1} << (bit % 8);
    if (FindingsOf(image) > 0) ++found;
    UseAll(image);
  }
  std::printf("%lu single-bit flips, the audit found %lu\n", bits, found);
  EXPECT_GT(found, 0u);
}

// The words that locate and decide: a flip in one of them is always found.
TEST(RegistryCorruption, TheAuditFindsEveryFlipThatMatters) {
  Image image;
  image.Reset();
  auto segment = image.Open();
  const auto table = RegistryTable::Make(*segment);
  ASSERT_TRUE(table.ok());
  for (uint32_t index = 0; index < table->entries_max(); ++index) {
    image.Reset();
    EntryData& entry = table->entry(index);
    const auto state = StateWord::Unpack(entry.state.load()).state;
    std::vector<shm::Word64*> words = {&entry.state, &entry.seen};
    if (state == EntryState::kLive) words.push_back(&entry.next);
    if (state != EntryState::kFree) {
      words.push_back(&entry.hash);
      words.push_back(&entry.kind_and_flags);
      for (auto& word : entry.name) words.push_back(&word);
    }
    for (shm::Word64* word : words) {
      for (int bit = 0; bit < 64; ++bit) {
        if (word == &entry.kind_and_flags && bit == 0) continue;  // ephemeral or not: both may be
        image.Reset();
        word->fetch_xor(uint64_t{1} << bit);
        EXPECT_GT(FindingsOf(image), 0u)
            << "entry " << index << " word at "
            << segment->view().OffsetOf(word) - table->EntryOffset(index) << " bit " << bit;
      }
    }
  }
  for (uint32_t bucket = 0; bucket < table->bucket_count(); ++bucket) {
    for (int bit = 0; bit < 64; ++bit) {
      image.Reset();
      table->bucket(bucket).fetch_xor(uint64_t{1} << bit);
      EXPECT_GT(FindingsOf(image), 0u) << "bucket " << bucket << " bit " << bit;
    }
  }
}

TEST(RegistryCorruption, RandomBytesLeadToAResult) {
  Image image;
  Random random(4711);
  for (int round = 0; round < 3000; ++round) {
    image.Reset();
    const bool keep_head = random.Chance(2);  // else hardly any image would get past the head
    const uint64_t from = keep_head ? sizeof(RegistryData) : 0;
    const uint64_t count = 1 + random.Below(40);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t words = (image.root_bytes() - from) / 8;
      const uint64_t at = from + random.Below(words) * 8;
      const uint64_t value = random.Chance(2) ? random.Next() : random.Below(16);
      std::memcpy(image.root() + at, &value, 8);
    }
    (void)FindingsOf(image);
    UseAll(image);
  }
}

TEST(RegistryCorruption, AChainThatBitesItsTailEnds) {
  Image image;
  auto segment = image.Open();
  const auto table = RegistryTable::Make(*segment);
  for (uint32_t index = 0; index < table->entries_max(); ++index) {
    image.Reset();
    EntryData& entry = table->entry(index);
    const auto now = StateWord::Unpack(entry.state.load());
    if (now.state != EntryState::kLive) continue;
    entry.next.store(LinkWord{now.generation, index + 1}.Pack());
    const RegistryReader reader(*table);
    shm::NamedPlace place;
    // A name of the same bucket that is not there.
    for (uint64_t i = 0;; ++i) {
      const std::string name = Numbered("other-", i);
      if (&table->bucket_of(HashName(PackName(name))) != &table->bucket_of(entry.hash.load())) {
        continue;
      }
      EXPECT_EQ(reader.Find(name, place), shm::NameResult::kCorrupt);
      break;
    }
    EXPECT_GT(FindingsOf(image), 0u);
    UseAll(image);
  }
}

}  // namespace
}  // namespace thole::registry
