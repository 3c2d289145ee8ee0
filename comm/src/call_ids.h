// Which public call a lane is in (LaneData::in_call). Values are for people; 0 = outside.
#pragma once

#include "thole/shm/attachment.h"

namespace thole::comm {

inline constexpr shm::CallId kCallSend = 0x401;
inline constexpr shm::CallId kCallReserve = 0x402;
inline constexpr shm::CallId kCallReceive = 0x403;
inline constexpr shm::CallId kCallRelease = 0x404;

}  // namespace thole::comm
