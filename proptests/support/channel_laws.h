// What the answers of a queue or a system of channels must be, by the model of channels.
#pragma once

#include <optional>
#include <string>

#include "channel_model.h"

namespace thole::proptests {

/// The words of an order: channel or handle, then the numbers of what it makes.
enum ChannelCall : uint32_t {
  kCreate = kFirstOwnCall,  // channel
  kClose,                   // channel
  kSend,                    // channel, message
  kReceive,                 // channel, handle   -> message, attempt
  kAck,                     // handle
  kDrop,                    // handle, message
  kClone,                   // handle, its clone
  kReserve,                 // channel, writer
  kCommit,                  // writer, message, channel -> is it left, all of it
  kRollback,                // writer
};
/// In the words of every reply: what the heap has in use.
inline constexpr int kBlocksUsedWord = 9;

struct ChannelLaws {
  struct Writer {
    int life;
    uint64_t channel;
    bool operator==(const Writer&) const = default;
  };
  static constexpr bool kMayTakeEffectLater = false;
  static constexpr size_t kHandlesMax = 30;

  ChannelModel model;
  uint64_t blocks_per_channel = 1;
  bool ack_ends_handle = false;  // or the handle may still be read until it is dropped
  std::map<uint64_t, Writer> writers = {};
  bool operator==(const ChannelLaws&) const = default;

  bool Resolve(int life, Order& order, uint64_t fresh) const;
  std::string Accept(int life, const Order& order, const Reply& reply, bool quiet);
  std::vector<ChannelLaws> Outcomes(int life, const Order& order, bool quiet) const;
  void Gone(const std::vector<int>& lives);
  bool NextOfFinish(int life, Order& order, uint64_t fresh) const;
  bool LastLook(uint64_t number, Order& order, uint64_t fresh) const;

 private:
  std::string AcceptReceive(int life, const Order& order, const Reply& reply, bool quiet);
  std::string AcceptSend(uint64_t channel, const Order& order, const Reply& reply, bool quiet);
  void Drop(uint64_t tag);
  ModelHandle* HandleOf(uint64_t tag);
  uint64_t BlocksWanted() const;
};

}  // namespace thole::proptests
