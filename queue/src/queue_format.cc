// The bytes of a new queue, and the check of those that are found.
#include <bit>
#include <new>
#include <string>

#include "thole/queue/message_descriptor.h"
#include "thole/queue/queue_ring.h"
#include "thole/shm/crc32c.h"

namespace thole::queue {
namespace {

absl::Status Refuse(const std::string& what) {
  return shm::Error(absl::StatusCode::kInvalidArgument, what);
}

absl::Status CheckOptions(const QueueOptions& options) {
  if (options.capacity == 0 || options.capacity > kCapacityMax) {
    return Refuse("capacity " + std::to_string(options.capacity) +
                  " is out of range: use 1 to 524288 messages");
  }
  if (CellBytesFor(options.element_bytes) == 0) {
    return Refuse("elements of " + std::to_string(options.element_bytes) +
                  " bytes: use 1 to 248, or put them into blocks and queue their descriptors");
  }
  if (options.leased && !options.descriptors) {
    return Refuse("a leased queue holds message descriptors: ask for them as well");
  }
  if (options.descriptors && options.element_bytes < sizeof(MessageDescriptor)) {
    return Refuse("a descriptor needs 56 bytes, but elements of " +
                  std::to_string(options.element_bytes) + " were asked for");
  }
  if (options.max_deliveries > kMaxDeliveriesMax) {
    return Refuse("max_deliveries " + std::to_string(options.max_deliveries) +
                  " is out of range: use 1 to 30, or 0 for no limit");
  }
  if (options.first_ticket > kTicketMask) {
    return Refuse("a ticket has 48 bits");
  }
  return absl::OkStatus();
}

uint32_t FactsCheck(const QueueFactsData& facts) {
  return shm::Crc32c(&facts, offsetof(QueueFactsData, static_check));
}

absl::Status Damaged(uint64_t offset, const std::string& what) {
  return shm::Error(absl::StatusCode::kDataLoss,
                    "the queue at offset " + std::to_string(offset) + " is damaged: " + what,
                    ErrorKind::kDamaged);
}

// Q1, apart from the bytes that the cells need.
absl::Status CheckFacts(const QueueFactsData& facts, uint64_t offset) {
  if (facts.magic != kQueueMagic) return Damaged(offset, "no queue begins there");
  if (facts.layout_version != kQueueLayoutVersion) {
    return shm::Error(absl::StatusCode::kUnimplemented,
                      "the queue at offset " + std::to_string(offset) + " has layout version " +
                          std::to_string(facts.layout_version) + ", this program knows " +
                          std::to_string(kQueueLayoutVersion) +
                          ": use programs of one version, or make the queue again",
                      ErrorKind::kOtherVersion);
  }
  if (facts.static_check != FactsCheck(facts)) return Damaged(offset, "its facts fail their check");
  if (facts.capacity > kCapacityMax || !std::has_single_bit(facts.capacity)) {
    return Damaged(offset, "capacity " + std::to_string(facts.capacity));
  }
  if (CellBytesFor(facts.element_bytes) == 0 ||
      CellBytesFor(facts.element_bytes) != facts.cell_bytes) {
    return Damaged(offset, "elements of " + std::to_string(facts.element_bytes) +
                               " bytes in cells of " + std::to_string(facts.cell_bytes));
  }
  const bool descriptors = (facts.flags & kFlagDescriptors) != 0;
  if ((facts.flags & ~kFlagsKnown) != 0 || ((facts.flags & kFlagLeased) != 0 && !descriptors) ||
      (descriptors && facts.element_bytes < sizeof(MessageDescriptor)) ||
      facts.first_ticket > kTicketMask) {
    return Damaged(offset, "flags " + std::to_string(facts.flags));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> QueueBytes(const QueueOptions& options) {
  if (auto checked = CheckOptions(options); !checked.ok()) return checked;
  return QueueBytes(std::bit_ceil(options.capacity), CellBytesFor(options.element_bytes));
}

absl::Status QueueRing::Format(shm::SegmentView view, uint64_t offset, uint64_t bytes,
                               uint32_t generation, const QueueOptions& options) {
  const auto needed = QueueBytes(options);
  if (!needed.ok()) return needed.status();
  const uint32_t capacity = std::bit_ceil(options.capacity);
  const uint32_t cell_bytes = CellBytesFor(options.element_bytes);
  auto* data = view.At<SharedQueueData>(offset);
  auto* cells = view.Array<shm::Word64>(offset + sizeof(SharedQueueData),
                                        uint64_t{capacity} * (cell_bytes / 8));
  if (data == nullptr || cells == nullptr || bytes < *needed) {
    return Refuse("a queue needs " + std::to_string(*needed) + " bytes, aligned to 64, but has " +
                  std::to_string(bytes) + " at offset " + std::to_string(offset));
  }
  new (data) SharedQueueData{};
  const uint64_t first = options.first_ticket;
  for (uint64_t i = 0; i < capacity; ++i) {
    const CellState empty{first + i, 0, CellPhase::kEmpty, 0};
    const uint64_t index = (first + i) & (capacity - 1);
    cells[index * (cell_bytes / 8)].store(empty.Pack(),
                                          std::memory_order_relaxed);  // nobody else sees it yet
  }
  data->tail.store(first, std::memory_order_relaxed);               // nobody else sees it yet
  data->head.store(PackHead(0, first), std::memory_order_relaxed);  // nobody else sees it yet
  QueueFactsData& facts = data->facts;
  facts.magic = kQueueMagic;
  facts.layout_version = kQueueLayoutVersion;
  facts.capacity = capacity;
  facts.cell_bytes = cell_bytes;
  facts.element_bytes = options.element_bytes;
  facts.generation = generation;
  facts.flags = (options.leased ? kFlagLeased : 0) | (options.descriptors ? kFlagDescriptors : 0);
  facts.max_deliveries = options.max_deliveries;
  facts.type_id = options.type_id;
  facts.first_ticket = first;
  facts.static_check = FactsCheck(facts);
  return absl::OkStatus();
}

absl::StatusOr<QueueRing> QueueRing::Open(shm::SegmentView view, uint64_t offset, uint64_t bytes) {
  auto* data = view.At<SharedQueueData>(offset);
  if (data == nullptr) return Damaged(offset, "it would lie outside of the segment");
  // TRUST: read once into a local; every field checked; the cells by the view.
  const QueueFactsData facts = data->facts;
  if (auto checked = CheckFacts(facts, offset); !checked.ok()) return checked;
  const uint64_t cell_words = facts.cell_bytes / 8;
  auto* cells =
      view.Array<shm::Word64>(offset + sizeof(SharedQueueData), facts.capacity * cell_words);
  if (cells == nullptr || QueueBytes(facts.capacity, facts.cell_bytes) > bytes) {
    return Damaged(offset, std::to_string(facts.capacity) + " cells do not fit into its " +
                               std::to_string(bytes) + " bytes");
  }
  QueueRing ring;
  ring.view_ = view;
  ring.data_ = data;
  ring.cells_ = cells;
  ring.mask_ = facts.capacity - 1;
  ring.capacity_ = facts.capacity;
  ring.cell_shift_ = static_cast<uint32_t>(std::countr_zero(cell_words));
  ring.element_bytes_ = facts.element_bytes;
  ring.flags_ = facts.flags;
  ring.generation_ = facts.generation;
  ring.max_deliveries_ = facts.max_deliveries;
  ring.type_id_ = facts.type_id;
  ring.first_ticket_ = facts.first_ticket;
  ring.where_ = shm::PackWhere(offset, facts.generation);
  ring.lease_ = shm::PackLease(offset, facts.generation, 0);
  return ring;
}

}  // namespace thole::queue
