// The world of the simulator and the stepper: a pool, some queues, a history for the first of them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "history.h"
#include "queue_process.h"
#include "thole/shm/testing/fake_kernel.h"
#include "thole/shm/testing/scenario.h"

namespace thole::queue::testing {

class SimProcess final : public shm::testing::Process {
 public:
  explicit SimProcess(const std::shared_ptr<shm::Attachment>& attachment)
      : Process(attachment), queue(attachment) {}
  QueueProcess queue;
};

class QueueWorld : public shm::testing::World {
 public:
  explicit QueueWorld(std::vector<QueueShape> shapes, uint32_t seats = 6)
      : shapes_(std::move(shapes)), seats_(seats) {
    watched_.reserve(seats);  // a process may watch in the middle of another one's look
  }
  uint64_t segment_bytes() const override {
    uint64_t bytes = 96 << 10;
    for (const QueueShape& shape : shapes_) bytes += *QueueBytes(shape.options);
    return shm::RoundUp(bytes, 4096);
  }
  shm::SegmentOptions options() const override {
    return {.participants_max = seats_, .lanes_per_participant = 2};
  }
  std::vector<shm::RootRequest> Roots() const override { return RootsOf(shapes_); }
  std::unique_ptr<shm::testing::Process> MakeProcess(
      std::shared_ptr<shm::Attachment> attachment) override {
    return std::make_unique<SimProcess>(attachment);
  }
  void Joined(shm::testing::Process& process) override { Of(process).Connect(shapes_); }
  /// Structure, holders, and that every queue fills up and runs empty as it should.
  void Audit(shm::testing::Process& survivor, shm::Findings& findings) override;

  static QueueProcess& Of(shm::testing::Process& process) {
    return static_cast<SimProcess&>(process).queue;
  }
  History& history() { return history_; }
  /// From now on the history is told of its death and of its repair, as `Look` sees them.
  void Watch(shm::testing::Process& process, uint32_t index);
  /// Sees who is dead and who is repaired, with the eyes of `process`.
  void Look(shm::testing::Process& process);
  const QueueOptions& shape(size_t i = 0) const { return shapes_[i].options; }
  /// Whatever an operation wants its check to know.
  uint64_t notes[8] = {};

 private:
  void FillAndDrain(QueueProcess& process, size_t queue, shm::Findings& findings);

  struct Watched {
    uint32_t index;
    const shm::testing::FakePlatform* platform;
    uint32_t slot;
    uint32_t generation;
    bool dead = false;
    bool repaired = false;
  };

  std::vector<QueueShape> shapes_;
  uint32_t seats_;
  History history_;
  std::vector<Watched> watched_;
};

// One call each, with a lane of its own. A message is {id} in an inline queue, and a block of the
// pool with correlation = id in a descriptor queue.
inline constexpr shm::CallId kTestCall = 0x7e57;
PushResult PushOne(QueueProcess& process, uint64_t id, size_t queue = 0);
/// With `keep`, the loan of the message stays with the caller, else the block is freed (acked).
PopResult PopOne(QueueProcess& process, uint64_t& id, PopInfo& info, size_t queue = 0,
                 shm::LoanRef* keep = nullptr);
shm::LoanRef NewMessage(QueueProcess& process);
void Free(QueueProcess& process, shm::LoanRef loan);
ReturnResult Return(QueueProcess& process, shm::LoanRef loan, size_t queue = 0);

}  // namespace thole::queue::testing
