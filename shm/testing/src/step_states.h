// The bytes that the stepper works on: an image with several views, the states of a recorded run.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "step_recorder.h"
#include "thole/shm/segment_view.h"
#include "thole/shm/testing/state_set.h"

namespace thole::shm::testing {

/// Memory that is mapped at several places at once, each of them another process's view.
class StepImage {
 public:
  StepImage(uint64_t bytes, uint32_t views) : bytes_((bytes + 4095) & ~uint64_t{4095}) {
    const int file = memfd_create("thole-step", MFD_CLOEXEC);
    bool ok = file >= 0 && ftruncate(file, static_cast<off_t>(bytes_)) == 0;
    for (uint32_t i = 0; i < views && ok; ++i) {
      void* view = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      ok = view != MAP_FAILED;
      views_.push_back(static_cast<std::byte*>(view));
    }
    if (!ok) {
      std::perror("no memory for an image");
      std::abort();
    }
    close(file);
  }
  ~StepImage() {
    for (std::byte* view : views_) munmap(view, bytes_);
  }
  StepImage(const StepImage&) = delete;
  StepImage& operator=(const StepImage&) = delete;
  SegmentView view(uint32_t i) const { return SegmentView(views_[i], bytes_); }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_;
  std::vector<std::byte*> views_;
};

/// The states of a recorded run, one after the other.
class StepStates {
 public:
  StepStates(std::vector<std::byte> initial, std::span<const StepRecorder::Change> changes)
      : bytes_(std::move(initial)),
        changes_(changes.begin(), changes.end()),
        hash_(HashOfBytes(bytes_.data(), bytes_.size())) {}
  const std::vector<std::byte>& bytes() const { return bytes_; }
  /// HashOfBytes of the bytes.
  uint64_t hash() const { return hash_; }
  uint64_t number() const { return number_; }
  /// Makes it the next state; false when there is none.
  bool Next() {
    if (at_ == changes_.size()) return false;
    const uint64_t instruction = changes_[at_].instruction;
    for (; at_ < changes_.size() && changes_[at_].instruction == instruction; ++at_) {
      const uint64_t word = changes_[at_].word;
      uint64_t old = 0;
      std::memcpy(&old, bytes_.data() + word * 8, 8);
      std::memcpy(bytes_.data() + word * 8, &changes_[at_].value, 8);
      hash_ += HashOfWord(word, changes_[at_].value) - HashOfWord(word, old);
    }
    ++number_;
    return true;
  }
  /// "state 3: store 5 (the instruction at 0x4711) left 0x1 at offset 64".
  std::string Describe() const {
    if (at_ == 0) return "before the first store";
    const StepRecorder::Change& last = changes_[at_ - 1];
    char text[160];
    std::snprintf(
        text, sizeof(text),
        "state %llu: store %llu (the instruction at 0x%llx) left 0x%llx at offset %llu",
        static_cast<unsigned long long>(number_), static_cast<unsigned long long>(last.instruction),
        static_cast<unsigned long long>(last.address), static_cast<unsigned long long>(last.value),
        static_cast<unsigned long long>(last.word) * 8);
    return text;
  }
  static uint64_t Count(std::span<const StepRecorder::Change> changes) {
    uint64_t count = 1;
    for (size_t i = 0; i < changes.size(); ++i) {
      if (i == 0 || changes[i].instruction != changes[i - 1].instruction) ++count;
    }
    return count;
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<StepRecorder::Change> changes_;
  uint64_t hash_;
  size_t at_ = 0;
  uint64_t number_ = 0;
};

}  // namespace thole::shm::testing
