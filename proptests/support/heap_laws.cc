#include "heap_laws.h"

namespace thole::proptests {
namespace {

constexpr uint64_t kAlignMax = 4096;

// Sizes of every order of magnitude, from what RapidCheck drew: none, and more than there is, too.
uint64_t SizeOf(uint64_t drawn) {
  const uint64_t bits = drawn % 22;
  return bits == 0 ? 0 : 1 + (drawn / 22) % (uint64_t{1} << bits);
}

}  // namespace

// A place below kShelf is on the shelf, the others are the participant's own blocks.
bool HeapLaws::Resolve(int life, Order& order, uint64_t fresh) const {
  const bool on_shelf = order.words[0] < kShelf;
  const std::vector<uint64_t> own = model.HeldBy(life);
  order.words[1] = SizeOf(order.words[1]);
  order.words[2] = uint64_t{1} << order.words[2] % 13;
  if (in_doubt.contains(order.words[0])) return false;
  if (order.call == kAllocate) {
    if (!on_shelf) order.words[0] = fresh;
    return on_shelf ? model.IsFree(order.words[0]) : own.size() < kOwnMax;
  }
  if (!on_shelf && own.empty()) return false;
  if (!on_shelf) order.words[0] = own[order.words[0] % own.size()];
  if (model.IsFree(order.words[0])) return false;
  if (order.call == kShrink)
    order.words[1] = 1 + order.words[1] % model.blocks.at(order.words[0]).asked;
  return true;
}

std::string HeapLaws::AcceptAllocate(int life, const Order& order, const Reply& reply, bool quiet) {
  const uint64_t size = order.words[1];
  const uint64_t align = order.words[2];
  const uint64_t largest = reply.words[kLargestBefore];
  switch (reply.answer) {
    case Answer::kOk: {
      if (size == 0) return "nobody gets a block of no bytes";
      ModelBlock block{order.words[0] < kShelf ? 0 : life, size, align};
      if (!HeapModel::See(block, reply.words[kOffset], reply.words[kSize])) {
        return "a block is as large and as aligned as was asked";
      }
      model.blocks.emplace(order.words[0], block);
      return "";
    }
    case Answer::kFull:
      // An alignment costs a gap in front of the block; without one the largest range would do.
      if (quiet && align <= 16 && size + HeapModel::kHeaderBytes <= largest) break;
      if (quiet && model.blocks.empty() && size + 2 * kAlignMax <= largest) break;
      return "";
    case Answer::kTooLarge:
      // An alignment may cost two gaps: one that is too small to be a block is made larger.
      return size + HeapModel::kHeaderBytes + 2 * align > reply.words[kHeapBytes]
                 ? ""
                 : "only what can never fit is too large";
    case Answer::kInvalid:
      return size == 0 ? "" : "a request that makes sense is not refused";
    default:
      break;
  }
  return "a request that fits is granted";
}

// While nobody is in the middle of anything the numbers of the heap are those of its blocks.
std::string HeapLaws::AcceptWhole(const Reply& reply) {
  for (uint64_t place = 0; place < kShelf; ++place) {
    const uint64_t offset = reply.words[kShelfOffsets + place];
    if ((offset == 0) != model.IsFree(place)) return "a call took effect wholly or not at all";
    if (offset == 0) continue;
    if (!HeapModel::See(model.blocks.at(place), offset, reply.words[kShelfSizes + place])) {
      return "a block stays where it is, and what it is";
    }
  }
  if (model.Overlap()) return "blocks never overlap";
  if (reply.words[kUsed] + reply.words[kFreeBytes] != reply.words[kHeapBytes]) {
    return "used and free bytes are all bytes";
  }
  if (reply.words[kUsed] != model.UsedBytes() || reply.words[kBlocksUsed] != model.blocks.size()) {
    return "what is in use is what somebody holds, and what the dead held is free once they are "
           "repaired: " +
           std::to_string(reply.words[kUsed]) + " bytes are in use, not " +
           std::to_string(model.UsedBytes());
  }
  if (model.blocks.empty() && reply.words[kCached] == 0 &&
      reply.words[kLargest] != reply.words[kHeapBytes]) {
    return "where nothing is in use or in a magazine the heap is one piece";
  }
  return "";
}

std::string HeapLaws::Accept(int life, const Order& order, const Reply& reply, bool quiet) {
  const uint64_t place = order.words[0];
  if (order.call == kAllocate) {
    std::string law = AcceptAllocate(life, order, reply, quiet);
    if (!law.empty()) return law;
  } else if (reply.answer != Answer::kOk) {
    return "what somebody holds can be freed and shrunk";
  }
  if (order.call == kFree || order.call == kShrink) {
    if (reply.words[kIntact] == 0) return "bytes keep what was written to them";
  }
  if (order.call == kFree) model.blocks.erase(place);
  if (order.call == kShrink) {
    ModelBlock& block = model.blocks.at(place);
    if (block.size_bytes != 0 && reply.words[kSize] > block.size_bytes) {
      return "a block that shrinks does not grow";
    }
    block.asked = order.words[1];
    block.size_bytes = 0;
    if (!HeapModel::See(block, reply.words[kOffset], reply.words[kSize])) {
      return "a block that shrinks stays where it is, and large enough";
    }
  }
  return quiet ? AcceptWhole(reply) : "";
}

std::vector<HeapLaws> HeapLaws::Outcomes(int life, const Order& order, bool) const {
  HeapLaws after = *this;
  const uint64_t place = order.words[0];
  if (place < kShelf) after.in_doubt[place] = life;
  if (order.call == kFree) after.model.blocks.erase(place);
  if (order.call == kShrink) {
    after.model.blocks.at(place).asked = order.words[1];
    after.model.blocks.at(place).size_bytes = 0;
  }
  if (order.call == kAllocate) {
    if (order.words[1] == 0) return {};
    after.model.blocks.emplace(
        place, ModelBlock{place < kShelf ? 0 : life, order.words[1], order.words[2]});
  }
  return {after};
}

void HeapLaws::Gone(const std::vector<int>& lives) {
  model.Gone(lives);
  std::erase_if(in_doubt, [&](const auto& entry) {
    return std::find(lives.begin(), lives.end(), entry.second) != lives.end();
  });
}

bool HeapLaws::NextOfFinish(int, Order& order, uint64_t) const {
  if (model.blocks.empty()) return false;
  order.call = kFree;
  order.words[0] = model.blocks.begin()->first;
  return true;
}

// Half of all there is can be had.
bool HeapLaws::LastLook(uint64_t number, Order& order, uint64_t) const {
  order = {.call = kAllocate, .words = {0, kSegmentBytes / 2, kAlignMax}};
  return number == 0;
}

}  // namespace thole::proptests
