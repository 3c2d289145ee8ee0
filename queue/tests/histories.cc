// Histories of real processes: a few forked ones work on a small queue in short rounds, some are
// really killed or stopped in the middle, and every round's history is checked.
//
//   queue_histories --seconds 10 [--seed N] [--json FILE]
//   queue_histories --check FILE    a history that was printed; exit status 1: it is impossible
//
// A round: everybody makes a few calls at once, each noted in shared memory beside the segment,
// with moments of one clock. A timer kills the victim, if there is one, at some instruction of it.
// Then the judge repairs - sometimes at once, sometimes only when the others are done - and drains
// the queue. All of it is one history.
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>

#include "support/history.h"
#include "support/history_counts.h"
#include "support/party.h"

namespace thole::queue::testing {
namespace {

using Clock = std::chrono::steady_clock;
using shm::testing::Random;

constexpr uint32_t kWorkersMax = 4;
constexpr uint32_t kCallsMax = 24;  // of one worker in one round
constexpr uint32_t kJudge = kWorkersMax;
constexpr uint32_t kRoundsOfAQueue = 300;
constexpr auto kHang = std::chrono::seconds(20);
constexpr auto kPatience = std::chrono::milliseconds(2);

/// Outside of the segment. What a worker notes is complete up to where it was killed.
struct Board {
  std::atomic<uint64_t> clock;
  shm::Word32 round;
  shm::Word32 news;  // counts up whenever a worker is done, or has joined
  std::atomic<uint64_t> seed;
  std::atomic<uint32_t> victim;     // of this round; kJudge = nobody
  std::atomic<uint32_t> signal;     // SIGKILL or SIGSTOP
  std::atomic<uint64_t> moment_ns;  // when the signal comes, after its first call began
  struct Worker {
    std::atomic<uint32_t> seat;  // slot + 1, once it has joined
    std::atomic<uint32_t> generation;
    std::atomic<uint32_t> done;   // the round that it is done with
    std::atomic<uint32_t> count;  // of its records
    CallRecord records[kCallsMax];
  } workers[kWorkersMax];
};

/// One worker in one round.
class Calls {
 public:
  Calls(Board& board, Party& party, uint32_t worker, uint64_t seed)
      : board_(board), me_(board.workers[worker]), party_(party), worker_(worker), random_(seed) {}

  void Make() {
    const uint64_t style = random_.Below(3);  // mostly sends, mostly receives, both
    const uint64_t calls = 3 + random_.Below(6);
    // Each may be followed by giving back what it took.
    for (uint64_t i = 0; i < calls && me_.count.load() + 3 < kCallsMax; ++i) {
      const bool push = style == 0   ? !random_.Chance(5)
                        : style == 1 ? random_.Chance(5)
                                     : random_.Chance(2);
      if (push) {
        Push(uint64_t{worker_ + 1} << 8 | i);
      } else {
        Pop();
      }
      if (held_ && random_.Chance(2)) GiveBack();
    }
    if (held_) GiveBack();
  }

 private:
  CallRecord& Begin(Event event, uint64_t message) {
    const uint32_t at = me_.count.load();
    CallRecord& record = me_.records[at];
    record = CallRecord{event, worker_, message, 0};
    record.begin = board_.clock.fetch_add(1);
    me_.count.store(at + 1);
    return record;
  }
  void End(CallRecord& record) { std::atomic_ref(record.end).store(board_.clock.fetch_add(1)); }
  void Push(uint64_t message) {
    CallRecord& record = Begin(Event::kPush, message);
    record.push = PushOne(*party_, message);
    record.ok = record.push == PushResult::kOk;
    End(record);
  }
  // Some wait: who waits repairs.
  void Pop() {
    CallRecord& record = Begin(Event::kPop, kNoMessage);
    PopInfo info;
    uint64_t message = kNoMessage;
    shm::LoanRef loan;
    PopResult result = PopOne(*party_, message, info, 0, &loan);
    if (random_.Chance(4)) {
      QueueWait wait(party_->handle(), WaitSide::kPop, shm::Deadline::In(kPatience));
      while (MayChange(result) && wait.Next(result == PopResult::kPending, info.stalled_on)) {
        result = PopOne(*party_, message, info, 0, &loan);
      }
      if (MayChange(result)) result = PopResult::kTimeout;
    }
    record.pop = result;
    record.ok = result == PopResult::kOk;
    if (record.ok) record.message = message;
    record.attempts = info.attempts;
    End(record);
    if (!record.ok || !loan) return;
    if (!party_->handle().ring().leased()) return Free(*party_, loan);
    if (held_) GiveBack();
    held_ = loan;
    held_message_ = message;
  }
  void GiveBack() {
    const bool ack = random_.Chance(2);
    CallRecord& record = Begin(ack ? Event::kAck : Event::kReturn, held_message_);
    if (ack) {
      Free(*party_, held_);
    } else {
      record.ok = Return(*party_, held_) == ReturnResult::kOk;
    }
    End(record);
    held_ = {};
  }

  Board& board_;
  Board::Worker& me_;
  Party& party_;
  const uint32_t worker_;
  Random random_;
  shm::LoanRef held_;
  uint64_t held_message_ = 0;
};

// The kernel's timer sends the signal, at whatever instruction the process is by then.
void SignalMeIn(uint64_t nanoseconds, uint32_t signal) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = static_cast<int>(signal);
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) std::abort();
  itimerspec moment{};
  moment.it_value.tv_nsec = static_cast<long>(nanoseconds + 1);
  if (timer_settime(timer, 0, &moment, nullptr) != 0) std::abort();
}

int Work(const shm::Segment& segment, const std::vector<QueueShape>& shapes, Board& board,
         uint32_t worker) {
  Party party(segment.file(), shapes);
  Board::Worker& me = board.workers[worker];
  shm::Platform& platform = party.attachment().platform();
  uint32_t round = me.done.load();
  me.generation.store(party.attachment().generation());
  me.seat.store(party.attachment().slot() + 1);
  const auto tell = [&] {
    board.news.fetch_add(1);
    platform.WakeWord(board.news, 1, 1);
  };
  tell();
  for (;;) {
    for (int turn = 0; turn < 300 && board.round.load() == round; ++turn) platform.Relax();
    while (board.round.load() == round) {
      platform.WaitWord(board.round, round, 1, platform.NowNs() + 100'000'000);
    }
    round = board.round.load();
    if (board.victim.load() == worker) SignalMeIn(board.moment_ns.load(), board.signal.load());
    Calls(board, party, worker, board.seed.load() + worker).Make();
    me.done.store(round);
    tell();
  }
}

class Rounds {
 public:
  Rounds(const QueueOptions& options, uint32_t workers, uint64_t seed)
      : shapes_{{"jobs", options}},
        rules_{.capacity = options.capacity, .leased = options.leased},
        workers_(workers),
        random_(seed),
        segment_(MakeSegment(shapes_)),
        judge_(segment_.file(), shapes_) {
    void* page =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) std::abort();
    board_ = new (page) Board{};
    board_->clock.store(1);
    for (uint32_t i = 0; i < workers_; ++i) Start(i);
  }
  ~Rounds() {
    for (uint32_t i = 0; i < workers_; ++i) {
      kill(pids_[i], SIGKILL);
      (void)WaitFor(pids_[i]);
    }
    munmap(static_cast<void*>(board_), sizeof(Board));
  }

  /// False when something was wrong, which was printed.
  bool RunOne() {
    for (uint32_t i = 0; i < workers_; ++i) board_->workers[i].count.store(0);
    board_->seed.store(random_.Next());
    History history;
    const bool kills = random_.Chance(2);
    const bool stops = !kills && random_.Chance(8);
    const auto victim = static_cast<uint32_t>(random_.Below(workers_));
    board_->victim.store(kills || stops ? victim : kJudge);
    board_->signal.store(kills ? SIGKILL : SIGSTOP);
    board_->moment_ns.store(random_.Below(uint64_t{1} << (10 + random_.Below(6))));
    const bool repairs_at_once = random_.Chance(2);
    const uint32_t round = board_->round.fetch_add(1) + 1;
    judge_.attachment().platform().WakeWord(board_->round, INT32_MAX, 1);
    if (kills) {
      Bury(victim, history);
      if (repairs_at_once) Repair(victim, history);
    } else if (stops) {
      int status = 0;
      waitpid(pids_[victim], &status, WUNTRACED);
      // The others may well be done by now. If they are not, they wait for it, or not.
      kill(pids_[victim], SIGCONT);
    }
    if (!AwaitOthers(round, kills ? victim : kJudge)) return false;
    if (kills && !repairs_at_once) Repair(victim, history);
    return Judge(history) && (!kills || Start(victim));
  }

 private:
  bool Start(uint32_t worker) {
    Board::Worker& shared = board_->workers[worker];
    shared.seat.store(0);
    shared.done.store(board_->round.load());
    pids_[worker] = Fork([&] { return Work(segment_, shapes_, *board_, worker); });
    alarm(0);
    return Await([&] { return shared.seat.load() != 0; }, "a worker does not join");
  }
  void Bury(uint32_t victim, History& history) {
    if (WaitFor(pids_[victim]) != -SIGKILL) std::abort();
    history.Add(Death{victim, board_->clock.fetch_add(1)});
    ++CountsOfHistories().deaths;
  }
  // Whoever did it: from now on the seat is free or another's.
  void Repair(uint32_t victim, History& history) {
    const Board::Worker& shared = board_->workers[victim];
    const uint32_t slot = shared.seat.load() - 1;
    (void)Await(
        [&] {
          judge_.attachment().RepairAll();
          const auto word = shm::SlotWord::Unpack(segment_.Slot(slot)->word.load());
          return word.state == shm::SlotState::kFree || word.generation != shared.generation.load();
        },
        "the dead one is not repaired");
    history.Repaired(victim, board_->clock.fetch_add(1));
  }
  template <class Done>
  bool Await(const Done& done, const char* what) {
    const auto limit = Clock::now() + kHang;
    shm::Platform& platform = judge_.attachment().platform();
    for (uint32_t seen = board_->news.load(); !done(); seen = board_->news.load()) {
      if (Clock::now() > limit) {
        std::printf("hung: %s\n", what);
        ++CountsOfHistories().violations;
        return false;
      }
      platform.WaitWord(board_->news, seen, 1, platform.NowNs() + 1'000'000);
    }
    return true;
  }
  bool AwaitOthers(uint32_t round, uint32_t but) {
    return Await(
        [&] {
          for (uint32_t i = 0; i < workers_; ++i) {
            if (i != but && board_->workers[i].done.load() != round) return false;
          }
          return true;
        },
        "a worker makes no turn");
  }
  CallRecord& Drained(History& history, Event event, uint64_t message) {
    CallRecord record{event, kJudge, message, board_->clock.fetch_add(1)};
    history.Add(record);
    return history.last();
  }
  // Killed between the answer and its note, a worker has begun to note it: the call did not return.
  static CallRecord AsItEnded(CallRecord record) {
    if (record.end != kNever) return record;
    record.ok = false;
    if (record.event == Event::kPop) record.message = kNoMessage;
    return record;
  }
  bool Judge(History& history) {
    for (uint32_t i = 0; i < workers_; ++i) {
      const Board::Worker& shared = board_->workers[i];
      for (uint32_t k = 0; k < shared.count.load(); ++k) history.Add(AsItEnded(shared.records[k]));
    }
    for (PopResult result = PopResult::kOk; result == PopResult::kOk;) {
      CallRecord& pop = Drained(history, Event::kPop, kNoMessage);
      PopInfo info;
      uint64_t message = kNoMessage;
      result = pop.pop = PopOne(*judge_, message, info);
      pop.ok = result == PopResult::kOk;
      pop.attempts = info.attempts;
      if (pop.ok) pop.message = message;
      pop.end = board_->clock.fetch_add(1);
      if (!pop.ok) break;
      CallRecord& ack = Drained(history, Event::kAck, message);
      ack.ok = true;
      ack.end = board_->clock.fetch_add(1);
    }
    shm::Findings findings;
    history.Check(rules_, findings);
    if (findings.empty()) return true;
    std::printf("%s\n", findings.ToString().c_str());
    return false;
  }

  const std::vector<QueueShape> shapes_;
  const QueueRules rules_;
  const uint32_t workers_;
  Random random_;
  shm::Segment segment_;
  Party judge_;
  Board* board_;
  pid_t pids_[kWorkersMax] = {};
};

QueueOptions Shape(Random& random) {
  const uint32_t capacity = 1u << random.Below(3);
  switch (random.Below(3)) {
    case 0:
      return Inline(capacity);
    case 1:
      return Blocks(capacity, false);
    default:
      return Blocks(capacity, true);
  }
}

int RunRounds(double seconds, uint64_t seed, const std::string& json) {
  Random random(seed);
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration<double>(seconds);
  bool ok = true;
  while (ok && Clock::now() < end) {
    const QueueOptions shape = Shape(random);
    Rounds rounds(shape, 2 + static_cast<uint32_t>(random.Below(3)), random.Next());
    for (uint32_t i = 0; ok && i < kRoundsOfAQueue && Clock::now() < end; ++i) {
      ok = rounds.RunOne();
    }
  }
  if (!ok) std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return PrintCounts("real processes", json) && ok ? 0 : 1;
}

int CheckFile(const std::string& file) {
  std::ifstream in(file);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  QueueRules rules;
  const auto history = History::FromText(text, &rules);
  if (!history) {
    std::fprintf(stderr, "%s is no history\n", file.c_str());
    return 2;
  }
  shm::Findings findings;
  history->Check(rules, findings);
  std::printf("%s\n", findings.empty() ? "possible" : findings.ToString().c_str());
  return findings.empty() ? 0 : 1;
}

int Main(int argc, char** argv) {
  double seconds = 5;
  uint64_t seed = 1;
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--check") return CheckFile(argv[i + 1]);
    if (option == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (option == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 0);
    if (option == "--json") json = argv[i + 1];
  }
  return RunRounds(seconds, seed, json);
}

}  // namespace
}  // namespace thole::queue::testing

int main(int argc, char** argv) { return thole::queue::testing::Main(argc, argv); }
