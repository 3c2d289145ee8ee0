// Making simulated processes over a mapping, and what both harnesses ask of every repaired image.
#pragma once

#include <memory>
#include <string>

#include "thole/shm/testing/fake_kernel.h"
#include "thole/shm/testing/scenario.h"

namespace thole::shm::testing {

/// A process that has not joined. Null and `*error` if the image cannot be opened.
std::unique_ptr<Process> MakeProcess(World& world, const std::shared_ptr<FakeKernel>& kernel,
                                     SegmentView mapping, std::string* error);
/// Takes a seat and lets the world open what needs one. "" or what went wrong.
std::string JoinProcess(World& world, Process& process, std::string_view name);
/// Formats an image of the world at `mapping`, which is all zero. "" or what went wrong.
std::string FormatImage(World& world, SegmentView mapping);
/// Adds a finding for every slot that a repaired image still gives to somebody dead.
void FindUnrepairedSlots(const Segment& segment, const FakeKernel& kernel, Findings& findings);
FakePlatform& PlatformOf(Process& process);

}  // namespace thole::shm::testing
