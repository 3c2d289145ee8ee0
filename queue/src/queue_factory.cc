#include "thole/queue/queue_factory.h"

#include "recover.h"
#include "thole/shm/crash_point.h"

namespace thole::queue {
namespace {

constexpr shm::CallId kCreateCall = 0x300;
constexpr shm::CallId kConnectCall = 0x301;

std::string Quoted(std::string_view name) {
  std::string text = "queue '";
  text.append(name).append(1, '\'');
  return text;
}

absl::Status NameError(shm::NameResult result, std::string_view name) {
  using shm::NameResult;
  switch (result) {
    case NameResult::kOk:
      return absl::OkStatus();
    case NameResult::kNotFound:
      return shm::Error(absl::StatusCode::kNotFound,
                        "there is no " + Quoted(name) + ": create it first");
    case NameResult::kExists:
      return shm::Error(absl::StatusCode::kAlreadyExists,
                        Quoted(name) + " exists already: connect to it, or take another name");
    case NameResult::kInvalidName:
      return shm::Error(absl::StatusCode::kInvalidArgument,
                        shm::DescribeNameProblem("queue", name));
    case NameResult::kWrongType:
      return shm::Error(absl::StatusCode::kInvalidArgument,
                        Quoted(name) + " was meant, but the name stands for something else");
    case NameResult::kFull:
      return shm::Error(absl::StatusCode::kResourceExhausted,
                        "no room for the name of " + Quoted(name) + ": remove another one");
    case NameResult::kBusy:
      return shm::Error(absl::StatusCode::kDeadlineExceeded,
                        "a live participant holds the names: try " + Quoted(name) + " again");
    case NameResult::kUnsupported:
      return shm::Error(absl::StatusCode::kFailedPrecondition,
                        Quoted(name) +
                            " cannot be made in a segment without a registry: lay it out when the "
                            "segment is created (QueueFactory::Root)");
    case NameResult::kCorrupt:
      break;
  }
  return shm::Error(absl::StatusCode::kDataLoss,
                    "the names of the segment are damaged: " + Quoted(name) + " cannot be found",
                    ErrorKind::kDamaged);
}

absl::Status BlockError(shm::BlockResult result, std::string_view name, uint64_t bytes) {
  const std::string what = Quoted(name) + " needs " + std::to_string(bytes) + " bytes: ";
  switch (result) {
    case shm::BlockResult::kOk:
      return absl::OkStatus();
    case shm::BlockResult::kFull:
    case shm::BlockResult::kTooLarge:
      return shm::Error(absl::StatusCode::kResourceExhausted,
                        what + "the heap has no such range; ask for a smaller capacity");
    case shm::BlockResult::kBusy:
      return shm::Error(absl::StatusCode::kDeadlineExceeded,
                        what + "a live participant holds the heap; try again");
    default:
      return shm::Error(absl::StatusCode::kDataLoss, what + "the heap is damaged",
                        ErrorKind::kDamaged);
  }
}

// Whether a queue that exists is the one that the caller means.
absl::Status CheckShape(std::string_view name, const QueueRing& ring, const QueueOptions& expected,
                        bool compare_leased) {
  if (ring.element_bytes() != expected.element_bytes ||
      ring.descriptors() != expected.descriptors) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      Quoted(name) + " holds " + (ring.descriptors() ? "descriptors" : "values") +
                          " of " + std::to_string(ring.element_bytes()) + " bytes, not " +
                          (expected.descriptors ? "descriptors" : "values") + " of " +
                          std::to_string(expected.element_bytes) + ": connect with its own type");
  }
  if (expected.type_id != 0 && ring.type_id() != expected.type_id) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      Quoted(name) + " holds type " + std::to_string(ring.type_id()) + ", not " +
                          std::to_string(expected.type_id) + ": connect with its own type");
  }
  if (compare_leased && ring.leased() != expected.leased) {
    return shm::Error(absl::StatusCode::kInvalidArgument,
                      Quoted(name) + (ring.leased() ? " is" : " is not") +
                          " a leased queue: ask for the kind it has, or take another name");
  }
  return absl::OkStatus();
}

}  // namespace

QueueFactory::QueueFactory(std::shared_ptr<shm::Attachment> attachment, shm::NameSource& names,
                           shm::BlockSource* heap)
    : attachment_(std::move(attachment)), names_(names), heap_(heap) {
  attachment_->Register(std::make_shared<QueueRepair>(names, heap));
}

absl::StatusOr<shm::RootRequest> QueueFactory::Root(std::string_view name,
                                                    const QueueOptions& options) {
  if (!shm::IsValidName(name)) return NameError(shm::NameResult::kInvalidName, name);
  const auto bytes = QueueBytes(options);
  if (!bytes.ok()) return bytes.status();
  shm::RootRequest root{};
  root.component = shm::ComponentId::kQueue;
  root.kind = shm::kQueuePlace;
  root.size_bytes = *bytes;
  root.align = shm::kCacheLine;
  root.name = std::string(name);
  root.format = [options](shm::SegmentView view, const shm::RootData& data) {
    return QueueRing::Format(view, data.offset, data.size_bytes, data.generation, options);
  };
  return root;
}

absl::Status QueueFactory::Ready() const {
  if (attachment_->forked()) return shm::ForkedHandleError();
  if (attachment_->joined()) return absl::OkStatus();
  return shm::Error(absl::StatusCode::kFailedPrecondition,
                    "the attachment has no seat: call Join before queues are made or connected");
}

absl::StatusOr<QueueHandle> QueueFactory::ConnectHandle(std::string_view name,
                                                        const QueueOptions* expected,
                                                        bool compare_leased,
                                                        shm::Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  shm::NamedPlace place;
  if (auto found = names_.Find(name, place); found != shm::NameResult::kOk) {
    return NameError(found, name);
  }
  if (place.kind != shm::kQueuePlace) return NameError(shm::NameResult::kWrongType, name);
  auto ring = QueueRing::Open(attachment_->view(), place.offset, place.size_bytes);
  if (!ring.ok()) return ring.status();
  if (expected != nullptr) {
    if (auto same = CheckShape(name, *ring, *expected, compare_leased); !same.ok()) return same;
  }
  shm::Call call = attachment_->Enter(kConnectCall, deadline);
  if (!call) return NameError(shm::NameResult::kBusy, name);
  // From here on it cannot go away; if it went before, the names say so.
  if (auto held = names_.Hold(call.lane(), place, deadline); held != shm::NameResult::kOk) {
    return NameError(held, name);
  }
  return HandleOf(*ring);
}

QueueHandle QueueFactory::HandleOf(const QueueRing& ring) const {
  QueueHandle handle(attachment_, ring);
  handle.Announce();
  return handle;
}

absl::Status QueueFactory::Publish(shm::Lane& lane, shm::LoanRef loan, std::string_view name,
                                   const QueueOptions& options, uint64_t bytes,
                                   shm::NamedPlace& place, shm::Deadline deadline) {
  const shm::BlockResult block = heap_->AllocateTo(lane, loan, bytes, shm::kCacheLine, deadline);
  if (block != shm::BlockResult::kOk) return BlockError(block, name, bytes);
  THOLE_CRASH_POINT("queue.create.1");
  place.offset = loan->block.load(std::memory_order_relaxed);  // own loan
  place.size_bytes = bytes;
  place.type_id = options.type_id;
  place.kind = shm::kQueuePlace;
  const uint64_t generation = attachment_->segment().header().generations.fetch_add(
      1, std::memory_order_relaxed);  // only unique
  absl::Status made = QueueRing::Format(attachment_->view(), place.offset, bytes,
                                        static_cast<uint32_t>(generation + 1), options);
  THOLE_CRASH_POINT("queue.create.2");
  if (made.ok()) made = NameError(names_.Publish(lane, loan, name, place, deadline), name);
  THOLE_CRASH_POINT("queue.create.3");
  return made;
}

absl::StatusOr<QueueHandle> QueueFactory::CreateHandle(std::string_view name,
                                                       const QueueOptions& options,
                                                       shm::Deadline deadline) {
  if (auto ready = Ready(); !ready.ok()) return ready;
  if (!shm::IsValidName(name)) return NameError(shm::NameResult::kInvalidName, name);
  const auto bytes = QueueBytes(options);
  if (!bytes.ok()) return bytes.status();
  shm::NamedPlace place;
  if (names_.Find(name, place) == shm::NameResult::kOk) {
    return NameError(shm::NameResult::kExists, name);
  }
  if (heap_ == nullptr) return NameError(shm::NameResult::kUnsupported, name);
  shm::Call call = attachment_->Enter(kCreateCall, deadline);
  if (!call) return BlockError(shm::BlockResult::kBusy, name, *bytes);
  const shm::LoanRef loan = attachment_->TakeLoan(call.lane(), heap_, deadline);
  if (!loan) return BlockError(shm::BlockResult::kFull, name, *bytes);
  absl::Status made = Publish(call.lane(), loan, name, options, *bytes, place, deadline);
  if (made.ok() || loan->block.load(std::memory_order_relaxed) == 0 ||  // own loan
      heap_->FreeLoan(call.lane(), loan, deadline) == shm::BlockResult::kOk) {
    attachment_->loans().Return(loan);
  } else {
    attachment_->loans().Doom(loan);
  }
  if (!made.ok()) return made;
  auto ring = QueueRing::Open(attachment_->view(), place.offset, place.size_bytes);
  if (!ring.ok()) return ring.status();
  return HandleOf(*ring);
}

absl::StatusOr<QueueHandle> QueueFactory::OpenOrCreateHandle(std::string_view name,
                                                             const QueueOptions& options,
                                                             shm::Deadline deadline) {
  constexpr int kRacesMax = 16;  // another one creates, and removes, and creates ...
  for (int race = 0;; ++race) {
    auto found = ConnectHandle(name, &options, true, deadline);
    if (found.ok() || !absl::IsNotFound(found.status()) || race == kRacesMax) return found;
    auto made = CreateHandle(name, options, deadline);
    if (made.ok() || !absl::IsAlreadyExists(made.status())) return made;
  }
}

}  // namespace thole::queue
