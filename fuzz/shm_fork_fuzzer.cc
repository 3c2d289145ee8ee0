// Real processes that join, leave, and change words together under an owner lock, each killed where
// the input says. Afterwards the sum of the words is what it was, and no seat or lock is lost.
//
// Input: see ForkRun::Run; a program is a row of calls.
#include <array>
#include <string>
#include <vector>

#include "support/fork_run.h"
#include "thole/shm/attachment.h"
#include "thole/shm/audit.h"
#include "thole/shm/owner_lock.h"
#include "thole/shm/transaction.h"

namespace {

using namespace thole;
using fuzz::Broken;
using fuzz::ByteSource;
using shm::Deadline;

constexpr uint32_t kCallsMax = 40;
constexpr uint32_t kAccounts = 6;
constexpr uint64_t kEach = 1000;
constexpr shm::CallId kCall = 1;
constexpr uint16_t kKind = 78;
constexpr auto kComponent = shm::ComponentId::kAlloc;

/// The sum of the accounts never changes. Two locks, of which a lane holds one.
struct BankData {
  shm::OwnerLockData locks[2];
  shm::Word64 accounts[2][kAccounts];
};

std::vector<shm::RootRequest> Roots() {
  shm::RootRequest root{};
  root.component = kComponent;
  root.kind = kKind;
  root.size_bytes = sizeof(BankData);
  root.align = shm::kCacheLine;
  root.name = "bank";
  root.format = [](shm::SegmentView view, const shm::RootData& at) {
    auto* bank = view.At<BankData>(at.offset);
    for (auto& accounts : bank->accounts) {
      for (shm::Word64& account : accounts) account.store(kEach, std::memory_order_relaxed);  // new
    }
    return absl::OkStatus();
  };
  return {root};
}

/// What alloc would do about the dead: nothing, there is no heap.
class NoHeap final : public shm::RepairPart {
 public:
  explicit NoHeap(shm::RepairStep step) : step_(step) {}
  shm::RepairStep step() const override { return step_; }
  shm::RepairOutcome Repair(shm::DeadParticipant&) override { return shm::RepairOutcome::kDone; }

 private:
  shm::RepairStep step_;
};

std::shared_ptr<shm::Attachment> Open(int file) {
  auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
  if (!segment.ok()) Broken("open: " + segment.status().ToString());
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) Broken("attach: " + attachment.status().ToString());
  (*attachment)->Register(std::make_shared<NoHeap>(shm::RepairStep::kAllocIntents));
  (*attachment)->Register(std::make_shared<NoHeap>(shm::RepairStep::kAllocLoans));
  return *std::move(attachment);
}

BankData& BankOf(shm::Attachment& attachment) {
  return *attachment.view().At<BankData>(attachment.segment().Root(kComponent, kKind)->offset);
}

uint64_t Sum(const BankData& bank, uint64_t which) {
  uint64_t sum = 0;
  for (const shm::Word64& account : bank.accounts[which]) {
    sum += account.load(std::memory_order_relaxed);  // under the lock, or nobody else lives
  }
  return sum;
}

void Transfer(shm::Attachment& attachment, ByteSource& program) {
  BankData& bank = BankOf(attachment);
  const uint64_t which = program.Below(2);
  shm::Call call = attachment.Enter(kCall);
  shm::Lane& lane = call.lane();
  const auto deadline =
      program.Chance(4) ? Deadline::In(std::chrono::milliseconds(2)) : Deadline::Now();
  const shm::LockResult locked = Lock(lane, bank.locks[which], deadline);
  if (locked == shm::LockResult::kCorrupt) Broken("a lock cannot be");
  if (locked != shm::LockResult::kOk) return;
  if (Sum(bank, which) != kAccounts * kEach) Broken("a transfer was done by half");
  {
    shm::Transaction transaction(lane);
    const uint64_t moves = program.Below(5);
    for (uint64_t i = 0; i < moves; ++i) {
      shm::Word64& from = bank.accounts[which][program.Below(kAccounts)];
      shm::Word64& to = bank.accounts[which][program.Below(kAccounts)];
      const uint64_t amount = 1 + program.Below(100);
      transaction.Set(from, from.load(std::memory_order_relaxed) - amount);  // under the lock
      transaction.Set(to, to.load(std::memory_order_relaxed) + amount);      // under the lock
    }
    if (!program.Chance(5)) transaction.Commit();
  }
  Unlock(lane, bank.locks[which]);
}

void RunChild(int file, ByteSource& program) {
  // Never destroyed: the process is simply gone.
  auto& attachments = *new std::vector<std::shared_ptr<shm::Attachment>>;
  for (uint32_t i = 0; i < kCallsMax && !program.empty(); ++i) {
    const uint64_t what = program.Below(8);
    if (attachments.empty() || what == 0) {
      if (attachments.size() >= 4) continue;
      attachments.push_back(Open(file));
      const absl::Status joined = attachments.back()->Join("fuzzer");
      if (!joined.ok() && !absl::IsResourceExhausted(joined)) Broken(joined.ToString());
      if (!joined.ok()) attachments.pop_back();
      continue;
    }
    const size_t at = program.Below(attachments.size());
    if (what == 1) {
      const absl::Status left = attachments[at]->Leave(Deadline::Now());
      if (!left.ok() && !absl::IsDeadlineExceeded(left)) Broken("leave: " + left.ToString());
      attachments.erase(attachments.begin() + static_cast<long>(at));
    } else if (what == 2) {
      attachments[at]->RepairAll();
    } else if (what == 3) {
      attachments[at]->Abandon();
      attachments.erase(attachments.begin() + static_cast<long>(at));
    } else {
      Transfer(*attachments[at], program);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<shm::RootRequest> roots = Roots();
  const shm::Segment segment = fuzz::NewForkSegment(roots);
  fuzz::ForkRun::Run(ByteSource(data, size),
                     [&](uint32_t, ByteSource& program) { RunChild(segment.file(), program); });
  const auto survivor = Open(segment.file());
  if (auto joined = survivor->Join("survivor"); !joined.ok()) Broken(joined.ToString());
  survivor->RepairAll();
  const BankData& bank = BankOf(*survivor);
  for (uint64_t which = 0; which < 2; ++which) {
    if (bank.locks[which].word.load(std::memory_order_acquire) != 0) Broken("a lock stays taken");
    if (Sum(bank, which) != kAccounts * kEach) Broken("a transfer was done by half");
  }
  shm::Findings findings;
  shm::AuditSegment(segment, findings);
  fuzz::ExpectNone(findings, "after the repair");
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    const auto word = shm::SlotWord::Unpack(segment.Slot(i)->word.load(std::memory_order_acquire));
    if (i != survivor->slot() && word.state != shm::SlotState::kFree) Broken("a seat is lost");
  }
  return 0;
}
