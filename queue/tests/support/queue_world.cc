#include "queue_world.h"

#include <string>

namespace thole::queue::testing {

using shm::Deadline;

shm::LoanRef NewMessage(QueueProcess& process) {
  shm::Attachment& attachment = process.attachment();
  shm::Call call = attachment.Enter(kTestCall);
  const shm::LoanRef loan = attachment.loans().Take(call.lane().index());
  if (!loan) return {};
  if (process.pool().AllocateTo(call.lane(), loan, kMessageBytes, 64, Deadline::Never()) !=
      shm::BlockResult::kOk) {
    attachment.loans().Return(loan);
    return {};
  }
  return loan;
}

void Free(QueueProcess& process, shm::LoanRef loan) {
  shm::Call call = process.attachment().Enter(kTestCall);
  (void)process.pool().FreeLoan(call.lane(), loan, Deadline::Never());
  process.attachment().loans().Return(loan);
}

ReturnResult Return(QueueProcess& process, shm::LoanRef loan, size_t queue) {
  shm::Call call = process.attachment().Enter(kTestCall);
  const auto result = process.handle(queue).ReturnLeased(call.lane(), loan, Deadline::Never());
  if (result == ReturnResult::kOk) process.attachment().loans().Return(loan);
  return result;
}

PushResult PushOne(QueueProcess& process, uint64_t id, size_t queue) {
  if (!process.handle(queue).ring().descriptors()) {
    return process.items(queue).TryPush(Item::Of(id));
  }
  const shm::LoanRef loan = NewMessage(process);
  if (!loan) return PushResult::kFull;
  MessageDescriptor descriptor{};
  descriptor.correlation = id;
  descriptor.size_bytes = id ^ 0x5555;
  PushResult result;
  {
    shm::Call call = process.attachment().Enter(kTestCall);
    result = process.messages(queue).TryPush(call.lane(), descriptor, loan);
    if (result == PushResult::kOk) process.attachment().loans().Return(loan);
  }
  if (result != PushResult::kOk) Free(process, loan);
  return result;
}

PopResult PopOne(QueueProcess& process, uint64_t& id, PopInfo& info, size_t queue,
                 shm::LoanRef* keep) {
  if (!process.handle(queue).ring().descriptors()) {
    Item item;
    const PopResult result = process.items(queue).TryPop(item, info);
    if (result == PopResult::kOk) id = item.intact() ? item.id : kNoMessage;
    return result;
  }
  shm::Attachment& attachment = process.attachment();
  MessageDescriptor descriptor;
  shm::LoanRef loan;
  PopResult result;
  {
    shm::Call call = attachment.Enter(kTestCall);
    loan = attachment.loans().Take(call.lane().index());
    if (!loan) return PopResult::kPending;  // other operations of a row keep all
    result = process.messages(queue).TryPop(call.lane(), descriptor, loan, &info);
    if (result != PopResult::kOk) attachment.loans().Return(loan);
  }
  if (result != PopResult::kOk) return result;
  const bool intact = descriptor.size_bytes == (descriptor.correlation ^ 0x5555) &&
                      descriptor.block == loan->block && descriptor.sequence == info.ticket;
  id = intact ? descriptor.correlation : kNoMessage;
  if (keep != nullptr) {
    *keep = loan;
  } else {
    Free(process, loan);
  }
  return result;
}

void QueueWorld::Watch(shm::testing::Process& process, uint32_t index) {
  shm::Attachment& attachment = process.attachment();
  watched_.push_back({index, static_cast<shm::testing::FakePlatform*>(&attachment.platform()),
                      attachment.slot(), attachment.generation()});
}

void QueueWorld::Look(shm::testing::Process& process) {
  for (Watched& other : watched_) {
    if (!other.dead && !other.platform->kernel()->IsAlive(other.platform->process())) {
      other.dead = true;
      history_.Died(other.index);
    }
    if (!other.dead || other.repaired) continue;
    // Others may run while the word is read, and look as well.
    const auto word = shm::SlotWord::Unpack(
        process.attachment().segment().Slot(other.slot)->word.load(std::memory_order_acquire));
    const bool gone = word.generation != other.generation || word.state == shm::SlotState::kFree;
    if (!gone || other.repaired) continue;
    other.repaired = true;
    history_.Repaired(other.index);
  }
}

void QueueWorld::FillAndDrain(QueueProcess& process, size_t queue, shm::Findings& findings) {
  const std::string name = "queue " + std::to_string(queue) + ": ";
  const uint32_t capacity = process.handle(queue).ring().capacity();
  uint64_t id = 0;
  PopInfo info;
  uint64_t left = 200;
  PopResult popped;
  while ((popped = PopOne(process, id, info, queue)) == PopResult::kOk && --left != 0) {
  }
  const bool closed = process.handle(queue).IsClosed();
  if (popped != (closed ? PopResult::kClosed : PopResult::kEmpty)) {
    findings.Add("drain", 0, name + "the drain ends with " + std::string(ToString(popped)));
  }
  if (closed || !findings.empty()) return;
  for (uint64_t lap = 0; lap < 2; ++lap) {
    for (uint64_t i = 0; i < capacity; ++i) {
      const PushResult pushed = PushOne(process, 1000 + i, queue);
      if (pushed == PushResult::kOk) continue;
      findings.Add("refill", 0,
                   name + "push " + std::to_string(i) + " of " + std::to_string(capacity) +
                       " says " + std::string(ToString(pushed)));
      return;
    }
    if (PushOne(process, 0, queue) != PushResult::kFull) {
      findings.Add("refill", 0, name + "is not full after its capacity");
    }
    for (uint64_t i = 0; i < capacity; ++i) {
      popped = PopOne(process, id, info, queue);
      if (popped == PopResult::kOk && id == 1000 + i && info.attempts == 0) continue;
      findings.Add("refill", 0,
                   name + "pop " + std::to_string(i) + " says " + std::string(ToString(popped)) +
                       ", id " + std::to_string(id));
      return;
    }
  }
}

void QueueWorld::Audit(shm::testing::Process& survivor, shm::Findings& findings) {
  QueueProcess& process = Of(survivor);
  process.Audit(findings);
  for (size_t i = 0; i < shapes_.size() && findings.empty(); ++i) {
    FillAndDrain(process, i, findings);
  }
  if (findings.empty()) process.Audit(findings);
}

}  // namespace thole::queue::testing
