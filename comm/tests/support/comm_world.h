// Comm for the harnesses: a small segment, processes that keep handles, and a ledger of messages.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/scenario.h"

namespace thole::comm::testing {

inline constexpr const char* kJobs = "jobs";    // acknowledged
inline constexpr const char* kPlain = "plain";  // not

/// What a message says: its number, and that it is whole.
struct Note {
  uint64_t id;
  uint64_t inverse;
  static Note Of(uint64_t id) { return {id, ~id}; }
};

class CommProcess final : public shm::testing::Process {
 public:
  explicit CommProcess(std::shared_ptr<shm::Attachment> attachment);

  UnifiedCommunicationSystem& system() { return *system_; }
  /// Connects on first use; fails the run when there is no such channel.
  Channel channel(const char* name);
  /// The number of a message; 0 = it is not whole.
  static uint64_t IdOf(const MessageHandle& message);

  std::vector<MessageHandle> held;
  std::vector<ZeroCopyWriter> open;

 private:
  std::optional<UnifiedCommunicationSystem> system_;
};

/// What happened to each message, noted by the processes outside of the segment.
class Ledger {
 public:
  struct Entry {
    bool sending = false;
    bool sent = false;
    uint32_t first_offers = 0;
    uint32_t received = 0;
    bool acknowledging = false;
    bool acknowledged = false;
    uint32_t found = 0;  // by the survivor, at the end
  };
  Entry& operator[](uint64_t id) { return entries_[id]; }
  void Complain(std::string text) { complaints_.push_back(std::move(text)); }
  /// Loans of a process that ended its work and lives: messages that it would give back with its
  /// next call.
  void AddDoomed(uint32_t loans) { doomed_ += loans; }
  /// Laws of a channel. `receivers_died`: so many messages may have gone with a receiver (plain).
  void Check(bool acknowledged, uint32_t receivers_died, shm::Findings& findings) const;

 private:
  std::map<uint64_t, Entry> entries_;
  std::vector<std::string> complaints_;
  uint32_t doomed_ = 0;
};

class CommWorld final : public shm::testing::World {
 public:
  /// Both channels are made with this capacity by `MakeChannels`.
  explicit CommWorld(uint32_t capacity = 4) : capacity_(capacity) {}
  uint64_t segment_bytes() const override { return uint64_t{192} << 10; }
  shm::SegmentOptions options() const override {
    return {.participants_max = 8, .lanes_per_participant = 2};
  }
  std::vector<shm::RootRequest> Roots() const override;
  std::unique_ptr<shm::testing::Process> MakeProcess(
      std::shared_ptr<shm::Attachment> attachment) override;
  /// The whole segment's audit, no orphan, and both channels still work.
  void Audit(shm::testing::Process& survivor, shm::Findings& findings) override;

  void MakeChannels(shm::testing::Process& process);
  /// Receives and acknowledges all that is there: the numbers, in order.
  static std::vector<uint64_t> Drain(shm::testing::Process& process, const char* channel,
                                     shm::Findings& findings);
  static CommProcess& Of(shm::testing::Process& process) {
    return static_cast<CommProcess&>(process);
  }
  static CommWorld& Of(World& world) { return static_cast<CommWorld&>(world); }

  Ledger ledger;

 private:
  uint32_t capacity_;
};

}  // namespace thole::comm::testing
