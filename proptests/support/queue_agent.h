// A participant of three queues that were laid out with the segment, for the laws of channels.
#pragma once

#include "channel_model.h"
#include "machine.h"

namespace thole::proptests {

/// Queue 0 is leased, 1 has its elements in its cells, 2 takes blocks for good.
Subject QueueSubject();
/// The same queues, empty, as a model.
ChannelModel QueueModel();

}  // namespace thole::proptests
