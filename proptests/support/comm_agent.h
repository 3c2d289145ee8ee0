// A participant of a whole system of channels, for the laws of channels.
#pragma once

#include "machine.h"

namespace thole::proptests {

/// Channels 0 and 1 are acknowledged, 2 is not; two places, four, and two.
Subject CommSubject();

}  // namespace thole::proptests
