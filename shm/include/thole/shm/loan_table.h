// LoanTable: which loan slots of this attachment are free. Process-local knowledge.
//
//   #include <thole/shm/loan_table.h>
//   thole::shm::LoanRef Borrow(thole::shm::LoanTable& loans) {
//     return loans.Take(0);  // null when all are in use: Attachment::TakeLoan adds a chunk
//   }
//
// A slot is offered again only after the call that emptied it has committed: `Return` comes last.
// A destructor that may not wait marks its loan doomed instead; the next call sweeps it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "thole/shm/participant_data.h"

namespace thole::shm {

/// Names one loan of the attachment. A value; owns nothing.
class LoanRef {
 public:
  LoanRef() = default;
  LoanRef(LoanData* data, uint16_t lane, uint16_t index)
      : data_(data), lane_(lane), index_(index) {}
  LoanData& data() const { return *data_; }
  LoanData* operator->() const { return data_; }
  uint16_t lane() const { return lane_; }
  /// 0 .. 63 inline, then 256 a chunk.
  uint16_t index() const { return index_; }
  explicit operator bool() const { return data_ != nullptr; }
  friend bool operator==(const LoanRef&, const LoanRef&) = default;

 private:
  LoanData* data_ = nullptr;
  uint16_t lane_ = 0;
  uint16_t index_ = 0;
};

/// Thread-safe. Take and Return are one or two process-local atomic operations.
class LoanTable {
 public:
  static constexpr uint32_t kChunksMax = kChunksPerLane;

  explicit LoanTable(uint32_t lanes);
  /// Says where the inline loans of a lane are. Before any other use of that lane.
  void SetLane(uint32_t lane, LaneData* data);
  /// Adds a linked chunk of a lane. False when the lane has kChunksMax.
  bool AddChunk(uint32_t lane, LoanChunkData* chunk);

  /// Whether AddChunk would succeed: asked before a chunk is allocated.
  bool HasRoom(uint32_t lane) const;

  /// A free slot, of `lane` if it has one, else of any lane; null when all are in use.
  LoanRef Take(uint32_t lane);
  /// Offers an empty slot again.
  void Return(LoanRef loan);

  /// Handles that share one loan (clones) count themselves here; starts at 0 with each Take.
  std::atomic<uint32_t>& Shares(LoanRef loan);

  /// Leaves a loan that holds something for the next sweep.
  void Doom(LoanRef loan);
  /// One doomed loan, no longer doomed but still taken; null when there is none.
  LoanRef TakeDoomed();
  bool AnyDoomed() const { return doomed_.load(std::memory_order_acquire) != 0; }  // after Doom

  /// About how many loans are doomed.
  uint32_t doomed() const { return doomed_.load(std::memory_order_relaxed); }  // a guess
  /// Loans taken now, doomed ones included; each group of 64 at a moment of its own.
  uint32_t CountTaken() const;

 private:
  struct Group {  // 64 loans
    std::atomic<uint64_t> free{0};
    std::atomic<uint64_t> doomed{0};
    std::array<std::atomic<uint32_t>, 64> shares{};
    LoanData* loans = nullptr;
  };
  static constexpr uint32_t kGroupsMax = 1 + kChunksMax * (kChunkLoans / 64);
  struct LaneLoans {
    std::atomic<uint32_t> groups{0};
    std::array<std::unique_ptr<Group>, kGroupsMax> group;
  };
  LoanRef TakeFrom(uint32_t lane);
  Group& GroupOf(LoanRef loan) { return *lanes_[loan.lane()].group[loan.index() / 64]; }
  void AddGroup(LaneLoans& lane, LoanData* loans);

  const uint32_t lane_count_;
  std::unique_ptr<LaneLoans[]> lanes_;
  std::atomic<uint32_t> doomed_{0};
};

}  // namespace thole::shm
