#include "system_state.h"

#include <array>
#include <optional>

#include "call_ids.h"
#include "channel_state.h"
#include "thole/shm/name_source.h"

namespace thole::comm {
namespace {

using shm::Deadline;

// How often a release tries for a lock that a live participant holds: some microseconds, in which
// one that is not stopped has given it back.
constexpr int kReleaseTries = 16;
// How many blocked loans a sweep passes over before it leaves the rest to the next call.
constexpr size_t kSweepMax = 64;
constexpr uint32_t kDoomedMany = 64;  // an eighth of the loans that a participant usually has
constexpr int64_t kSweepPatienceNs = 1'000'000;
// How long the last user of a system waits for such a one before it gives the seat up.
constexpr int64_t kLeavePatienceNs = 2'000'000;

queue::QueueOptions QueueShape(const ChannelOptions& options) {
  queue::QueueOptions shape;
  shape.capacity = options.capacity;
  shape.type_id = options.type_id;
  shape.leased = options.acknowledged;
  return queue::QueueFactory::For<queue::MessageDescriptor>(shape);
}

absl::Status CheckChannelName(std::string_view name) {
  const std::string problem = shm::DescribeNameProblem("channel", name);
  return problem.empty() ? absl::OkStatus()
                         : shm::Error(absl::StatusCode::kInvalidArgument, problem);
}

}  // namespace

absl::StatusOr<std::shared_ptr<SystemState>> SystemState::Make(
    std::shared_ptr<shm::Attachment> attachment) {
  std::shared_ptr<SystemState> state(new SystemState(std::move(attachment)));
  auto heap = alloc::PersistentTlsfAllocator::Open(state->attachment_);
  if (!heap.ok()) return heap.status();
  state->heap_ = *std::move(heap);
  auto names = registry::SharedBufferRegistry::Open(state->attachment_, *state->heap_);
  if (!names.ok()) return names.status();
  state->names_ = *std::move(names);
  state->queues_ =
      std::make_unique<queue::QueueFactory>(state->attachment_, *state->names_, state->heap_.get());
  return state;
}

SystemState::~SystemState() {
  // The repair parts refer to heap and names, which go with this object: leave now or give up the
  // seat, and whoever looks next repairs it.
  if (attachment_->forked()) return;
  const int64_t now = attachment_->platform().NowNs();
  if (attachment_->joined()) (void)attachment_->Leave(Deadline::At(now + kLeavePatienceNs));
  attachment_->Abandon();
}

absl::Status SystemState::Ready() const {
  if (attachment_->forked()) return shm::ForkedHandleError();
  if (!usable()) {
    return shm::Error(absl::StatusCode::kFailedPrecondition,
                      "this system has no seat in its segment, or left it: open it again");
  }
  return absl::OkStatus();
}

absl::Status SystemState::Leave(Deadline deadline) {
  if (attachment_->forked()) return shm::ForkedHandleError();
  // For good: whatever part of it was given back when it stops half way is not taken again.
  leaving_.store(true, std::memory_order_seq_cst);         // before staying_ is read
  while (staying_.load(std::memory_order_seq_cst) != 0) {  // each for one store only
    attachment_->platform().Relax();
  }
  return attachment_->Leave(deadline);
}

absl::StatusOr<std::shared_ptr<ChannelState>> SystemState::CreateChannel(
    std::string_view name, const ChannelOptions& options, Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  if (auto checked = CheckChannelName(name); !checked.ok()) return checked;
  auto queue = queues_->OpenOrCreateHandle(name, QueueShape(options), deadline);
  if (!queue.ok()) return queue.status();
  return Remember(name, *std::move(queue));
}

absl::StatusOr<std::shared_ptr<ChannelState>> SystemState::ConnectChannel(std::string_view name,
                                                                          Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  if (auto known = Known(name)) return known;
  if (auto checked = CheckChannelName(name); !checked.ok()) return checked;
  auto queue = queues_->ConnectHandle(name, nullptr, false, deadline);
  if (!queue.ok()) return queue.status();
  if (!queue->ring().descriptors()) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      "'" + std::string(name) + "' is a queue of plain values, not a channel");
  }
  return Remember(name, *std::move(queue));
}

std::shared_ptr<ChannelState> SystemState::Known(std::string_view name) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = channels_.find(name);
  if (found == channels_.end()) return nullptr;
  // Removed and made again under the same name: that is another channel.
  shm::NamedPlace place;
  if (names_->Find(name, place) != shm::NameResult::kOk) return nullptr;
  const queue::QueueRing& ring = found->second.queue.ring();
  if (shm::PackWhere(place.offset, ring.generation()) != ring.where()) return nullptr;
  if (auto state = found->second.state.lock()) return state;
  auto state = std::make_shared<ChannelState>(shared_from_this(), name, found->second.queue);
  found->second.state = state;
  return state;
}

std::shared_ptr<ChannelState> SystemState::Remember(std::string_view name,
                                                    queue::QueueHandle queue) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Entry& entry = channels_[std::string(name)];
  auto known = entry.state.lock();
  if (known != nullptr && entry.queue.ring().where() == queue.ring().where()) return known;
  auto state = std::make_shared<ChannelState>(shared_from_this(), name, queue);
  entry = {std::move(queue), state};
  return state;
}

queue::QueueHandle SystemState::QueueOfLease(uint64_t lease) {
  const std::lock_guard<std::mutex> guard(mutex_);
  for (const auto& [name, entry] : channels_) {
    if (entry.queue.ring().IsLeaseHere(lease)) return entry.queue;
  }
  return {};
}

bool SystemState::TryRelease(shm::Lane& lane, shm::LoanRef loan, Held held,
                             shm::Deadline deadline) noexcept {
  const bool look = held == Held::kLookForDead;
  const uint64_t lease = loan->lease.load(std::memory_order_relaxed);  // own loan
  if (lease != 0) {
    const queue::QueueHandle queue = QueueOfLease(lease);
    auto returned = queue::ReturnResult::kNotLeased;
    if (queue.Usable()) {
      returned =
          look ? queue.ReturnLeased(lane, loan, deadline) : queue.TryReturnLeased(lane, loan);
    }
    if (returned == queue::ReturnResult::kBusy) return false;
    if (returned != queue::ReturnResult::kOk) {
      loan->lease.store(0, std::memory_order_release);  // its channel is gone: plain, as in repair
    }
  }
  if (loan->block.load(std::memory_order_relaxed) != 0) {  // own loan
    const auto freed =
        look ? heap_->FreeLoan(lane, loan, deadline) : heap_->TryFreeLoan(lane, loan);
    if (freed == shm::BlockResult::kBusy) return false;
    if (freed != shm::BlockResult::kOk) {
      loan->block.store(0, std::memory_order_release);  // no block of ours; the audit will tell
    }
  }
  attachment_->loans().Return(loan);
  return true;
}

bool SystemState::ReleaseSoon(shm::Lane& lane, shm::LoanRef loan) noexcept {
  for (int left = kReleaseTries; left > 0; --left) {
    if (TryRelease(lane, loan, Held::kLeave)) return true;
    attachment_->platform().Relax();
  }
  return TryRelease(lane, loan, Held::kLookForDead);
}

uint32_t SystemState::Recover() noexcept {
  const uint32_t repaired = attachment_->RepairAll();
  if (shm::Call call = attachment_->TryEnter(kCallRelease)) {
    Sweep(call.lane(), Deadline::Now());
  }
  (void)names_->Sweep(shm::Deadline::Now());  // handles of buffers that were dropped
  return repaired;
}

void SystemState::ReleaseLoan(shm::LoanRef loan) noexcept {
  if (attachment_->forked() || !attachment_->joined()) return;
  shm::Call call = attachment_->TryEnter(kCallRelease);
  if (!call || !ReleaseSoon(call.lane(), loan)) attachment_->loans().Doom(loan);
}

// Each doomed loan once; those behind the lock that was just found held are left, so that a pass
// does not ask the kernel about the same holder again and again. Who only ever tries a lock that
// many others wait for may never get it, and destructors only try: so from some number on the calls
// wait for their turn, for so long that the number falls, and so short that a holder who is stopped
// keeps nobody from receiving.
void SystemState::SweepDoomed(shm::Lane& lane, Deadline deadline) noexcept {
  Deadline until = Deadline::Now();
  if (attachment_->loans().doomed() >= kDoomedMany && !deadline.now()) {
    until = deadline.Before(attachment_->platform().NowNs() + kSweepPatienceNs);
  }
  std::array<shm::LoanRef, kSweepMax> kept;
  size_t count = 0;
  std::optional<uint64_t> held;  // what the last lock found held belongs to: 0 = the heap
  while (count < kept.size()) {
    const shm::LoanRef loan = attachment_->loans().TakeDoomed();
    if (!loan) break;
    const uint64_t owner =
        shm::LeaseOffset(loan->lease.load(std::memory_order_relaxed));  // own loan
    if (held != owner && TryRelease(lane, loan, Held::kLookForDead, until)) continue;
    held = owner;
    kept[count++] = loan;
  }
  for (size_t i = 0; i < count; ++i) attachment_->loans().Doom(kept[i]);
}

}  // namespace thole::comm
