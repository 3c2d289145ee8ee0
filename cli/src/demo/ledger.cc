#include "ledger.h"

#include <algorithm>

namespace thole::cli::demo {
namespace {
constexpr uint64_t kAheadMax = uint64_t{1} << 24;
}

Arrival Ledger::Mark(uint64_t sequence) {
  if (sequence < complete_) return Arrival::kDuplicate;
  const uint64_t ahead = sequence - complete_;
  if (ahead >= kAheadMax) return Arrival::kImpossible;
  if (ahead >= out_of_order_.size()) out_of_order_.resize(ahead + 1, false);
  if (out_of_order_[ahead]) return Arrival::kDuplicate;
  out_of_order_[ahead] = true;
  while (!out_of_order_.empty() && out_of_order_.front()) {
    out_of_order_.pop_front();
    ++complete_;
  }
  return Arrival::kNew;
}

uint64_t Ledger::CountMissing(uint64_t sent) const {
  if (sent <= complete_) return 0;
  const uint64_t wanted = sent - complete_;
  const auto looked_at =
      static_cast<std::ptrdiff_t>(std::min<uint64_t>(wanted, out_of_order_.size()));
  const auto arrived = std::count(out_of_order_.begin(), out_of_order_.begin() + looked_at, true);
  return wanted - static_cast<uint64_t>(arrived);
}

}  // namespace thole::cli::demo
