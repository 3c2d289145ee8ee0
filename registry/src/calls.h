// The numbers that a lane's `in_call` shows while a call of the registry runs.
#pragma once

#include "thole/shm/attachment.h"

namespace thole::registry {

enum : shm::CallId {
  kCreateCall = 0x201,
  kAcquireCall,
  kRemoveCall,
  kListCall,
  kSweepCall,
  kReleaseCall,
};

}  // namespace thole::registry
