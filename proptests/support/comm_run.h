// One random program: the same calls to comm, in several simulated processes, and to the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm_model.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/fake_kernel.h"
#include "thole/shm/testing/scenario.h"

namespace thole::proptests {

/// How often each command is drawn, relative to the others.
struct Weights {
  uint64_t attach = 2, detach = 1, die = 1, recover = 2, create = 3, close = 0;
  uint64_t send = 20, reserve = 6, finish_writer = 8, receive = 22, ack = 10, drop = 8, clone = 4;
};

class CommRun {
 public:
  CommRun(uint64_t seed, const Weights& weights);
  ~CommRun();
  /// Runs so many commands, then everybody leaves; empty, or the first thing that was not as it
  /// must be.
  std::string Run(int commands);
  /// The commands so far, for a person.
  const std::string& log() const { return log_; }

 private:
  static constexpr uint64_t kBytes = uint64_t{512} << 10;
  static constexpr int kParticipants = 4;
  static constexpr int kChannels = 3;
  struct Held {
    MessageHandle handle;
    int model;
  };
  struct Participant {
    shm::testing::FakePlatform* platform = nullptr;
    std::unique_ptr<UnifiedCommunicationSystem> system;  // null: not attached
    std::vector<Held> held;
    std::vector<std::pair<ZeroCopyWriter, int>> writers;  // and their channel
    int life = 0;                                         // the model's number for this attachment
  };

  void Step();
  void Attach(Participant& p);
  void Detach(Participant& p);
  void Die(Participant& p);
  void Recover(Participant& p);
  void Create(Participant& p, int channel);
  void Close(Participant& p, int channel);
  void Send(Participant& p, int channel);
  void Reserve(Participant& p, int channel);
  void FinishWriter(Participant& p);
  void Receive(Participant& p, int channel);
  void Ack(Participant& p);
  void Drop(Participant& p);
  void Clone(Participant& p);
  void EverybodyLeaves();

  void Expect(bool condition, const std::string& what);
  void ExpectAnswer(const absl::Status& status, Answer answer, const char* call);
  void ExpectAudit();
  void Forget(Participant& p);
  /// Whoever repairs, repairs all.
  void RepairedInModel();
  static std::string NameOf(int channel) { return "channel " + std::to_string(channel); }
  static std::vector<std::byte> PayloadOf(uint64_t id);

  shm::testing::Random random_;
  Weights weights_;
  void* memory_;
  std::shared_ptr<shm::testing::FakeKernel> kernel_;
  std::vector<Participant> participants_{kParticipants};
  std::vector<int> dead_;  // lives that nobody has repaired yet
  Model model_;
  uint64_t next_id_ = 1;
  int next_handle_ = 1;
  int next_life_ = 1;
  std::string log_;
  std::string problem_;
};

}  // namespace thole::proptests
