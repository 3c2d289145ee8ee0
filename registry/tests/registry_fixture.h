// The fixture of the tests in one process: a segment, somebody in it, and an audit at the end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "registry_world.h"

namespace thole::registry::testing {

template <class T>
std::string MessageOf(const absl::StatusOr<T>& result) {
  return std::string(result.status().message());
}

class RegistryTest : public ::testing::Test {
 protected:
  ~RegistryTest() override {
    shm::Findings findings;
    AuditAll(me_->attachment().segment(), findings);
    EXPECT_TRUE(findings.empty()) << findings.ToString();
  }
  SharedBufferRegistry& registry() { return me_->registry(); }
  uint64_t used() { return me_->heap().used_bytes(); }

  NamedSegment segment_{8};
  std::unique_ptr<Member> me_ = segment_.Join();
};

}  // namespace thole::registry::testing
