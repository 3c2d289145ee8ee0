#include "comm_calls.h"

#include <algorithm>

namespace thole::fuzz {
namespace {

constexpr size_t kHeldMax = 12;
constexpr const char* kNames[] = {"jobs", "plain", "state", "new", "closed"};

}  // namespace

std::string CommCalls::Name(ByteSource& input) {
  const uint64_t which = input.Below(8);
  return which < std::size(kNames) ? kNames[which] : input.Text(70);
}

shm::Deadline CommCalls::Until(ByteSource& input) {
  if (!input.Chance(4)) return shm::Deadline::Now();
  const int64_t now = system_.attachment()->platform().NowNs();
  return shm::Deadline::At(now + static_cast<int64_t>(input.Below(100'000'000)));
}

// What is merely full, empty, unknown, wrong or too late is an answer.
void CommCalls::Expect(const absl::Status& status, const char* call) {
  if (absl::IsDataLoss(status) || absl::IsInternal(status) || absl::IsUnknown(status)) {
    complaint_ += std::string(call) + ": " + status.ToString() + "\n";
  }
}

void CommCalls::DropAll() {
  writers_.clear();
  messages_.clear();
  buffers_.clear();
  channels_.clear();
}

bool CommCalls::Step(ByteSource& input) {
  switch (input.Below(8)) {
    case 0:
      Connect(input);
      return true;
    case 1:
      Send(input);
      return true;
    case 2:
      WriterCall(input);
      return true;
    case 3:
      Receive(input);
      return true;
    case 4:
      MessageCall(input);
      return true;
    case 5:
      input.Byte() % 2 == 0 ? BufferCall(input) : HandleCall(input);
      return true;
    case 6:
      ChannelCall(input);
      return true;
    default:
      return SystemCall(input);
  }
}

void CommCalls::Connect(ByteSource& input) {
  if (channels_.size() >= kHeldMax) channels_.erase(channels_.begin());
  const std::string name = Name(input);
  absl::StatusOr<comm::Channel> channel = absl::UnknownError("");
  if (input.Chance(2)) {
    channel = system_.ConnectChannel(name, Until(input));
  } else {
    comm::ChannelOptions options;
    options.capacity = static_cast<uint32_t>(input.Size(20));
    options.acknowledged = input.Byte() % 2 == 0;
    options.type_id = input.Below(3);
    channel = system_.CreateChannel(name, options, Until(input));
  }
  Expect(channel.status(), "connect");
  if (channel.ok()) channels_.push_back(*std::move(channel));
}

void CommCalls::ChannelCall(ByteSource& input) {
  if (channels_.empty()) return;
  const comm::Channel& channel = channels_[input.Below(channels_.size())];
  switch (input.Below(4)) {
    case 0:
      if (input.Chance(4)) Expect(channel.Close(), "close");
      return;
    case 1:
      sum_ += channel.name().size();
      return;
    case 2:
      sum_ += channel.Info().waiting;
      return;
    default:
      channels_.erase(channels_.begin() + static_cast<long>(input.Below(channels_.size())));
  }
}

void CommCalls::Send(ByteSource& input) {
  const auto type = static_cast<uint32_t>(input.Byte());
  if (channels_.empty() || input.Chance(4)) {
    return Expect(system_.Send(Name(input), type, uint64_t{type}, Until(input)), "send by name");
  }
  const comm::Channel& channel = channels_[input.Below(channels_.size())];
  if (input.Chance(2)) {
    const auto bytes = input.Bytes(input.Below(40));
    return Expect(channel.SendBytes(type, std::as_bytes(bytes), Until(input)), "send bytes");
  }
  auto writer = channel.SendZeroCopy(type, input.Size(20), Until(input));
  Expect(writer.status(), "reserve");
  if (!writer.ok()) return;
  if (writers_.size() >= kHeldMax) writers_.pop_back();
  std::ranges::fill(writer->bytes(), static_cast<std::byte>(type));
  writers_.push_back(*std::move(writer));
}

void CommCalls::WriterCall(ByteSource& input) {
  if (writers_.empty()) return;
  const auto at = writers_.begin() + static_cast<long>(input.Below(writers_.size()));
  switch (input.Below(5)) {
    case 0:
      Expect(at->Commit(Until(input)).status(), "commit");
      break;
    case 1:
      Expect(at->CommitPrefix(input.Size(16), Until(input)).status(), "commit a prefix");
      break;
    case 2:
      std::ranges::fill(at->bytes(), static_cast<std::byte>(input.Byte()));
      return;
    case 3:
      at->set_correlation(input.Byte());
      at->Rollback();
      break;
    default:
      writers_.front() = std::move(writers_.back());
      writers_.pop_back();
      return;
  }
  if (at->empty() || input.Chance(2)) writers_.erase(at);
}

void CommCalls::Receive(ByteSource& input) {
  absl::StatusOr<comm::MessageHandle> message = absl::UnknownError("");
  if (channels_.empty() || input.Chance(4)) {
    message = system_.Receive(Name(input), Until(input));
  } else {
    message = channels_[input.Below(channels_.size())].Receive(Until(input));
  }
  Expect(message.status(), "receive");
  if (!message.ok()) return;
  for (const std::byte value : message->bytes()) sum_ += static_cast<uint64_t>(value);
  if (messages_.size() >= kHeldMax) messages_.pop_back();
  messages_.push_back(*std::move(message));
}

void CommCalls::MessageCall(ByteSource& input) {
  if (messages_.empty()) return;
  const auto at = messages_.begin() + static_cast<long>(input.Below(messages_.size()));
  switch (input.Below(5)) {
    case 0:
      Expect(at->Ack(), "ack");
      return;
    case 1:
      messages_.erase(at);
      return;
    case 2:
      if (messages_.size() < kHeldMax) messages_.push_back(at->Clone());
      return;
    case 3:
      for (const std::byte value : at->bytes()) sum_ += static_cast<uint64_t>(value);
      sum_ += at->As<uint64_t>() != nullptr ? *at->As<uint64_t>() : at->attempt();
      return;
    default:
      at->Release();
  }
}

void CommCalls::BufferCall(ByteSource& input) {
  registry::SharedBufferRegistry& registry = system_.buffers();
  const std::string name = Name(input);
  absl::StatusOr<registry::BufferHandle> handle = absl::UnknownError("");
  switch (input.Below(6)) {
    case 0:
    case 1: {
      registry::BufferOptions options;
      options.align = input.Chance(4) ? input.Number<uint64_t>() : 1u << input.Below(14);
      options.type_id = input.Below(2);
      options.lifetime = static_cast<registry::Lifetime>(input.Below(2));
      const uint64_t bytes = input.Chance(16) ? input.Number<uint64_t>() : input.Size(16);
      const bool open_too = input.Byte() % 2 == 0;
      handle = open_too ? registry.OpenOrCreate(name, bytes, options, Until(input))
                        : registry.Create(name, bytes, options, Until(input));
      break;
    }
    case 2:
      handle = registry.Acquire(name, input.Below(2), input.Size(16), Until(input));
      break;
    case 3:
      return Expect(registry.Remove(name, Until(input)), "remove");
    case 4:
      Expect(registry.holders(name).status(), "holders");
      return Expect(registry.Lookup(name).status(), "lookup");
    default:
      return Expect(registry.WaitFor(name, Until(input)).status(), "wait for");
  }
  Expect(handle.status(), "a buffer");
  if (!handle.ok()) return;
  if (buffers_.size() >= kHeldMax) buffers_.pop_back();
  buffers_.push_back(*std::move(handle));
}

void CommCalls::HandleCall(ByteSource& input) {
  if (buffers_.empty()) return;
  const auto at = buffers_.begin() + static_cast<long>(input.Below(buffers_.size()));
  if (input.Chance(2)) {
    buffers_.erase(at);
  } else {
    for (std::byte& value : at->bytes()) value ^= std::byte{1};
  }
}

bool CommCalls::SystemCall(ByteSource& input) {
  switch (input.Below(6)) {
    case 0:
      system_.Recover();
      return true;
    case 1:
      sum_ += system_.ListChannels().size() + system_.buffers().List().size();
      return true;
    case 2:
      sum_ += system_.Participants().size();
      return true;
    case 3:
      sum_ += system_.HeapUse().used_bytes;
      return true;
    case 4:
      (void)system_.buffers().Sweep(Until(input));
      return true;
    default: {
      if (!input.Chance(4)) return true;
      const absl::Status left = system_.Leave(Until(input));
      Expect(left, "leave");
      return !left.ok();
    }
  }
}

}  // namespace thole::fuzz
