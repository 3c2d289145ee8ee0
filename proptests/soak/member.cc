#include "member.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "member_thread.h"

namespace thole::soak {
namespace {

// For the handler, which gets no argument. Set before the signal can come.
const MemberRecord* record_of_handler = nullptr;
volatile char* nothing_there = nullptr;

// At whatever instruction the process is, in whatever call: it is gone without saying goodbye.
void EndHere(int) {
  if (record_of_handler->end.load() == kFault) *nothing_there = 1;
  _exit(kExitWithoutLeaving);
}

void InstallEnds(const MemberRecord& record) {
  record_of_handler = &record;
  nothing_there =
      static_cast<char*>(mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct sigaction action{};
  action.sa_handler = EndHere;
  sigaction(SIGUSR1, &action, nullptr);
  signal(SIGSEGV, SIG_DFL);  // also where a sanitizer would rather explain it
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
}

}  // namespace

std::string TableName(uint32_t table) { return "table-" + std::to_string(table); }
uint64_t TableBytes(uint32_t table) { return uint64_t{64} << (2 * table); }

void MemberThread::Wait(int64_t nanoseconds) {
  shm::Word32 nobody_wakes{0};
  system_.attachment()->platform().WaitWord(nobody_wakes, 0, 1, NowNs() + nanoseconds);
}

void MemberThread::StandStill(bool (*must)(uint32_t phase)) {
  for (uint32_t now = phase(); must(now) && !complained(); now = phase()) {
    record_.standing.store(board_->pause.load());
    system_.attachment()->platform().WaitWord(board_->phase, now, 1, NowNs() + 100'000'000);
  }
  record_.standing.store(0);
}

bool MemberThread::Complain(const std::string& what) {
  if (member_.complained.fetch_add(1) == 0) {
    std::snprintf(member_.complaint, sizeof(member_.complaint), "%s", what.c_str());
  }
  return false;
}

void MemberThread::NoteDuration(uint32_t stops, int64_t took_ns) {
  const int64_t over_ns = took_ns - std::chrono::nanoseconds(kPatience).count();
  // While it was stopped itself nothing can be said.
  if (over_ns <= 0 || stops % 2 != 0 || member_.stops.load() != stops) return;
  if (static_cast<uint64_t>(over_ns) > record_.longest_over_ns.load()) {
    record_.longest_over_ns.store(static_cast<uint64_t>(over_ns));
  }
}

bool MemberThread::UseTable(registry::BufferHandle& held) {
  const auto table = static_cast<uint32_t>(random_.Below(kTables));
  const std::string name = TableName(table);
  if (random_.Chance(3)) {
    const absl::Status removed =
        Timed([&](Deadline d) { return system_.buffers().Remove(name, d); });
    return removed.ok() || absl::IsNotFound(removed) || PassesByItself(removed) ||
           Complain("removing " + name, removed);
  }
  auto buffer = Timed([&](Deadline d) {
    return system_.buffers().OpenOrCreate(name, TableBytes(table), {.type_id = table + 1}, d);
  });
  if (!buffer.ok()) return PassesByItself(buffer.status()) || Complain(name, buffer.status());
  auto* word = buffer->As<uint64_t>();
  if (word == nullptr) return Complain(name + " is too small");
  const uint64_t seen = std::atomic_ref(*word).exchange(table + 1);
  if (seen != 0 && seen != table + 1) {
    board_->damaged.fetch_add(1);
    board_->AddFinding((name + " holds " + std::to_string(seen)).c_str());
  }
  if (random_.Chance(2)) held = *std::move(buffer);
  return true;
}

void MemberThread::GiveBack(registry::BufferHandle& held) {
  held.Release();
  (void)system_.Recover();
  const shm::LoanTable& loans = system_.attachment()->loans();
  while (!system_.buffers().Sweep(Deadline::In(kPatience)) || loans.AnyDoomed()) {
    record_.beats.fetch_add(1);
    (void)system_.Recover();
  }
  if (task_.streams.threads == 1 && loans.CountTaken() != 0) {
    (void)Complain(std::to_string(loans.CountTaken()) + " loans are taken, and nothing is held");
  }
}

int RunMember(const MemberTask& task, const SharedBoard& board) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  MemberRecord& record = board->members[task.member];
  InstallEnds(record);
  const auto fail = [&](const char* where, const absl::Status& status) {
    std::snprintf(record.complaint, sizeof(record.complaint), "%s: %s", where,
                  status.ToString().c_str());
    return 1;
  };
  const std::string name = (task.produces ? "producer-" : "consumer-") + std::to_string(task.index);
  auto system =
      UnifiedCommunicationSystem::Open(task.segment, {.create = false, .participant_name = name});
  if (!system.ok()) return fail("open", system.status());
  const shm::Attachment& attachment = *system->attachment();
  record.seat.store((uint64_t{attachment.slot()} << 32 | attachment.generation()) + 1);
  auto jobs = system->ConnectChannel(kJobs);
  if (!jobs.ok()) return fail("connect", jobs.status());
  auto plain = system->ConnectChannel(kPlain);
  if (!plain.ok()) return fail("connect", plain.status());
  const Channels channels{*std::move(jobs), *std::move(plain)};
  const auto work = [&](uint32_t thread) {
    (void)(task.produces ? Produce : Consume)(task, board, *system, channels, thread);
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i < task.streams.threads; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& thread : threads) thread.join();
  if (record.complained.load() != 0) return 1;
  record.seat.store(0);
  const absl::Status left = system->Leave(Deadline::In(std::chrono::seconds(10)));
  return left.ok() ? 0 : fail("leave", left);
}

}  // namespace thole::soak
