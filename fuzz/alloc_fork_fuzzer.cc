// Real processes that allocate, shrink and free, each killed where the input says. Once the dead
// are repaired the heap must be whole and empty: what was on loan was theirs.
//
// Input: see ForkRun::Run; a program is a row of calls.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "support/fork_run.h"
#include "thole/alloc/audit.h"
#include "thole/alloc/persistent_tlsf_allocator.h"
#include "thole/shm/audit.h"

namespace {

using namespace thole;
using fuzz::Broken;
using fuzz::ByteSource;
using shm::BlockResult;
using shm::Deadline;

constexpr uint32_t kCallsMax = 60;
constexpr shm::CallId kCall = 1;

struct Participant {
  std::shared_ptr<shm::Attachment> attachment;
  std::shared_ptr<alloc::PersistentTlsfAllocator> heap;
};

Participant Open(int file) {
  auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
  if (!segment.ok()) Broken("open: " + segment.status().ToString());
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) Broken("attach: " + attachment.status().ToString());
  auto heap = alloc::PersistentTlsfAllocator::Open(*attachment);
  if (!heap.ok()) Broken("heap: " + heap.status().ToString());
  if (auto joined = (*attachment)->Join("fuzzer"); !joined.ok()) Broken(joined.ToString());
  return {*std::move(attachment), *std::move(heap)};
}

class Child {
 public:
  Child(Participant& participant, uint32_t index)
      : attachment_(*participant.attachment), heap_(*participant.heap), index_(index) {}

  void Run(ByteSource& program) {
    for (uint32_t i = 0; i < kCallsMax && !program.empty(); ++i) Step(program);
  }

 private:
  struct Block {
    shm::LoanRef loan;
    uint64_t bytes;
    std::byte mark;
  };

  void Step(ByteSource& program) {
    const uint64_t what = program.Below(8);
    if (what < 4) return Allocate(program);
    if (what == 7) {
      attachment_.RepairAll();
      return;
    }
    if (blocks_.empty()) return;
    const size_t at = program.Below(blocks_.size());
    what == 6 ? Shrink(blocks_[at], program) : Free(at);
  }

  void Allocate(ByteSource& program) {
    shm::Call call = attachment_.Enter(kCall);
    const shm::LoanRef loan = attachment_.TakeLoan(call.lane(), &heap_, Deadline::Now());
    if (!loan) return;
    const uint64_t bytes = 1 + program.Size(17);
    const uint64_t align = uint64_t{1} << program.Below(13);
    const BlockResult result = heap_.AllocateTo(call.lane(), loan, bytes, align, Deadline::Now());
    if (result != BlockResult::kOk) {
      ExpectAnswer(result, "allocate");
      return attachment_.loans().Return(loan);
    }
    const uint64_t block = loan->block.load(std::memory_order_relaxed);  // own loan
    if (block % align != 0 || heap_.BlockSize(block) < bytes) Broken("not the block asked for");
    const auto mark = static_cast<std::byte>(1 + index_ * 64 + blocks_.size() % 64);
    std::memset(attachment_.view().Bytes(block, bytes), static_cast<int>(mark), bytes);
    blocks_.push_back({loan, bytes, mark});
  }

  // Nobody else has written into it.
  void ExpectOwn(const Block& block) {
    const uint64_t offset = block.loan->block.load(std::memory_order_relaxed);  // own loan
    const std::byte* bytes = attachment_.view().Bytes(offset, block.bytes);
    const bool own = std::all_of(bytes, bytes + block.bytes,
                                 [&](std::byte value) { return value == block.mark; });
    if (!own) Broken("a block in use was overwritten");
  }

  void Free(size_t at) {
    ExpectOwn(blocks_[at]);
    shm::Call call = attachment_.Enter(kCall);
    const BlockResult result = heap_.FreeLoan(call.lane(), blocks_[at].loan, Deadline::Now());
    if (result != BlockResult::kOk) return ExpectAnswer(result, "free");
    attachment_.loans().Return(blocks_[at].loan);
    blocks_.erase(blocks_.begin() + static_cast<long>(at));
  }

  void Shrink(Block& block, ByteSource& program) {
    shm::Call call = attachment_.Enter(kCall);
    const uint64_t bytes = 1 + program.Below(block.bytes);
    const BlockResult result = heap_.Shrink(call.lane(), block.loan, bytes, Deadline::Now());
    if (result != BlockResult::kOk) return ExpectAnswer(result, "shrink");
    block.bytes = bytes;
    ExpectOwn(block);
  }

  static void ExpectAnswer(BlockResult result, const char* call) {
    if (result == BlockResult::kCorrupt || result == BlockResult::kInvalid) {
      Broken(std::string(call) + " says that the heap is damaged");
    }
  }

  shm::Attachment& attachment_;
  alloc::PersistentTlsfAllocator& heap_;
  const uint32_t index_;
  std::vector<Block> blocks_;
};

void Audit(const shm::Segment& segment) {
  shm::Findings findings;
  shm::Holders holders;
  shm::AuditSegment(segment, findings);
  alloc::AuditHeap(segment, findings);
  shm::CollectLoanHolders(segment, holders, findings);
  alloc::AuditHolders(segment, holders, findings);
  fuzz::ExpectNone(findings, "after the repair");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto roots = alloc::PersistentTlsfAllocator::Roots();
  const shm::Segment segment = fuzz::NewForkSegment(roots);
  fuzz::ForkRun::Run(ByteSource(data, size), [&](uint32_t index, ByteSource& program) {
    auto* participant = new Participant(Open(segment.file()));  // never destroyed: simply gone
    (new Child(*participant, index))->Run(program);
  });
  Participant survivor = Open(segment.file());
  survivor.attachment->RepairAll();
  Audit(segment);
  const uint64_t used = survivor.heap->Statistics().used_bytes;
  if (used != 0) Broken(std::to_string(used) + " bytes belong to nobody");
  ByteSource again(data, std::min<size_t>(size, 32));  // and it still works
  Child(survivor, 0).Run(again);
  return 0;
}
