// Machine: several participants of one segment, each of which does what it is told. Commands and
// models exist once and know only this; whether the participants are attachments in this process
// or real processes that are really killed is the affair of the two implementations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "thole/shm/attachment.h"
#include "thole/shm/segment.h"

namespace thole::proptests {

inline constexpr int kParticipants = 4;
inline constexpr uint64_t kSegmentBytes = uint64_t{1} << 20;
inline constexpr shm::SegmentOptions kSegment{
    .size_bytes = kSegmentBytes, .participants_max = 6, .lanes_per_participant = 2};

/// Calls that every component has; each component numbers its own from kFirstOwnCall.
enum CommonCall : uint32_t { kLeave, kRecover, kFirstOwnCall };

/// One call, in words that mean the same in another process.
struct Order {
  uint32_t call = 0;
  uint32_t die_at = 0;  // 0, or the number of the crash point at which its process dies
  uint64_t words[4] = {};
  friend bool operator==(const Order&, const Order&) = default;
};

enum class Answer : uint32_t {
  kOk,
  kFull,
  kEmpty,
  kPending,
  kClosed,
  kNotFound,
  kExists,
  kTooLarge,
  kInvalid,
  kForked,
  kOther,
};

/// What came of it.
struct Reply {
  bool answered = false;  // false: it died inside the call
  bool died = false;      // inside, or right after it when it never came to the crash point
  Answer answer = Answer::kOther;
  uint64_t words[48] = {};
  char text[256] = {};  // for people; what was unexpected, if `broken`
  bool broken = false;  // a crash, a hang, an answer that no call may give
  void Break(const std::string& what);
  void Say(const std::string& what);
};

/// One participant's handles, and how it carries orders out.
class Agent {
 public:
  explicit Agent(std::shared_ptr<shm::Attachment> attachment)
      : attachment_(std::move(attachment)) {}
  virtual ~Agent() = default;
  /// After the seat was taken.
  virtual void Joined() {}
  virtual void Do(const Order& order, Reply& reply) = 0;
  shm::Attachment& attachment() const { return *attachment_; }
  /// Later than any live participant needs; on the clock of its platform.
  shm::Deadline Soon() const {
    return shm::Deadline::At(attachment_->platform().NowNs() + 1'000'000'000);
  }

 private:
  std::shared_ptr<shm::Attachment> attachment_;
};

/// What is tested: the segment, and who works in it.
struct Subject {
  std::vector<shm::RootRequest> roots;
  std::function<std::unique_ptr<Agent>(std::shared_ptr<shm::Attachment>)> make_agent;
  std::function<std::string(const shm::Segment&)> audit;  // "" when nothing is wrong
};

class Machine {
 public:
  virtual ~Machine() = default;
  /// A participant comes; with `die_at` it dies while it does.
  virtual Reply Attach(int who, uint32_t die_at) = 0;
  virtual Reply Do(int who, const Order& order) = 0;
  /// The same in a forked child of the participant, with what it inherited.
  virtual Reply DoForked(int who, const Order& order) = 0;
  virtual void Die(int who) = 0;
  /// After a call Leave.
  virtual void Forget(int who) = 0;
  virtual const shm::Segment& segment() const = 0;
};

/// On the fake kernel: participants of one process, deaths by jumping out of the call.
std::unique_ptr<Machine> MakeSimulatedMachine(const Subject& subject);
/// Each participant is a forked child with its own mapping; deaths are SIGKILL.
std::unique_ptr<Machine> MakeProcessMachine(const Subject& subject);

}  // namespace thole::proptests
