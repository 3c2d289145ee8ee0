// ForkRun: real children over one memfd, each of which may be killed by a real SIGKILL at a crash
// point. Checked variant only.
//
// A child opens and joins the segment by itself, runs its program and ends without a word, so that
// whatever it holds then is a dead one's. What its code reached is handed to the fuzzer, also when
// it is killed. A child that crashes, aborts, fails or hangs is a finding of the parent.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "byte_source.h"
#include "thole/shm/findings.h"
#include "thole/shm/segment.h"

namespace thole::fuzz {

/// Says so on stderr and aborts: a finding.
[[noreturn]] void Broken(const std::string& what);
void ExpectNone(const shm::Findings& findings, const char* after);

/// A number of a ledger; 0 at first. Written by children, read by everybody.
class Count {
 public:
  void Set(uint32_t value) { value_.store(value, std::memory_order_seq_cst); }  // before a death
  void Add() { value_.fetch_add(1, std::memory_order_seq_cst); }                // before a death
  uint32_t Get() const { return value_.load(std::memory_order_seq_cst); }
  explicit operator bool() const { return Get() != 0; }

 private:
  std::atomic<uint32_t> value_{0};
};

class ForkRun {
 public:
  static constexpr uint32_t kChildrenMax = 3;
  using Body = std::function<void(uint32_t child, ByteSource& program)>;

  /// Splits the input into programs and deaths, and runs them: one after the other, or, if the
  /// input says so, at the same time.
  static ForkRun Run(ByteSource input, const Body& body);

  uint32_t children() const { return static_cast<uint32_t>(children_.size()); }
  /// Whether it was killed, rather than ended.
  bool killed(uint32_t child) const { return children_[child].killed; }

 private:
  struct Child {
    pid_t process = 0;
    bool killed = false;
  };
  void Start(uint32_t index, uint32_t death, ByteSource program, const Body& body);
  void Wait(uint32_t index);

  std::vector<Child> children_;
};

/// `bytes` of memory that children inherit; never unmapped.
void* NewSharedMemory(size_t bytes);

/// A ledger in memory that parent and children share; made of Counts.
template <class T>
class SharedLedger {
 public:
  SharedLedger() : data_(new(NewSharedMemory(sizeof(T))) T) {}
  /// For the next run; nobody else uses it.
  T& Clear() { return *new (data_) T{}; }
  T* operator->() const { return data_; }
  T& operator*() const { return *data_; }

 private:
  T* data_;
};

/// The segment of one run: a memfd, formatted, in which nobody has a seat.
shm::Segment NewForkSegment(std::span<const shm::RootRequest> roots);

}  // namespace thole::fuzz
