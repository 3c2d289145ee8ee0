#include "handle_counts.h"

namespace thole::registry {

HandleCounts::HandleCounts(uint32_t entries_max) : counts_(entries_max) {
  postponed_.reserve(entries_max);
}

HandleCounts::Count* HandleCounts::Of(const shm::NamedPlace& place) noexcept {
  if (place.index >= counts_.size()) return nullptr;
  Count& count = counts_[place.index];
  return count.generation == place.generation && count.handles > 0 ? &count : nullptr;
}

bool HandleCounts::TryShare(const shm::NamedPlace& place) noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  Count* count = Of(place);
  if (count == nullptr) return false;
  ++count->handles;
  return true;
}

void HandleCounts::Add(const shm::NamedPlace& place) noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  Count& count = counts_[place.index];
  if (count.generation != place.generation) count.handles = 0;  // an earlier bearer is gone
  count.generation = place.generation;
  ++count.handles;
}

bool HandleCounts::TryDropShared(const shm::NamedPlace& place) noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  Count* count = Of(place);
  if (count == nullptr) return true;  // not ours any more: nothing to give back
  if (count->handles == 1) return false;
  --count->handles;
  return true;
}

bool HandleCounts::Drop(const shm::NamedPlace& place) noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  Count* count = Of(place);
  return count != nullptr && --count->handles == 0;
}

void HandleCounts::DropLater(const shm::NamedPlace& place) noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  Count* count = Of(place);
  if (count == nullptr || --count->handles > 0 || count->postponed) return;
  count->postponed = true;
  postponed_.push_back(place.index);
}

bool HandleCounts::any_postponed() const noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  return !postponed_.empty();
}

std::optional<uint32_t> HandleCounts::TakePostponed() noexcept {
  const std::lock_guard<std::mutex> guard(mutex_);
  while (!postponed_.empty()) {
    const uint32_t index = postponed_.back();
    postponed_.pop_back();
    counts_[index].postponed = false;
    if (counts_[index].handles == 0) return index;
  }
  return std::nullopt;
}

}  // namespace thole::registry
