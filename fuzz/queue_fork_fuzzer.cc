// Real processes that push and pop values, each killed where the input says. A value whose push was
// answered is delivered once, or in the queue, or its consumer died taking it; order holds.
//
// Input: see ForkRun::Run; a program is a row of calls.
#include <array>
#include <string>

#include "support/fork_run.h"
#include "thole/queue/audit.h"
#include "thole/queue/queue_factory.h"
#include "thole/shm/audit.h"

namespace {

using namespace thole;
using fuzz::Broken;
using fuzz::ByteSource;
using queue::PopResult;
using queue::PushResult;
using shm::Deadline;

constexpr uint32_t kValuesEach = 32;
constexpr uint32_t kCallsMax = 60;

struct Entry {
  fuzz::Count pushing, pushed, popped;
};
struct Ledger {
  std::array<Entry, kValuesEach * fuzz::ForkRun::kChildrenMax> values;
  std::array<fuzz::Count, fuzz::ForkRun::kChildrenMax> popping;
  fuzz::Count closed;
};
fuzz::SharedLedger<Ledger>& TheLedger() {
  static fuzz::SharedLedger<Ledger> ledger;
  return ledger;
}

struct Value {
  uint64_t id;
  uint64_t inverse;
};

struct Participant {
  std::unique_ptr<shm::RootNames> names;  // outlives the attachment, whose repair asks it
  std::shared_ptr<shm::Attachment> attachment;
  std::unique_ptr<queue::QueueFactory> factory;
  queue::PersistentQueue<Value> values;
};

std::unique_ptr<Participant> Open(int file) {
  auto participant = std::make_unique<Participant>();
  auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
  if (!segment.ok()) Broken("open: " + segment.status().ToString());
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) Broken("attach: " + attachment.status().ToString());
  participant->attachment = *std::move(attachment);
  participant->names = std::make_unique<shm::RootNames>(participant->attachment->segment(),
                                                        shm::ComponentId::kQueue);
  participant->factory =
      std::make_unique<queue::QueueFactory>(participant->attachment, *participant->names, nullptr);
  if (auto joined = participant->attachment->Join("fuzzer"); !joined.ok()) {
    Broken(joined.ToString());
  }
  auto values = participant->factory->Connect<Value>("values");
  if (!values.ok()) Broken("connect: " + values.status().ToString());
  participant->values = *std::move(values);
  return participant;
}

uint64_t IdOf(const Value& value) {
  if (value.id != ~value.inverse || value.id >= TheLedger()->values.size()) {
    Broken("a value is not whole");
  }
  return value.id;
}

void Push(const Participant& participant, uint64_t id, Deadline deadline) {
  Entry& entry = TheLedger()->values[id];
  entry.pushing.Set(1);
  const PushResult result = participant.values.Push({id, ~id}, deadline);
  if (result == PushResult::kCorrupt) Broken("push says that the queue is damaged");
  if (result == PushResult::kClosed && !TheLedger()->closed) Broken("push says closed");
  entry.pushed.Set(result == PushResult::kOk ? 1 : 0);
}

void Pop(const Participant& participant, uint32_t index, Deadline deadline) {
  Value value{};
  TheLedger()->popping[index].Set(1);
  const PopResult result = participant.values.Pop(value, deadline);
  if (result == PopResult::kCorrupt) Broken("pop says that the queue is damaged");
  if (result == PopResult::kOk) TheLedger()->values[IdOf(value)].popped.Add();
  TheLedger()->popping[index].Set(0);
}

void RunChild(Participant& participant, uint32_t index, ByteSource& program) {
  const auto deadline = [&] {
    return program.Chance(8) ? Deadline::In(std::chrono::milliseconds(2)) : Deadline::Now();
  };
  uint32_t pushed = 0;
  for (uint32_t i = 0; i < kCallsMax && !program.empty(); ++i) {
    switch (program.Below(8)) {
      case 0:
      case 1:
      case 2:
        if (pushed < kValuesEach) {
          Push(participant, index * kValuesEach + pushed++, deadline());
        }
        break;
      case 3:
      case 4:
      case 5:
        Pop(participant, index, deadline());
        break;
      case 6:
        participant.attachment->RepairAll();
        break;
      default:
        if (!program.Chance(16)) break;
        TheLedger()->closed.Set(1);
        participant.values.Close();
    }
  }
}

void CheckLedger(Participant& survivor, uint32_t died_popping) {
  std::array<uint32_t, kValuesEach * fuzz::ForkRun::kChildrenMax> found{};
  std::array<uint64_t, fuzz::ForkRun::kChildrenMax> last{};
  for (Value value{};;) {
    const PopResult result = survivor.values.TryPop(value);
    if (result == PopResult::kEmpty || (result == PopResult::kClosed && TheLedger()->closed)) break;
    if (result != PopResult::kOk) Broken("drain: " + std::string(ToString(result)));
    const uint64_t id = IdOf(value);
    if (++found[id] > 1) Broken("value " + std::to_string(id) + " is there twice");
    uint64_t& before = last[id / kValuesEach];
    if (id + 1 <= before) Broken("the values of one producer changed their order");
    before = id + 1;
  }
  uint32_t gone = 0;
  for (uint32_t id = 0; id < found.size(); ++id) {
    const Entry& entry = TheLedger()->values[id];
    const uint32_t seen = found[id] + entry.popped.Get();
    if (seen > 1) Broken("value " + std::to_string(id) + " was delivered twice");
    if (seen != 0 && !entry.pushing) Broken("value " + std::to_string(id) + " was never pushed");
    if (seen == 0 && entry.pushed) ++gone;
  }
  if (gone > died_popping) Broken("more values are lost than consumers died taking one");
}

void Audit(const shm::Segment& segment, shm::NameSource& names) {
  shm::Findings findings;
  shm::AuditSegment(segment, findings);
  queue::AuditQueues(segment, names, findings);
  fuzz::ExpectNone(findings, "after the repair");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<shm::RootRequest> roots = {
      *queue::QueueFactory::Root("values", queue::QueueFactory::For<Value>({.capacity = 4}))};
  TheLedger().Clear();
  const shm::Segment segment = fuzz::NewForkSegment(roots);
  const auto run =
      fuzz::ForkRun::Run(ByteSource(data, size), [&](uint32_t index, ByteSource& program) {
        Participant* participant = Open(segment.file()).release();  // simply gone
        RunChild(*participant, index, program);
      });
  const auto survivor = Open(segment.file());
  survivor->attachment->RepairAll();
  Audit(segment, *survivor->names);
  uint32_t died_popping = 0;
  for (uint32_t i = 0; i < run.children(); ++i) {
    if (run.killed(i) && TheLedger()->popping[i]) ++died_popping;
  }
  CheckLedger(*survivor, died_popping);
  if (!TheLedger()->closed) {
    for (uint64_t i = 0; i < 4; ++i) {
      if (survivor->values.TryPush({i, ~i}) != PushResult::kOk) Broken("it cannot be filled again");
    }
  }
  Audit(segment, *survivor->names);
  return 0;
}
