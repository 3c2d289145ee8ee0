#include "registry_laws.h"

namespace thole::proptests {
namespace {

constexpr const char* kNameLaw =
    "a name stands for what was created last under it, until it is removed";
constexpr const char* kContentLaw = "a buffer keeps what was written to it as long as it is there";

}  // namespace

bool RegistryLaws::Resolve(int life, Order& order, uint64_t fresh) const {
  const std::vector<uint64_t> own = model.HandlesOf(life);
  if (order.call == kRelease) {
    if (own.empty()) return false;
    order.words[0] = own[order.words[0] % own.size()];
  }
  if (order.call == kCreateBuffer) {
    order.words[3] = order.words[2];
    order.words[2] = 8 + order.words[1];
  }
  if (order.call == kCreateBuffer || order.call == kAcquire) {
    order.words[1] = fresh;
    return own.size() < kHandlesMax;
  }
  return true;
}

std::string RegistryLaws::AcceptLookup(const Order& order, const Reply& reply, bool quiet) {
  const ModelEntry* entry = model.Find(order.words[0]);
  if (reply.answer != (entry == nullptr ? Answer::kNotFound : Answer::kOk)) return kNameLaw;
  if (entry == nullptr) return "";
  if (reply.words[1] != entry->size_bytes || reply.words[2] != (entry->ephemeral ? 1 : 0)) {
    return kNameLaw;
  }
  return quiet && reply.words[0] != entry->holders() ? "the holders are those who hold it" : "";
}

std::string RegistryLaws::AcceptList(const Reply& reply) const {
  std::vector<uint64_t> wanted;
  for (const ModelEntry& entry : model.entries) {
    wanted.push_back(
        ListedEntry(entry.name, entry.size_bytes, entry.holders(), entry.removed, entry.ephemeral));
  }
  std::sort(wanted.begin(), wanted.end());
  const bool same = reply.words[0] == wanted.size() &&
                    std::equal(wanted.begin(), wanted.end(), reply.words + kListWord);
  return same ? "" : "a list names every entry in use, and nothing else";
}

std::string RegistryLaws::Accept(int life, const Order& order, const Reply& reply, bool quiet) {
  const uint64_t first = order.words[0];
  Answer wanted = Answer::kOk;
  switch (order.call) {
    case kCreateBuffer:
      wanted = model.CanCreate(first);
      if (reply.answer != wanted || wanted != Answer::kOk) break;
      model.entries.push_back({.name = first,
                               .size_bytes = order.words[2],
                               .ephemeral = order.words[3] != 0,
                               .content = reply.words[0],
                               .handles = {{order.words[1], life}}});
      break;
    case kAcquire: {
      ModelEntry* entry = model.Find(first);
      if (entry == nullptr) wanted = Answer::kNotFound;
      if (reply.answer != wanted || entry == nullptr) break;
      if (reply.words[0] != entry->content) return kContentLaw;
      if (reply.words[1] != entry->size_bytes) return kNameLaw;
      entry->handles.emplace(order.words[1], life);
      break;
    }
    case kRelease: {
      ModelEntry* entry = model.HeldBy(first);
      if (reply.words[0] != entry->content) return kContentLaw;
      entry->handles.erase(first);
      model.LetGo();
      break;
    }
    case kRemove:
      wanted = model.Remove(first);
      break;
    case kLookup:
      wanted = reply.answer;
      if (std::string law = AcceptLookup(order, reply, quiet); !law.empty()) return law;
      break;
    case kList:
      if (!quiet) break;
      if (std::string law = AcceptList(reply); !law.empty()) return law;
      break;
    default:
      break;
  }
  if (reply.answer != wanted) {
    return wanted == Answer::kExists || reply.answer == Answer::kExists
               ? "a name has one creator, however many try"
               : kNameLaw;
  }
  if (quiet && reply.words[kBlocksWord] != model.entries.size()) {
    return "memory is there as long as its entry, and an entry as long as its name or a holder: " +
           std::to_string(reply.words[kBlocksWord]) + " blocks are in use, not " +
           std::to_string(model.entries.size());
  }
  return "";
}

std::vector<RegistryLaws> RegistryLaws::Outcomes(int life, const Order& order, bool) const {
  RegistryLaws after = *this;
  Reply reply;
  reply.answer = Answer::kOk;
  if (order.call == kLookup || order.call == kList) return {};
  if (order.call == kAcquire || order.call == kRelease) {
    const ModelEntry* entry = order.call == kAcquire ? after.model.Find(order.words[0])
                                                     : after.model.HeldBy(order.words[0]);
    if (entry == nullptr) return {};
    reply.words[0] = entry->content;
    reply.words[1] = entry->size_bytes;
  }
  if (!after.Accept(life, order, reply, false).empty()) return {};
  return {after};
}

bool RegistryLaws::NextOfFinish(int, Order& order, uint64_t) const {
  if (model.entries.empty()) return false;
  order.call = kRemove;
  order.words[0] = model.entries.front().name;
  return true;
}

bool RegistryLaws::LastLook(uint64_t number, Order& order, uint64_t) const {
  order.call = kList;
  return number == 0;
}

}  // namespace thole::proptests
