// The part of SimCore that knows states: the image since a mark, what each fiber was answered, and
// the key under which a search remembers where it was.
#include <bit>

#include "sim_core.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kForcedOneIn = 16;  // states of a forced course that are looked up

}  // namespace

void SimCore::Mark() {
  FollowLastWrite();
  if (shadow_ == nullptr) shadow_ = std::make_unique<ImageShadow>(view(0), bytes_);
  shadow_->Mark();
  marked_ns_ = now_ns_;
}

void SimCore::Rewind() {
  FollowLastWrite();
  shadow_->Rewind();
  Reset();
  now_ns_ = marked_ns_;
}

bool SimCore::SawAllStores() {
  FollowLastWrite();
  return shadow_->IsTrue();
}

uint64_t SimCore::HashOfImage() const { return Append(shadow_->hash(), dead_); }

void SimCore::FollowLastWrite() {
  if (shadow_ != nullptr && last_write_bytes_ != 0) {
    shadow_->Update(OffsetInImage(last_write_), last_write_bytes_);
  }
}

/// What a plain store overwrites counts as read: clang shows no plain load that a store follows.
void SimCore::AppendAccess(const SimAccess& access) {
  const uint64_t offset = OffsetInImage(access.at);
  Remember(offset << 20 | access.bytes << 1 | (access.write ? 1 : 0));
  const bool reads = access.read || access.plain;
  // Not by memcpy: a call of it would be an access itself.
  uint64_t value = 0;
  for (uint64_t i = 0; reads && i < access.bytes; ++i) {
    value = value << 8 | static_cast<uint64_t>(stage_->arena()[access.at + i]);
    if (i % sizeof(value) == sizeof(value) - 1 || i + 1 == access.bytes) Remember(value);
  }
}

/// All that decides what can follow, before an access of the running one.
uint64_t SimCore::KeyOfState() const {
  uint64_t key = Append(shadow_->hash(), static_cast<uint64_t>(now_ns_));
  key = Append(key, uint64_t{ready_} << 48 | uint64_t{asleep_} << 32 | late_ << 16 | dead_);
  const bool may_choose_another = just_switched_ && std::popcount(ready_) > 2;
  key = Append(key, uint64_t{current()} << 1 | (may_choose_another ? 1 : 0));
  key = Append(key, plan_.kernel_state());
  const uint32_t alive = ready_ | asleep_;
  for (uint32_t i = 0; i < kFibersMax; ++i) {
    const bool lives = (alive >> i & 1) != 0;
    if (lives || plan_.keeps_histories) key = Append(key, histories_[i]);
    if (lives && conflict_before_[i]) key = Append(key, i);
  }
  return key;
}

/// Looks where the search could go on in two ways; when nothing is left to choose, only sometimes.
void SimCore::PruneIfKnown(bool matters) {
  if (next_event_ != plan_.script->events.size()) return;
  if (!matters && !just_switched_ && !conflict_before_[current()]) return;
  const bool chooses = plan_.switches_left != 0 || plan_.deaths_left != 0;
  if (!chooses && accesses_[current()] % kForcedOneIn != 0) return;
  if (plan_.visited->Enter(KeyOfState(), plan_.switches_left)) return;
  pruned_ = true;
  EndPhase();
}

}  // namespace thole::shm::testing
