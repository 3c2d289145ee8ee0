// A participant that asks the heap. Blocks on the shelf are held by words of the segment and not by
// a participant: whoever dies, what its last call did to them can still be seen.
#include <cstdlib>
#include <map>

#include "heap_laws.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/shm/audit.h"

namespace thole::proptests {
namespace {

using alloc::PersistentTlsfAllocator;
using shm::BlockResult;
using shm::LoanRef;

constexpr uint16_t kShelfRoot = 7;
constexpr shm::CallId kCallId = 1;

struct ShelfData {
  shm::LoanData loans[kShelf];
  shm::Word64 filled[kShelf];  // so many bytes of the block carry the pattern of its place
};

shm::RootRequest ShelfRoot() {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kShm;  // nobody's repair waits for it
  root.kind = kShelfRoot;
  root.size_bytes = sizeof(ShelfData);
  root.align = shm::kCacheLine;
  root.name = "shelf";
  return root;
}

ShelfData& ShelfOf(const shm::Segment& segment) {
  const auto root = segment.Root(shm::ComponentId::kShm, kShelfRoot);
  return *segment.view().At<ShelfData>(root->offset);
}

Answer AnswerOf(BlockResult result) {
  switch (result) {
    case BlockResult::kOk:
      return Answer::kOk;
    case BlockResult::kFull:
      return Answer::kFull;
    case BlockResult::kTooLarge:
      return Answer::kTooLarge;
    case BlockResult::kInvalid:
      return Answer::kInvalid;
    default:
      return Answer::kOther;
  }
}

std::byte Pattern(uint64_t place, uint64_t at) {
  return static_cast<std::byte>(place * 37 + at * 11 + 1);
}

class HeapAgent final : public Agent {
 public:
  explicit HeapAgent(const std::shared_ptr<shm::Attachment>& attachment)
      : Agent(attachment), shelf_(ShelfOf(attachment->segment())) {
    auto heap = PersistentTlsfAllocator::Open(attachment);
    if (!heap.ok()) std::abort();
    heap_ = *std::move(heap);
  }

  void Do(const Order& order, Reply& reply) override {
    if (attachment().forked()) return DoForked(order, reply);
    reply.words[kLargestBefore] = heap_->Statistics().largest_free_bytes;
    switch (order.call) {
      case kLeave: {
        const absl::Status left = attachment().Leave(Soon());
        reply.Say(left.ok() ? "" : left.ToString());
        reply.answer = left.ok() ? Answer::kOk : Answer::kOther;
        return;
      }
      case kRecover:
        reply.answer = Answer::kOk;
        reply.words[0] = attachment().RepairAll();
        if (shm::Call call = attachment().Enter(kCallId, Soon())) {
          (void)heap_->Flush(call.lane(), Soon());
        }
        break;
      default:
        Use(order, reply);
    }
    const alloc::HeapStatistics heap = heap_->Statistics();
    reply.words[kUsed] = heap.used_bytes;
    reply.words[kFreeBytes] = heap.free_bytes;
    reply.words[kHeapBytes] = heap.heap_bytes;
    reply.words[kBlocksUsed] = heap.blocks_used;
    reply.words[kCached] = heap.cached_bytes;
    reply.words[kLargest] = heap.largest_free_bytes;
    for (uint64_t i = 0; i < kShelf; ++i) {
      reply.words[kShelfOffsets + i] = shelf_.loans[i].block.load();
      reply.words[kShelfSizes + i] = heap_->BlockSize(reply.words[kShelfOffsets + i]);
    }
  }

 private:
  // A lane is what every call needs, and what no child of fork gets.
  void DoForked(const Order& order, Reply& reply) {
    bool refused = !attachment().Enter(kCallId, Soon());
    if (order.call == kLeave) {
      refused = GetErrorKind(attachment().Leave(Soon())) == ErrorKind::kForkedHandle;
    }
    if (order.call == kRecover) refused = attachment().RepairAll() == 0;
    reply.answer = refused ? Answer::kForked : Answer::kOther;
  }
  LoanRef LoanOf(uint64_t place) {
    if (place < kShelf) return LoanRef(&shelf_.loans[place], 0, 0);
    const auto found = own_.find(place);
    return found == own_.end() ? LoanRef() : found->second.loan;
  }
  uint64_t FilledOf(uint64_t place) {
    return place < kShelf ? shelf_.filled[place].load() : own_.at(place).filled;
  }
  void SetFilled(uint64_t place, uint64_t bytes) {
    if (place < kShelf) {
      shelf_.filled[place] = bytes;
    } else {
      own_.at(place).filled = bytes;
    }
  }
  bool Intact(uint64_t place) {
    const std::byte* bytes = BytesOf(place);
    const uint64_t filled = FilledOf(place);
    if (heap_->BlockSize(LoanOf(place)->block.load()) < filled) return false;
    for (uint64_t i = 0; i < filled; ++i) {
      if (bytes[i] != Pattern(place, i)) return false;
    }
    return true;
  }
  std::byte* BytesOf(uint64_t place) {
    const uint64_t offset = LoanOf(place)->block.load();
    return attachment().view().Bytes(offset, heap_->BlockSize(offset));
  }

  void Use(const Order& order, Reply& reply) {
    const uint64_t place = order.words[0];
    shm::Call call = attachment().Enter(kCallId, Soon());
    switch (order.call) {
      case kAllocate:
        if (place >= kShelf) {
          own_[place] = {attachment().TakeLoan(call.lane(), heap_.get(), Soon()), 0};
        }
        SetFilled(place, 0);
        reply.answer = AnswerOf(
            heap_->AllocateTo(call.lane(), LoanOf(place), order.words[1], order.words[2], Soon()));
        if (reply.answer == Answer::kOk) {
          Fill(place);
        } else if (place >= kShelf) {
          GiveUp(place);
        }
        break;
      case kFree:
        reply.words[kIntact] = Intact(place);
        reply.answer = AnswerOf(heap_->FreeLoan(call.lane(), LoanOf(place), Soon()));
        if (place >= kShelf) GiveUp(place);
        return;
      case kShrink:
        // Less of it counts before it shrinks: the tail may be gone when the call is cut off.
        reply.words[kIntact] = Intact(place);
        SetFilled(place, std::min(FilledOf(place), order.words[1]));
        reply.answer = AnswerOf(heap_->Shrink(call.lane(), LoanOf(place), order.words[1], Soon()));
        reply.words[kIntact] = reply.words[kIntact] != 0 && Intact(place);
        break;
      default:
        reply.Break("no such call");
        return;
    }
    if (!LoanOf(place)) return;
    reply.words[kOffset] = LoanOf(place)->block.load();
    reply.words[kSize] = heap_->BlockSize(reply.words[kOffset]);
  }
  void Fill(uint64_t place) {
    std::byte* bytes = BytesOf(place);
    const uint64_t size = heap_->BlockSize(LoanOf(place)->block.load());
    for (uint64_t i = 0; i < size; ++i) bytes[i] = Pattern(place, i);
    SetFilled(place, size);
  }
  void GiveUp(uint64_t place) { attachment().loans().Return(own_.extract(place).mapped().loan); }

  struct Own {
    LoanRef loan;
    uint64_t filled = 0;
  };
  ShelfData& shelf_;
  std::shared_ptr<PersistentTlsfAllocator> heap_;
  std::map<uint64_t, Own> own_;
};

std::string Audit(const shm::Segment& segment) {
  shm::Findings findings;
  shm::Holders holders;
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  for (const shm::LoanData& loan : ShelfOf(segment).loans) holders.Add(loan.block.load(), "shelf");
  alloc::AuditHolders(segment, holders, findings);
  return findings.empty() ? "" : findings.ToString();
}

}  // namespace

Subject HeapSubject() {
  std::vector<shm::RootRequest> roots = PersistentTlsfAllocator::Roots();
  roots.insert(roots.end() - 1, ShelfRoot());
  return {roots,
          [](std::shared_ptr<shm::Attachment> attachment) {
            return std::make_unique<HeapAgent>(std::move(attachment));
          },
          Audit};
}

}  // namespace thole::proptests
