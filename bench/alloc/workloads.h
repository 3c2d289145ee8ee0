// The workloads, for any system. A worker of a system has numbered places for its blocks:
//
//   std::byte* Allocate(uint32_t place, uint64_t bytes);  // null when there is no room
//   void Free(uint32_t place);
//   uint64_t Give(uint32_t place);               // another process will free it
//   void Accept(uint32_t place, uint64_t given);  // what another process gave
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "options.h"
#include "workers.h"

namespace thole::bench {

/// Sizes in the order in which they are asked for.
class Sizes {
 public:
  Sizes(const Work& work, uint64_t seed);
  uint32_t Next() { return sizes_[next_++ % kSizes]; }

 private:
  static constexpr size_t kSizes = size_t{1} << 16;
  std::vector<uint32_t> sizes_;
  size_t next_ = 0;
};

/// Watches nothing.
struct NoWatch {
  template <class Call>
  auto Allocate(Call call) {
    return call();
  }
  template <class Call>
  void Free(Call call) {
    call();
  }
};

/// How long each call takes, less what looking at the counter takes.
class StopWatch {
 public:
  StopWatch();
  template <class Call>
  auto Allocate(Call call) {
    const uint64_t began = Ticks();
    const auto result = call();
    Note(allocations_, Ticks() - began);
    return result;
  }
  template <class Call>
  void Free(Call call) {
    const uint64_t began = Ticks();
    call();
    Note(frees_, Ticks() - began);
  }
  Times allocations() const { return TimesOf(allocations_); }
  Times frees() const { return TimesOf(frees_); }

 private:
  void Note(Distribution& distribution, uint64_t ticks) {
    distribution.Add(ticks > own_ticks_ ? ticks - own_ticks_ : 0);
  }
  Times TimesOf(const Distribution& distribution) const;

  double ns_per_tick_;
  uint64_t own_ticks_;
  Distribution allocations_;
  Distribution frees_;
};

/// The time of a stretch of work, without what was waited.
class Stretch {
 public:
  void Skip(int64_t waited_ns) { cpu_began_ += waited_ns; }
  void End(Outcome& outcome) const {
    outcome.cpu_ns = static_cast<double>(CpuNs() - cpu_began_);
    outcome.wall_ns = static_cast<double>(NowNs() - began_);
  }

 private:
  int64_t began_ = NowNs();
  int64_t cpu_began_ = CpuNs();
};

/// The calls of one worker.
template <class Worker, class Watch>
class Caller {
 public:
  Caller(Worker& worker, Watch& watch) : worker_(worker), watch_(watch) {}

  // Every block is written to once: a user would do that, too.
  void Allocate(uint32_t place, uint64_t bytes) {
    std::byte* block = watch_.Allocate([&] { return worker_.Allocate(place, bytes); });
    Check(block != nullptr, "the heap is too small for this work");
    *block = std::byte{1};
    Keep(block);
  }
  void Free(uint32_t place) {
    watch_.Free([&] { worker_.Free(place); });
  }

 private:
  Worker& worker_;
  Watch& watch_;
};

/// One block, again and again.
template <class Worker, class Watch>
void RunPairs(const Work& work, uint32_t workers, Meeting& meeting, Worker& worker, Watch& watch,
              Outcome& outcome) {
  NoWatch none;
  for (int i = 0; i < 1000; ++i) {
    Caller(worker, none).Allocate(0, work.bytes_min);
    Caller(worker, none).Free(0);
  }
  meeting.Wait(workers);
  const Stretch stretch;
  Caller caller(worker, watch);
  for (uint32_t i = 0; i < work.pairs; ++i) {
    caller.Allocate(0, work.bytes_min);
    caller.Free(0);
  }
  stretch.End(outcome);
}

/// `live` blocks, of which a random one is freed and replaced by one of another size.
template <class Worker, class Watch>
void RunReplacement(const Work& work, uint32_t workers, uint32_t index, Meeting& meeting,
                    Worker& worker, Watch& watch, Outcome& outcome) {
  Sizes sizes(work, index + 1);
  Random random(index + 100);
  const auto replace = [&](auto& caller, uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) {
      const uint32_t place = random.Below(work.live);
      caller.Free(place);
      caller.Allocate(place, sizes.Next());
    }
  };
  NoWatch none;
  Caller preparer(worker, none);
  for (uint32_t i = 0; i < work.live; ++i) preparer.Allocate(i, sizes.Next());
  replace(preparer, work.pairs / 2);  // until the heap looks as it will go on looking
  meeting.Wait(workers);
  const Stretch stretch;
  Caller caller(worker, watch);
  replace(caller, work.pairs);
  stretch.End(outcome);
  for (uint32_t i = 0; i < work.live; ++i) preparer.Free(i);
}

/// Worker 0 allocates, worker 1 frees.
template <class Worker, class Watch>
void RunHandOver(const Work& work, uint32_t index, Meeting& meeting, Worker& worker, Watch& watch,
                 Outcome& outcome) {
  Sizes sizes(work, 1);
  meeting.Wait(kWorkersMax);
  Stretch stretch;
  Caller caller(worker, watch);
  for (uint32_t i = 0; i < work.pairs; ++i) {
    if (index == 0) {
      caller.Allocate(0, sizes.Next());
      stretch.Skip(meeting.ring.Push(i, worker.Give(0)));
    } else {
      uint64_t given = 0;
      stretch.Skip(meeting.ring.Pop(i, work.pairs, given));
      worker.Accept(0, given);
      caller.Free(0);
    }
  }
  stretch.End(outcome);
}

}  // namespace thole::bench
