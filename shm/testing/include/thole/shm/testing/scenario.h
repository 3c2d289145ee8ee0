// Scenario: what a component tells the harnesses about itself, once, for all of them.
//
// The stepper runs `Act` instruction by instruction over the shipped machine code and, for every
// distinct state of the bytes, lets a survivor repair and audit a copy. The simulator runs several
// processes' programs as fibers, with random schedules and deaths at any shared access. A new
// operation joins both by one THOLE_OPERATION line in its component's `tests/operations.cc`.
//
// A simulated process is an Attachment over its own mapping of the image (FakePlatform) plus the
// handles that the component's `MakeProcess` builds on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "thole/shm/attachment.h"
#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::shm::testing {

/// Small, seedable, the same on every machine (splitmix64). Not shared bytes.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// 0 .. limit - 1.
  uint64_t Below(uint64_t limit) { return limit == 0 ? 0 : Next() % limit; }
  bool Chance(uint64_t one_in) { return Below(one_in) == 0; }

 private:
  uint64_t state_;
};

/// One simulated process. Components derive from it and add their handles.
class Process {
 public:
  explicit Process(std::shared_ptr<Attachment> attachment) : attachment_(std::move(attachment)) {}
  virtual ~Process() = default;
  Attachment& attachment() { return *attachment_; }
  const std::shared_ptr<Attachment>& shared_attachment() { return attachment_; }

 private:
  std::shared_ptr<Attachment> attachment_;
};

/// What one component brings: its segment, its handles, its audit.
class World {
 public:
  virtual ~World() = default;
  virtual uint64_t segment_bytes() const = 0;
  virtual SegmentOptions options() const {
    return {.participants_max = 6, .lanes_per_participant = 2};
  }
  virtual std::vector<RootRequest> Roots() const = 0;
  /// Builds the handles of a process and registers its repair parts. The attachment has not joined.
  virtual std::unique_ptr<Process> MakeProcess(std::shared_ptr<Attachment> attachment) = 0;
  /// Opens whatever needs a seat; called after the attachment joined.
  virtual void Joined(Process&) {}
  /// Everything that must hold once all dead are repaired and nobody is inside a call: structure,
  /// one holder for every block, and that the structure still works. May change the image.
  virtual void Audit(Process& survivor, Findings& findings) = 0;

  /// Set by the simulator: loads may return old values, so that the end of one call and the begin
  /// of another one are not ordered by time alone.
  bool weak_memory = false;
};

/// One public mutating operation on one representative shape, for the stepper.
///
/// In most copies `other` is alive and idle, in some it died as well. `check` runs before `Audit`.
struct Operation {
  std::string component = {};  // "alloc"
  std::string name = {};       // "AllocateTo", as in the public header
  std::string shape = {};      // "split of a large block"
  std::function<std::unique_ptr<World>()> make_world = {};
  /// Builds the shape with the help of a process that stays alive. Not stepped.
  std::function<void(World&, Process& victim, Process& other, Random&)> prepare = {};
  /// The operation itself: every state of the bytes on its way is repaired and audited.
  std::function<void(World&, Process& victim, Random&)> act = {};
  /// More to check in each repaired copy than `World::Audit` (may be empty): atomicity, payloads.
  std::function<void(World&, Process& survivor, Findings&)> check = {};
  /// The victim has no seat when `prepare` and `act` get it: for `Join` itself.
  bool joins_itself = false;
  /// It works on something that only one process may touch, and which another one that does the
  /// same operation would find too: it makes no pairs (systematic.h).
  bool alone = false;
};

/// Several processes that run programs at once, for the simulator.
///
/// Time is simulated: make deadlines with `In` below, never with `Deadline::In`. A process that
/// ends its body stays attached and idle. The segment is formatted once and copied for each run, so
/// that nothing may be remembered from `RootRequest::format`. `check` runs before `Audit`, and
/// `Audit` runs even when there is no `check`. Seats: setup, `processes`, up to two repairers, a
/// survivor.
struct Program {
  std::string component = {};
  std::string name = {};
  uint32_t processes = 2;
  /// A fresh world for each run; the ledger lives in it, outside of the segment.
  std::function<std::unique_ptr<World>()> make_world = {};
  /// Shapes the segment before the run, by a process that stays out of the schedule.
  std::function<void(World&, Process& setup, Random&)> prepare = {};
  /// After all processes joined: one of them, or the harness, does what the run begins with. It may
  /// use the handles of any of them; nobody else runs meanwhile.
  std::function<void(World&, const std::vector<Process*>&, Random&)> prepare_joined = {};
  /// The body of process `index`; may be cut off for ever at any shared access.
  std::function<void(World&, Process&, uint32_t index, Random&)> body = {};
  /// After all bodies ended or died and the dead were repaired: the ledger. `died` has a bit for
  /// each process that was killed.
  std::function<void(World&, Process& survivor, uint32_t died, Findings&)> check = {};
  /// The processes have no seat when `body` gets them.
  bool joins_itself = false;
  /// A bit for each process that is killed at the end of its body, if not before: as the victim of
  /// an operation, whose checks expect what it held to come back.
  uint32_t killed_at_end = 0;
  /// The bodies share nothing but the image and the kernel; what they note elsewhere is for `check`
  /// alone, and does not depend on who noted first. Then a search goes on from each state only once
  /// (systematic.h).
  bool shares_only_image = false;
  /// Shared accesses of one run after which it counts as hung.
  uint64_t accesses_max = 200'000;
};

/// A moment on the (simulated) clock of a process.
Deadline In(Process& process, std::chrono::nanoseconds span);
/// Kills a simulated process here and now: its kernel locks fall and its handles become inert. For
/// `prepare`, and for bodies that kill a successor of theirs; a process cannot kill itself.
void Kill(Process& process);
/// A new process over the same mapping, not joined: it lives and dies with the body that made it.
/// Null when the segment cannot be opened. Its destructor is that of a process that exits.
std::unique_ptr<Process> MakeSuccessor(World& world, Process& like);

/// All operations and programs of the executable they are linked into, in order of registration.
std::vector<Operation>& Operations();
std::vector<Program>& Programs();

struct RegisterOperation {
  explicit RegisterOperation(Operation operation) { Operations().push_back(std::move(operation)); }
};
struct RegisterProgram {
  explicit RegisterProgram(Program program) { Programs().push_back(std::move(program)); }
};
#define THOLE_JOIN_(a, b) a##b
#define THOLE_JOIN(a, b) THOLE_JOIN_(a, b)
/// Shapes times acts, at once: a range of operations.
struct RegisterOperations {
  explicit RegisterOperations(std::vector<Operation> operations) {
    for (Operation& operation : operations) Operations().push_back(std::move(operation));
  }
};
/// THOLE_OPERATION({.component = "alloc", .name = "AllocateTo", ...});
#define THOLE_OPERATION(...)                                                   \
  static const ::thole::shm::testing::RegisterOperation THOLE_JOIN(operation_, \
                                                                   __LINE__)(__VA_ARGS__)
#define THOLE_OPERATIONS(...)                                                    \
  static const ::thole::shm::testing::RegisterOperations THOLE_JOIN(operations_, \
                                                                    __LINE__)(__VA_ARGS__)
#define THOLE_PROGRAM(...) \
  static const ::thole::shm::testing::RegisterProgram THOLE_JOIN(program_, __LINE__)(__VA_ARGS__)

}  // namespace thole::shm::testing
