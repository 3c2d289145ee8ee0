// HistoryChecker: whether what several processes were answered can have been answered by one object
// that does one thing after the other (linearizability, after Wing and Gong, with a memory of the
// states that led nowhere).
//
// A history is a list of operations, each with the moments at which it began and ended. Every
// operation takes effect at some moment in between. One whose process died in it took effect before
// `end`, the death, or not at all. The model says what an effect is:
//
//   #include <thole/shm/testing/history_checker.h>
//   struct Register {                       // a word that processes store to and load from
//     struct Call { bool stores; int value; };
//     int value = 0;
//     // Calls `visit` with each state that the call may lead to when it answers as it did.
//     template <class Visit>
//     bool After(const Call& call, const Visit& visit) const {
//       if (call.stores) return visit(Register{call.value});
//       return call.value == value && visit(*this);
//     }
//     void AppendTo(std::string& key) const { key += std::to_string(value); }
//   };
//   bool Example() {
//     using thole::shm::testing::HistoryChecker;
//     HistoryChecker<Register> checker({{{true, 1}, 0, 5}, {{false, 0}, 1, 2}});
//     return checker.IsLinearizable(Register{});
//   }
//
// `After` returns true as soon as a visit does. Equal states must append equal texts, different
// ones different texts. Cost: exponential in how many operations overlap, not in how many there
// are. Deterministic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace thole::shm::testing {

/// Later than every end of an operation that returned.
inline constexpr uint64_t kNeverEnds = ~uint64_t{0};

template <class Model>
struct HistoryOperation {
  typename Model::Call call;
  uint64_t begin = 0;
  uint64_t end = kNeverEnds;  ///< the return, or the death of its process
  bool may_be_void = false;   ///< its process died in it
};

template <class Model>
class HistoryChecker {
 public:
  using Operation = HistoryOperation<Model>;
  explicit HistoryChecker(std::vector<Operation> operations) : operations_(std::move(operations)) {
    // What ended first is tried first: mostly that is the order in which it happened.
    std::sort(operations_.begin(), operations_.end(),
              [](const Operation& a, const Operation& b) { return a.end < b.end; });
  }

  bool IsLinearizable(const Model& initial) {
    done_.assign(operations_.size(), false);
    dead_ends_.clear();
    steps_ = 0;
    first_open_ = 0;
    return Search(initial);
  }
  /// States that the last search looked at.
  uint64_t steps() const { return steps_; }

 private:
  /// An operation may be next if it began before every open one ended.
  uint64_t FirstEnd() const {
    // Ordered by end: the first open one.
    return operations_[first_open_].end;
  }

  bool Search(const Model& state) {
    ++steps_;
    const size_t first_before = first_open_;
    while (first_open_ < operations_.size() && done_[first_open_]) ++first_open_;
    if (first_open_ == operations_.size()) return true;
    const bool found = IsNew(state) && TryEach(state);
    first_open_ = first_before;
    return found;
  }

  bool TryEach(const Model& state) {
    const uint64_t first_end = FirstEnd();
    for (size_t i = first_open_; i < operations_.size(); ++i) {
      const Operation& operation = operations_[i];
      if (done_[i] || operation.begin > first_end) continue;
      done_[i] = true;
      const auto go_on = [this](const Model& next) { return Search(next); };
      if (state.After(operation.call, go_on)) return true;
      if (operation.may_be_void && Search(state)) return true;
      done_[i] = false;
    }
    return false;
  }

  bool IsNew(const Model& state) {
    std::string key((operations_.size() + 7) / 8, '\0');
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (done_[i]) key[i / 8] = static_cast<char>(key[i / 8] | 1 << i % 8);
    }
    state.AppendTo(key);
    return dead_ends_.insert(std::move(key)).second;
  }

  std::vector<Operation> operations_;
  std::vector<bool> done_;
  size_t first_open_ = 0;
  std::unordered_set<std::string> dead_ends_;
  uint64_t steps_ = 0;
};

}  // namespace thole::shm::testing
