#include "thole/shm/loan_table.h"

#include <bit>

#include "thole/shm/crash_point.h"

namespace thole::shm {

LoanTable::LoanTable(uint32_t lanes)
    : lane_count_(lanes), lanes_(std::make_unique<LaneLoans[]>(lanes)) {}

void LoanTable::AddGroup(LaneLoans& lane, LoanData* loans) {
  const uint32_t index = lane.groups.load(std::memory_order_relaxed);  // only its lane adds
  auto group = std::make_unique<Group>();
  group->loans = loans;
  group->free.store(~uint64_t{0}, std::memory_order_relaxed);  // published with groups
  lane.group[index] = std::move(group);
  lane.groups.store(index + 1, std::memory_order_release);  // process-local: the group is visible
}

void LoanTable::SetLane(uint32_t lane, LaneData* data) { AddGroup(lanes_[lane], data->loans); }

bool LoanTable::HasRoom(uint32_t lane) const {
  const uint32_t groups =
      lanes_[lane].groups.load(std::memory_order_relaxed);  // only its lane adds
  return groups + kChunkLoans / 64 <= kGroupsMax;
}

bool LoanTable::AddChunk(uint32_t lane, LoanChunkData* chunk) {
  if (!HasRoom(lane)) return false;
  LaneLoans& loans = lanes_[lane];
  for (uint32_t i = 0; i < kChunkLoans; i += 64) AddGroup(loans, &chunk->loans[i]);
  return true;
}

LoanRef LoanTable::TakeFrom(uint32_t lane) {
  LaneLoans& loans = lanes_[lane];
  const uint32_t groups = loans.groups.load(std::memory_order_acquire);  // the groups are visible
  for (uint32_t i = 0; i < groups; ++i) {
    Group& group = *loans.group[i];
    uint64_t free = group.free.load(std::memory_order_relaxed);  // a hint; the exchange decides
    while (free != 0) {
      const int bit = std::countr_zero(free);
      if (group.free.compare_exchange_weak(free, free & (free - 1),
                                           std::memory_order_acquire,     // after Return
                                           std::memory_order_relaxed)) {  // looked at again
        group.shares[bit].store(0, std::memory_order_relaxed);            // the slot is ours alone
        return LoanRef(&group.loans[bit], static_cast<uint16_t>(lane),
                       static_cast<uint16_t>(i * 64 + bit));
      }
    }
  }
  return {};
}

LoanRef LoanTable::Take(uint32_t lane) {
  if (LoanRef loan = TakeFrom(lane)) return loan;
  for (uint32_t other = 0; other < lane_count_; ++other) {
    if (LoanRef loan = TakeFrom(other)) return loan;
  }
  return {};
}

void LoanTable::Return(LoanRef loan) {
  const uint64_t bit = uint64_t{1} << (loan.index() % 64);
  [[maybe_unused]] const uint64_t free =
      GroupOf(loan).free.fetch_or(bit, std::memory_order_release);  // after the loan was emptied
  THOLE_DCHECK((free & bit) == 0);
}

uint32_t LoanTable::CountTaken() const {
  uint32_t count = 0;
  for (uint32_t lane = 0; lane < lane_count_; ++lane) {
    const uint32_t groups = lanes_[lane].groups.load(std::memory_order_acquire);  // visible
    for (uint32_t i = 0; i < groups; ++i) {
      const uint64_t free = lanes_[lane].group[i]->free.load(std::memory_order_relaxed);  // a guess
      count += 64 - static_cast<uint32_t>(std::popcount(free));
    }
  }
  return count;
}

std::atomic<uint32_t>& LoanTable::Shares(LoanRef loan) {
  return GroupOf(loan).shares[loan.index() % 64];
}

void LoanTable::Doom(LoanRef loan) {
  const uint64_t bit = uint64_t{1} << (loan.index() % 64);
  GroupOf(loan).doomed.fetch_or(bit, std::memory_order_release);  // before the count
  doomed_.fetch_add(1, std::memory_order_release);                // AnyDoomed sees the bit
}

LoanRef LoanTable::TakeDoomed() {
  for (uint32_t lane = 0; lane < lane_count_; ++lane) {
    const uint32_t groups = lanes_[lane].groups.load(std::memory_order_acquire);  // visible
    for (uint32_t i = 0; i < groups; ++i) {
      Group& group = *lanes_[lane].group[i];
      uint64_t doomed = group.doomed.load(std::memory_order_acquire);  // after Doom
      while (doomed != 0) {
        const int bit = std::countr_zero(doomed);
        if (group.doomed.compare_exchange_weak(doomed, doomed & (doomed - 1),
                                               std::memory_order_acquire,     // after Doom
                                               std::memory_order_acquire)) {  // looked at again
          doomed_.fetch_sub(1, std::memory_order_relaxed);  // a hint for the next sweep
          return LoanRef(&group.loans[bit], static_cast<uint16_t>(lane),
                         static_cast<uint16_t>(i * 64 + bit));
        }
      }
    }
  }
  return {};
}

}  // namespace thole::shm
