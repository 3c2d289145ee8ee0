// What a NameResult or BlockResult means, as a sentence.
#pragma once

#include <string_view>

#include "thole/shm/block_source.h"
#include "thole/shm/name_source.h"
#include "thole/shm/status.h"

namespace thole::registry {

/// Not for kOk.
absl::Status Explain(shm::NameResult result, std::string_view name);
absl::Status Explain(shm::BlockResult result, std::string_view name, uint64_t size_bytes);

}  // namespace thole::registry
