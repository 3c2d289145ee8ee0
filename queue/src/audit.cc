#include "thole/queue/audit.h"

#include <functional>
#include <string>

#include "thole/queue/message_control.h"
#include "thole/queue/queue_ring.h"

namespace thole::queue {
namespace {

using shm::Findings;
using shm::Segment;

uint64_t Read(const shm::Word64& word) {
  return word.load(std::memory_order_acquire);  // an audit is no partner of any edge
}

bool IsLive(const Segment& segment, uint32_t slot, uint32_t* generation) {
  shm::SlotData* data = segment.Slot(slot);
  if (data == nullptr) return false;
  const shm::SlotWord word = shm::SlotWord::Unpack(Read(data->word));
  *generation = word.generation;
  return word.state == shm::SlotState::kLive;
}

// One queue under audit.
class RingAudit {
 public:
  RingAudit(const Segment& segment, const QueueRing& ring, Findings& findings)
      : segment_(segment),
        ring_(ring),
        findings_(findings),
        tail_(Read(ring.data().tail) & kTicketMask),
        head_(Read(ring.data().head)),
        closed_(Read(ring.data().closed)) {}

  void Run() {
    FindSeal();
    for (uint64_t i = 0; i < ring_.capacity(); ++i) CheckCell(i);
    const int64_t length = TicketDistance(tail_, head_);
    if (length < -1) {
      Add("Q4", ring_.data().head, "head is " + std::to_string(-length) + " ahead of tail");
    }
    if (closed_ > 1 || (sealed_ && closed_ == 0)) {
      Add("Q9", ring_.data().closed,
          "closed says " + std::to_string(closed_) + (sealed_ ? ", but there is a seal" : ""));
    }
    CheckReturnList();
    CheckHolders();
  }

 private:
  void Add(std::string_view invariant, const shm::Word64& word, const std::string& text) {
    findings_.Add(invariant, segment_.view().OffsetOf(&word), text);
  }

  void FindSeal() {
    for (uint64_t i = 0; i < ring_.capacity(); ++i) {
      const CellState cell = CellState::Unpack(Read(ring_.State(i)));
      if (cell.phase != CellPhase::kClosed) continue;
      sealed_ = true;
      seal_ = cell.ticket;
    }
  }

  void CheckCell(uint64_t index) {
    const shm::Word64& word = ring_.State(index);
    const CellState cell = CellState::Unpack(Read(word));
    const int64_t lap = ring_.capacity();
    const bool claimed = IsClaim(cell.phase);
    const bool holds_message = cell.phase == CellPhase::kFull || claimed;
    if (((cell.ticket ^ index) & (ring_.capacity() - 1)) != 0 ||
        cell.phase > CellPhase::kDropping || (cell.owner != 0) != claimed) {
      Add("Q2", word,
          "cell " + std::to_string(index) + " has ticket " + std::to_string(cell.ticket) +
              ", phase " + std::to_string(static_cast<uint64_t>(cell.phase)) + ", owner " +
              std::to_string(cell.owner));
      return;
    }
    const int64_t ahead = CellTicketDistance(cell.ticket, tail_);
    if (ahead < -lap || ahead > lap) {
      Add("Q3", word,
          "cell " + std::to_string(index) + " is " + std::to_string(ahead) +
              " tickets ahead of tail");
    }
    if (cell.phase == CellPhase::kFull && CellTicketDistance(cell.ticket, head_) < 0) {
      Add("Q5", word, "the message of cell " + std::to_string(index) + " lies behind head");
    }
    if (claimed) CheckOwner(word, cell);
    if (sealed_ && holds_message && CellTicketDistance(cell.ticket, seal_) >= 0) {
      Add("Q9", word, "cell " + std::to_string(index) + " was filled behind the seal");
    }
    if (ring_.descriptors() && cell.phase == CellPhase::kFull) CheckBlock(index);
  }

  void CheckOwner(const shm::Word64& word, const CellState& cell) {
    uint32_t generation = 0;
    const uint32_t slot = CellOwnerSlot(cell.owner);
    const bool live = IsLive(segment_, slot, &generation);
    if (live && CellOwner(slot, generation) == cell.owner && IsHolder(slot)) return;
    Add("Q6", word,
        "a cell is held by slot " + std::to_string(slot) +
            (live ? ", which did not announce itself" : ", which is not in use"));
  }

  bool IsHolder(uint32_t slot) const {
    return (Read(ring_.HolderWord(slot)) >> slot % 64 & 1) != 0;
  }

  void CheckBlock(uint64_t index) {
    const uint64_t block = Read(ring_.Payload(index)[kBlockWord]);
    const bool none = block == 0 && !ring_.leased();
    const uint64_t bytes = ring_.leased() ? sizeof(MessageControlData) : 1;
    if (none || segment_.view().Bytes(block, bytes) != nullptr) return;
    Add("Q10", ring_.State(index),
        "the message of cell " + std::to_string(index) + " names block " + std::to_string(block));
  }

  void CheckReturnList();
  void CheckHolders();

  const Segment& segment_;
  const QueueRing& ring_;
  Findings& findings_;
  const uint64_t tail_;
  const uint64_t head_;
  const uint64_t closed_;
  bool sealed_ = false;
  uint64_t seal_ = 0;
};

// Visits the blocks of a return list. Empty when it is as it must be, else what is wrong.
std::string WalkReturnList(const QueueRing& ring, const std::function<void(uint64_t)>& visit) {
  const ReturnListData& list = ring.data().returned;
  const uint64_t count = Read(list.count);
  const uint64_t last = Read(list.tail);
  uint64_t block = Read(list.head);
  if (!ring.leased()) {
    return count == 0 && block == 0 && last == 0 ? "" : "a queue without leases has a return list";
  }
  // TRUST: the length by what could fit, each link by the view.
  if (count > ring.view().size_bytes() / sizeof(MessageControlData)) {
    return "the return list claims " + std::to_string(count) + " messages";
  }
  uint64_t before = 0;
  for (uint64_t i = 0; i < count; ++i) {
    auto* control = ring.view().At<MessageControlData>(block);
    if (control == nullptr) {
      return "link " + std::to_string(i) + " of the return list is " + std::to_string(block);
    }
    visit(block);
    before = block;
    block = Read(control->link);
  }
  if (block != 0) return "the return list goes on after " + std::to_string(count) + " messages";
  return before == last ? "" : "the return list does not end at its tail";
}

void RingAudit::CheckReturnList() {
  const ReturnListData& list = ring_.data().returned;
  const std::string wrong = WalkReturnList(ring_, [](uint64_t) {});
  if (!wrong.empty()) Add("Q7", list.head, wrong);
  const uint64_t lock = Read(list.lock.word);
  if (lock == 0) return;
  const shm::OwnerId owner = shm::OwnerId::Unpack(lock);
  uint32_t generation = 0;
  if ((lock & 0xfff) == 0 || !IsLive(segment_, owner.slot, &generation) ||
      generation != owner.generation) {
    Add("Q7", list.lock.word, "the return list is locked by nobody who lives");
  }
}

void RingAudit::CheckHolders() {
  for (uint32_t slot = 0; slot < kHolderWords * 64; ++slot) {
    if (slot % 64 == 0 && Read(ring_.HolderWord(slot)) == 0) slot += 63;  // nearly all are empty
    if (!IsHolder(slot)) continue;
    shm::SlotData* data = segment_.Slot(slot);
    if (data != nullptr && shm::SlotWord::Unpack(Read(data->word)).state != shm::SlotState::kFree) {
      continue;
    }
    Add("Q8", ring_.HolderWord(slot), "slot " + std::to_string(slot) + " is not in use");
  }
}

}  // namespace

void AuditQueues(const Segment& segment, shm::NameSource& names, Findings& findings) {
  names.ForEach(shm::kQueuePlace, [&](const shm::NamedPlace& place) {
    const auto ring = QueueRing::Open(segment.view(), place.offset, place.size_bytes);
    if (!ring.ok()) {
      findings.Add("Q1", place.offset,
                   std::string(ring.status().message().data(), ring.status().message().size()));
      return;
    }
    RingAudit(segment, *ring, findings).Run();
  });
}

void CollectQueueHolders(const Segment& segment, shm::NameSource& names, shm::Holders& holders,
                         Findings& findings) {
  names.ForEach(shm::kQueuePlace, [&](const shm::NamedPlace& place) {
    const auto ring = QueueRing::Open(segment.view(), place.offset, place.size_bytes);
    if (!ring.ok() || !ring->descriptors()) return;  // Q1 is AuditQueues' affair
    const std::string where = "queue at " + std::to_string(place.offset);
    for (uint64_t i = 0; i < ring->capacity(); ++i) {
      if (CellState::Unpack(Read(ring->State(i))).phase != CellPhase::kFull) continue;
      holders.Add(Read(ring->Payload(i)[kBlockWord]), where + ", cell " + std::to_string(i));
    }
    const std::string wrong =
        WalkReturnList(*ring, [&](uint64_t block) { holders.Add(block, where + ", return list"); });
    if (!wrong.empty()) findings.Add("Q7", place.offset, wrong);
  });
}

}  // namespace thole::queue
