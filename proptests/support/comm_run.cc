#include "comm_run.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "thole/comm/audit.h"

namespace thole::proptests {
namespace {

using shm::Deadline;
using shm::testing::FakePlatform;

// Channel 0 and 1 are acknowledged, 2 is not; two places, four, and two.
ChannelOptions OptionsOf(int channel) {
  return {.capacity = channel == 1 ? 4u : 2u, .acknowledged = channel != 2};
}

}  // namespace

CommRun::CommRun(uint64_t seed, const Weights& weights)
    : random_(seed),
      weights_(weights),
      memory_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
      kernel_(std::make_shared<shm::testing::FakeKernel>(8)) {
  if (memory_ == MAP_FAILED) std::abort();
  const shm::SegmentOptions options{
      .size_bytes = kBytes, .participants_max = 6, .lanes_per_participant = 2};
  auto made = shm::Segment::Create(shm::Place::Memory(memory_, kBytes), options,
                                   UnifiedCommunicationSystem::Roots(options));
  Expect(made.ok(), "the segment cannot be made");
  Attach(participants_[0]);
}

CommRun::~CommRun() {
  for (Participant& p : participants_) {
    if (p.system != nullptr) p.platform->Die();  // so that no destructor does anything
    Forget(p);
  }
  munmap(memory_, kBytes);
}

void CommRun::Expect(bool condition, const std::string& what) {
  if (!condition && problem_.empty()) problem_ = what;
}

void CommRun::ExpectAnswer(const absl::Status& status, Answer answer, const char* call) {
  static constexpr absl::StatusCode kCodes[] = {
      absl::StatusCode::kOk, absl::StatusCode::kResourceExhausted, absl::StatusCode::kUnavailable,
      absl::StatusCode::kUnavailable, absl::StatusCode::kOutOfRange};
  const bool send = answer == Answer::kClosed && call[0] == 's';
  const auto code = send ? absl::StatusCode::kFailedPrecondition : kCodes[static_cast<int>(answer)];
  const bool pending = GetErrorKind(status) == ErrorKind::kPending;
  Expect(status.code() == code && pending == (answer == Answer::kPending),
         std::string(call) + " answered " + status.ToString() + " where the model says " +
             std::to_string(static_cast<int>(answer)));
}

std::vector<std::byte> CommRun::PayloadOf(uint64_t id) {
  std::vector<std::byte> bytes(8 + id * 37 % 1500);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(id * 7 + i);
  std::memcpy(bytes.data(), &id, 8);
  return bytes;
}

void CommRun::RepairedInModel() {
  model_.Release([&](int, const ModelHandle& handle) {
    return std::count(dead_.begin(), dead_.end(), handle.participant) != 0;
  });
  dead_.clear();
}

void CommRun::Attach(Participant& p) {
  auto segment = shm::Segment::Open(shm::Place::Memory(memory_, kBytes), {});
  if (!segment.ok()) return Expect(false, segment.status().ToString());
  auto platform = std::make_unique<FakePlatform>(kernel_, shm::SegmentView(memory_, kBytes));
  p.platform = platform.get();
  auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
  if (!attachment.ok()) return Expect(false, attachment.status().ToString());
  auto system = UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "model");
  if (!system.ok()) return Expect(false, system.status().ToString());
  p.system = std::make_unique<UnifiedCommunicationSystem>(*std::move(system));
  p.life = next_life_++;
  RepairedInModel();
  log_ += "attach " + std::to_string(p.life) + "\n";
}

void CommRun::Forget(Participant& p) {
  p.held.clear();
  p.writers.clear();
  p.system.reset();
  p.platform = nullptr;
}

void CommRun::Detach(Participant& p) {
  log_ += "detach " + std::to_string(p.life) + "\n";
  const absl::Status left = p.system->Leave(Deadline::Now());
  Expect(left.ok(), "leave: " + left.ToString());
  if (!p.held.empty()) {
    Expect(absl::IsFailedPrecondition(p.held[0].handle.Ack()), "an Ack after Leave");
  }
  model_.Release([&](int, const ModelHandle& handle) { return handle.participant == p.life; });
  Forget(p);
}

void CommRun::Die(Participant& p) {
  log_ += "die " + std::to_string(p.life) + "\n";
  p.platform->Die();
  dead_.push_back(p.life);
  Forget(p);
}

void CommRun::Recover(Participant& p) {
  log_ += "recover\n";
  const uint32_t repaired = p.system->Recover();
  Expect(repaired == dead_.size(), "Recover repaired " + std::to_string(repaired));
  RepairedInModel();
}

void CommRun::Create(Participant& p, int channel) {
  log_ += "create " + std::to_string(channel) + "\n";
  const ChannelOptions options = OptionsOf(channel);
  auto made = p.system->CreateChannel(NameOf(channel), options, Deadline::Now());
  Expect(made.ok(), "create: " + made.status().ToString());
  model_.channels.try_emplace(channel, ModelChannel{options.acknowledged, options.capacity});
}

void CommRun::Close(Participant& p, int channel) {
  log_ += "close " + std::to_string(channel) + "\n";
  Expect(p.system->ConnectChannel(NameOf(channel))->Close().ok(), "close");
  model_.channels.at(channel).closed = true;
}

void CommRun::Send(Participant& p, int channel) {
  const uint64_t id = next_id_++;
  log_ += "send " + std::to_string(id) + " to " + std::to_string(channel) + "\n";
  const absl::Status sent = p.system->SendBytes(NameOf(channel), static_cast<uint32_t>(id),
                                                PayloadOf(id), Deadline::Now());
  ExpectAnswer(sent, model_.Send(channel, id), "send");
}

void CommRun::Reserve(Participant& p, int channel) {
  if (p.writers.size() >= 5) return;
  log_ += "reserve\n";
  auto writer = p.system->SendZeroCopy(NameOf(channel), 0, 2000, Deadline::Now());
  const bool closed = model_.channels.at(channel).closed;
  ExpectAnswer(writer.status(), closed ? Answer::kClosed : Answer::kOk, "send: reserve");
  if (writer.ok()) p.writers.emplace_back(*std::move(writer), channel);
}

void CommRun::FinishWriter(Participant& p) {
  if (p.writers.empty()) return;
  const size_t which = random_.Below(p.writers.size());
  auto& [writer, channel] = p.writers[which];
  if (random_.Chance(4)) {
    log_ += "rollback\n";
    writer.Rollback();
  } else {
    const uint64_t id = next_id_++;
    log_ += "commit " + std::to_string(id) + " to " + std::to_string(channel) + "\n";
    const auto payload = PayloadOf(id);
    std::copy(payload.begin(), payload.end(), writer.bytes().begin());
    writer.set_type(static_cast<uint32_t>(id));
    const auto sent = writer.CommitPrefix(payload.size(), Deadline::Now());
    const Answer answer = model_.Send(channel, id);
    ExpectAnswer(sent.status(), answer, "send: commit");
    Expect(writer.empty() == (answer == Answer::kOk), "a failed commit leaves the writer");
    Expect(writer.empty() || writer.bytes().size() == 2000, "a failed commit leaves all of it");
    if (!writer.empty()) return;
  }
  p.writers.erase(p.writers.begin() + static_cast<std::ptrdiff_t>(which));
}

void CommRun::Receive(Participant& p, int channel) {
  auto message = p.system->TryReceive(NameOf(channel));
  const Answer answer = model_.CanReceive(p.life, channel);
  log_ += "receive from " + std::to_string(channel) + ": " + message.status().ToString();
  ExpectAnswer(message.status(), answer, "receive");
  if (message.ok()) {
    const uint64_t id = message->ReadPrefix<uint64_t>().value_or(0);
    log_ += " " + std::to_string(id) + " attempt " + std::to_string(message->attempt());
    const auto payload = PayloadOf(id);
    Expect(std::equal(payload.begin(), payload.end(), message->bytes().begin(),
                      message->bytes().end()),
           "the payload of " + std::to_string(id) + " is another one");
    Expect(message->type() == static_cast<uint32_t>(id), "type");
    Expect(model_.Receive(p.life, channel, {id, message->attempt()}, next_handle_),
           "message " + std::to_string(id) + " may not come now");
    p.held.push_back({*std::move(message), next_handle_++});
  }
  log_ += "\n";
}

void CommRun::Ack(Participant& p) {
  if (p.held.empty()) return;
  Held& held = p.held[random_.Below(p.held.size())];
  log_ += "ack\n";
  Expect(held.handle.Ack().ok(), "ack");
  model_.handles.at(held.model).comes_back = false;
}

void CommRun::Drop(Participant& p) {
  if (p.held.empty()) return;
  const size_t which = random_.Below(p.held.size());
  log_ += "drop\n";
  const int handle = p.held[which].model;
  const uint64_t id = model_.handles.at(handle).message.id;
  Expect(p.held[which].handle.ReadPrefix<uint64_t>() == id, "a held message changed");
  p.held.erase(p.held.begin() + static_cast<std::ptrdiff_t>(which));
  if (--model_.handles.at(handle).clones > 0) return;
  model_.Release([&](int number, const ModelHandle&) { return number == handle; });
}

void CommRun::Clone(Participant& p) {
  if (p.held.empty()) return;
  log_ += "clone\n";
  const Held& held = p.held[random_.Below(p.held.size())];
  Held clone{held.handle.Clone(), held.model};
  ++model_.handles.at(clone.model).clones;
  p.held.push_back(std::move(clone));
}

void CommRun::Step() {
  Participant& p = participants_[random_.Below(kParticipants)];
  if (p.system == nullptr) {
    if (random_.Below(20) < weights_.attach) Attach(p);
    return;
  }
  const int channel = static_cast<int>(random_.Below(kChannels));
  const bool there = model_.channels.contains(channel);
  using Command = std::function<void()>;
  const std::pair<uint64_t, Command> commands[] = {
      {weights_.detach, [&] { Detach(p); }},
      {weights_.die, [&] { Die(p); }},
      {weights_.recover, [&] { Recover(p); }},
      {weights_.create, [&] { Create(p, channel); }},
      {there ? weights_.close : 0, [&] { Close(p, channel); }},
      {there ? weights_.send : 0, [&] { Send(p, channel); }},
      {there ? weights_.reserve : 0, [&] { Reserve(p, channel); }},
      {weights_.finish_writer, [&] { FinishWriter(p); }},
      {there ? weights_.receive : 0, [&] { Receive(p, channel); }},
      {weights_.ack, [&] { Ack(p); }},
      {weights_.drop, [&] { Drop(p); }},
      {weights_.clone, [&] { Clone(p); }},
  };
  uint64_t total = 0;
  for (const auto& [weight, command] : commands) total += weight;
  uint64_t drawn = random_.Below(total);
  for (const auto& [weight, command] : commands) {
    if (drawn < weight) return command();
    drawn -= weight;
  }
}

void CommRun::ExpectAudit() {
  auto segment = shm::Segment::Open(shm::Place::Memory(memory_, kBytes), {.read_only = true});
  if (!segment.ok()) return Expect(false, segment.status().ToString());
  const comm::SystemAudit audit = comm::AuditSystem(*segment);
  Expect(audit.findings.empty(), "audit: " + audit.findings.ToString());
  Expect(audit.orphan_bytes == 0, "bytes that nobody holds");
}

// Afterwards there is nothing but the channels and the messages in them, then the channels alone.
void CommRun::EverybodyLeaves() {
  for (Participant& p : participants_) {
    if (p.system != nullptr) Detach(p);
  }
  ExpectAudit();
  Participant& last = participants_[0];
  Attach(last);
  for (const auto& [channel, contents] : model_.channels) {
    for (int left = 100; left > 0 && model_.CanReceive(last.life, channel) == Answer::kOk; --left) {
      Receive(last, channel);
      if (!problem_.empty()) return;
      Ack(last);
      Drop(last);
    }
    Receive(last, channel);  // empty, or closed
  }
  const uint64_t blocks = last.system->HeapUse().blocks_used;
  Expect(blocks == model_.channels.size(), std::to_string(blocks) + " blocks are left");
  ExpectAudit();
}

std::string CommRun::Run(int commands) {
  for (int i = 0; i < commands && problem_.empty(); ++i) {
    Step();
    if (i % 8 == 0) ExpectAudit();
  }
  if (problem_.empty()) EverybodyLeaves();
  return problem_;
}

}  // namespace thole::proptests
