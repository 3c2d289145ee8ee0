#include "channel_laws.h"

#include <iterator>

namespace thole::proptests {
namespace {

constexpr const char* kFullLaw = "a send says that there is no room only when there is none";
constexpr const char* kEmptyLaw = "a receive says that it is empty only when it is empty";
constexpr const char* kClosedLaw = "closed is said only when nothing can come any more, and then";
constexpr const char* kPendingLaw = "pending is said only while somebody else is in the middle";
constexpr const char* kOrderLaw =
    "what came back is received first, then the oldest, each with its attempts counted";
constexpr const char* kBytesLaw = "the bytes of a message are its sender's as long as it is held";

std::string LawOf(Answer answer) {
  switch (answer) {
    case Answer::kFull:
      return kFullLaw;
    case Answer::kEmpty:
      return kEmptyLaw;
    case Answer::kClosed:
      return kClosedLaw;
    case Answer::kPending:
      return kPendingLaw;
    default:
      return "a call that must succeed does";
  }
}

}  // namespace

ModelHandle* ChannelLaws::HandleOf(uint64_t tag) {
  for (ModelHandle& handle : model.handles) {
    if (handle.tags.contains(tag)) return &handle;
  }
  return nullptr;
}

bool ChannelLaws::Resolve(int life, Order& order, uint64_t fresh) const {
  std::vector<uint64_t> tags;
  for (const ModelHandle& handle : model.handles) {
    if (handle.life == life) tags.insert(tags.end(), handle.tags.begin(), handle.tags.end());
  }
  std::vector<uint64_t> open;
  for (const auto& [tag, writer] : writers) {
    if (writer.life == life) open.push_back(tag);
  }
  order.words[1] = fresh;
  switch (order.call) {
    case kCreate:
      return true;
    case kAck:
    case kDrop:
    case kClone: {
      if (tags.empty() || (order.call == kClone && tags.size() >= kHandlesMax)) return false;
      order.words[0] = tags[order.words[0] % tags.size()];
      if (order.call != kDrop) return true;
      for (const ModelHandle& handle : model.handles) {
        if (handle.tags.contains(order.words[0])) order.words[1] = handle.message.id;
      }
      return true;
    }
    case kCommit:
    case kRollback:
      if (open.empty()) return false;
      order.words[0] = open[order.words[0] % open.size()];
      order.words[2] = writers.at(order.words[0]).channel;
      return true;
    case kReserve:
      if (open.size() >= 5) return false;
      break;
    case kReceive:
      if (tags.size() >= kHandlesMax) return false;
      break;
    default:
      break;
  }
  return model.channels.contains(order.words[0]);
}

void ChannelLaws::Drop(uint64_t tag) {
  ModelHandle* handle = HandleOf(tag);
  handle->tags.erase(tag);
  model.Release([](const ModelHandle& h) { return h.tags.empty(); });
}

std::string ChannelLaws::AcceptSend(uint64_t channel, const Order& order, const Reply& reply,
                                    bool quiet) {
  if (!quiet && reply.answer == Answer::kPending) return "";
  const Answer wanted = model.Send(channel, order.words[1]);
  if (order.call == kCommit) {
    const bool sent = reply.answer == Answer::kOk;
    if (sent) writers.erase(order.words[0]);
    // A dead sender's message may be there before the ring shows it: then the tail is gone already.
    const bool whole = reply.words[1] != 0 || !quiet;
    if (sent == (reply.words[0] != 0) || (!sent && !whole)) {
      return "a commit that fails leaves the writer, and all of its room";
    }
  }
  return reply.answer == wanted ? "" : LawOf(reply.answer == Answer::kOk ? wanted : reply.answer);
}

std::string ChannelLaws::AcceptReceive(int life, const Order& order, const Reply& reply,
                                       bool quiet) {
  const uint64_t channel = order.words[0];
  const Answer wanted = model.CanReceive(life, channel);
  if (!quiet && reply.answer == Answer::kPending) return "";
  if (reply.answer != wanted) return LawOf(reply.answer == Answer::kOk ? wanted : reply.answer);
  if (wanted != Answer::kOk) return "";
  if (reply.words[2] == 0) return kBytesLaw;
  ModelMessage got{reply.words[0], reply.words[1]};
  if (!model.Take(channel, got, !quiet)) return kOrderLaw;
  const ModelChannel& c = model.channels.at(channel);
  if (!c.in_blocks) return "";  // it is taken for good, and nothing is left of it
  model.handles.push_back({life, channel, got, c.acknowledged, false, {order.words[1]}});
  return "";
}

// Channels, messages that wait or are held, open writers.
uint64_t ChannelLaws::BlocksWanted() const {
  uint64_t blocks = model.channels.size() * blocks_per_channel + writers.size();
  for (const ModelHandle& handle : model.handles) {
    blocks += model.channels.at(handle.channel).in_blocks ? 1 : 0;
  }
  for (const auto& [number, c] : model.channels) {
    if (!c.in_blocks) continue;
    blocks += c.ring.size();
    for (const auto& batch : c.returned) blocks += batch.size();
  }
  return blocks;
}

std::string ChannelLaws::Accept(int life, const Order& order, const Reply& reply, bool quiet) {
  std::string law;
  const uint64_t first = order.words[0];
  switch (order.call) {
    case kCreate:
      model.channels.try_emplace(first, ModelChannel{first != 2, first == 1 ? 4u : 2u});
      break;
    case kClose:
      model.channels.at(first).closed = true;
      break;
    case kSend:
      law = AcceptSend(first, order, reply, quiet);
      break;
    case kCommit:
      law = AcceptSend(order.words[2], order, reply, quiet);
      break;
    case kReserve: {
      const bool closed = model.channels.at(first).closed;
      if (reply.answer == Answer::kOk) writers[order.words[1]] = {life, first};
      if (reply.answer != (closed ? Answer::kClosed : Answer::kOk)) return kClosedLaw;
      break;
    }
    case kRollback:
      writers.erase(first);
      break;
    case kReceive:
      law = AcceptReceive(life, order, reply, quiet);
      break;
    case kAck:
      HandleOf(first)->comes_back = false;
      if (ack_ends_handle) Drop(first);
      break;
    case kDrop:
      if (reply.words[0] == 0) law = kBytesLaw;
      Drop(first);
      break;
    case kClone:
      HandleOf(first)->tags.insert(order.words[1]);
      break;
    default:
      break;
  }
  if (!law.empty()) return law;
  const bool answers_vary = order.call == kSend || order.call == kCommit ||
                            order.call == kReceive || order.call == kReserve;
  if (!answers_vary && reply.answer != Answer::kOk) return LawOf(Answer::kOk);
  if (quiet && reply.words[kBlocksUsedWord] != BlocksWanted()) {
    return "every block is a channel's, a message's or an open writer's, and so is none that was "
           "given back: " +
           std::to_string(reply.words[kBlocksUsedWord]) + " are in use, not " +
           std::to_string(BlocksWanted());
  }
  return "";
}

// All that the call of a dead one may have done; that it did nothing is known to the caller.
std::vector<ChannelLaws> ChannelLaws::Outcomes(int life, const Order& order, bool quiet) const {
  std::vector<ChannelLaws> outcomes;
  const auto answered = [&](Answer answer, ModelMessage message = {}) {
    ChannelLaws after = *this;
    Reply reply;
    reply.answer = answer;
    reply.words[0] = message.id;
    reply.words[1] = message.attempt;
    reply.words[2] = 1;
    if (order.call == kCommit) reply.words[0] = 0;
    if (order.call == kDrop) reply.words[0] = 1;
    if (after.Accept(life, order, reply, false).empty()) outcomes.push_back(std::move(after));
  };
  if (order.call != kReceive) answered(Answer::kOk);
  if (order.call == kSend || order.call == kCommit) {
    ChannelLaws place_lost = *this;  // claimed, not written: the place is passed over
    ++place_lost.model.channels.at(order.call == kSend ? order.words[0] : order.words[2])
          .next_ticket;
    if (!outcomes.empty()) outcomes.push_back(std::move(place_lost));
  }
  if (order.call != kReceive) return outcomes;
  const ModelChannel& c = model.channels.at(order.words[0]);
  if (!c.returned.empty()) {
    for (const ModelMessage& message : c.returned.front()) answered(Answer::kOk, message);
  }
  if (c.ring.empty() || (quiet && !c.returned.empty())) return outcomes;
  answered(Answer::kOk, c.ring.front());
  ChannelLaws half = *this;
  half.model.channels.at(order.words[0]).ring.pop_front();
  half.model.handles.push_back({life, order.words[0], c.ring.front(), true, true, {0}});
  outcomes.push_back(std::move(half));
  return outcomes;
}

void ChannelLaws::Gone(const std::vector<int>& lives) {
  const auto gone = [&](int life) {
    return std::find(lives.begin(), lives.end(), life) != lives.end();
  };
  model.Release([&](const ModelHandle& handle) { return gone(handle.life); });
  std::erase_if(writers, [&](const auto& entry) { return gone(entry.second.life); });
}

bool ChannelLaws::NextOfFinish(int life, Order& order, uint64_t fresh) const {
  for (const ModelHandle& handle : model.handles) {
    if (handle.life != life) continue;
    order.call = handle.comes_back ? kAck : kDrop;
    order.words[0] = *handle.tags.begin();
    order.words[1] = handle.message.id;
    return true;
  }
  for (const auto& [number, c] : model.channels) {
    if (model.CanReceive(life, number) != Answer::kOk) continue;
    order.call = kReceive;
    order.words[0] = number;
    order.words[1] = fresh;
    return true;
  }
  return false;
}

// Each channel is empty, or closed.
bool ChannelLaws::LastLook(uint64_t number, Order& order, uint64_t fresh) const {
  if (number >= model.channels.size()) return false;
  order.call = kReceive;
  order.words[0] = std::next(model.channels.begin(), static_cast<std::ptrdiff_t>(number))->first;
  order.words[1] = fresh;
  return true;
}

}  // namespace thole::proptests
