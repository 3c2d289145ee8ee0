// CommCalls: one participant that makes whatever call of comm's interface the input says, with
// whatever arguments, and holds on to what it gets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "byte_source.h"
#include "thole/comm/unified_communication_system.h"

namespace thole::fuzz {

class CommCalls {
 public:
  explicit CommCalls(comm::UnifiedCommunicationSystem system) : system_(std::move(system)) {}
  /// The next call. False when the participant has left for good.
  bool Step(ByteSource& input);
  /// Answers that a whole segment never gives, of the calls so far; empty = none.
  const std::string& complaint() const { return complaint_; }
  /// Drops everything that is held.
  void DropAll();
  comm::UnifiedCommunicationSystem& system() { return system_; }

 private:
  void ChannelCall(ByteSource& input);
  void Connect(ByteSource& input);
  void Send(ByteSource& input);
  void WriterCall(ByteSource& input);
  void Receive(ByteSource& input);
  void MessageCall(ByteSource& input);
  void BufferCall(ByteSource& input);
  void HandleCall(ByteSource& input);
  bool SystemCall(ByteSource& input);
  std::string Name(ByteSource& input);
  shm::Deadline Until(ByteSource& input);
  void Expect(const absl::Status& status, const char* call);

  comm::UnifiedCommunicationSystem system_;
  std::vector<comm::Channel> channels_;
  std::vector<comm::MessageHandle> messages_;
  std::vector<comm::ZeroCopyWriter> writers_;
  std::vector<registry::BufferHandle> buffers_;
  std::string complaint_;
  uint64_t sum_ = 0;  // of all bytes that were shown: each is read
};

}  // namespace thole::fuzz
