#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "machine.h"
#include "thole/shm/crash_point.h"

namespace thole::proptests {
namespace {

// A call that takes longer than this hangs: no call waits longer than a second.
constexpr int kHangMs = 30'000;

struct Letter {
  bool forked = false;
  Order order;
};

// In the participant.

uint32_t points_left = 0;

void DieAtTheLastPoint(const char*) {
  if (--points_left != 0) return;
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

void Arm(uint32_t die_at) {
  points_left = die_at;
  if (die_at != 0) shm::crash_point_hook = DieAtTheLastPoint;
}

Reply Run(uint32_t die_at, const std::function<void(Reply&)>& call) {
  Reply reply;
  Arm(die_at);
  call(reply);
  shm::crash_point_hook = nullptr;
  reply.answered = true;
  return reply;
}

// The child uses what it inherited and drops all of it; both must change nothing.
Reply RunInChild(std::unique_ptr<Agent>& agent, const Order& order) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    const Reply reply = Run(0, [&](Reply& mine) { agent->Do(order, mine); });
    agent.reset();
    _exit(write(ends[1], &reply, sizeof(reply)) == sizeof(reply) ? 0 : 1);
  }
  close(ends[1]);
  Reply reply;
  if (read(ends[0], &reply, sizeof(reply)) != sizeof(reply)) reply.Break("no answer of the child");
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  if (status != 0) reply.Break("the forked child ended with status " + std::to_string(status));
  return reply;
}

[[noreturn]] void Serve(int orders, int file, const Subject& subject, uint32_t die_at) {
  std::unique_ptr<Agent> agent;
  const auto send_back = [orders](const Reply& reply) {
    if (send(orders, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply)) _exit(1);
  };
  auto segment = shm::Segment::Open(shm::Place::Descriptor(file), {});
  if (!segment.ok()) _exit(2);
  auto attachment = shm::Attachment::Make(*std::move(segment));
  if (!attachment.ok()) _exit(3);
  agent = subject.make_agent(*std::move(attachment));
  send_back(Run(die_at, [&](Reply& reply) {
    const absl::Status joined = agent->attachment().Join("participant");
    if (!joined.ok()) return reply.Break("join: " + joined.ToString());
    agent->Joined();
    reply.answer = Answer::kOk;
  }));
  for (Letter letter; recv(orders, &letter, sizeof(letter), 0) == sizeof(letter);) {
    send_back(letter.forked ? RunInChild(agent, letter.order)
                            : Run(letter.order.die_at,
                                  [&](Reply& reply) { agent->Do(letter.order, reply); }));
  }
  _exit(0);  // the machine let go of it
}

// In the test.

class ProcessMachine final : public Machine {
 public:
  explicit ProcessMachine(const Subject& subject) : subject_(subject) {
    auto made = shm::Segment::Create(shm::Place::Descriptor(), kSegment, subject.roots);
    if (!made.ok()) std::abort();
    segment_.emplace(*std::move(made));
  }
  ~ProcessMachine() override {
    for (int who = 0; who < kParticipants; ++who) Die(who);
  }

  Reply Attach(int who, uint32_t die_at) override {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) std::abort();
    std::fflush(nullptr);
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0) std::abort();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(4);
      close(ends[0]);
      for (const Participant& other : participants_)
        close(other.orders);  // or it never reads its end
      Serve(ends[1], segment_->file(), subject_, die_at);
    }
    close(ends[1]);
    participants_[who] = {child, ends[0]};
    return Hear(who, die_at);
  }
  Reply Do(int who, const Order& order) override { return Ask(who, {false, order}); }
  Reply DoForked(int who, const Order& order) override { return Ask(who, {true, order}); }
  void Die(int who) override {
    if (participants_[who].pid <= 0) return;
    kill(participants_[who].pid, SIGKILL);
    (void)Bury(who);
  }
  void Forget(int who) override {
    close(participants_[who].orders);  // it reads the end and exits by itself
    participants_[who].orders = -1;
    (void)Bury(who);
  }
  const shm::Segment& segment() const override { return *segment_; }

 private:
  struct Participant {
    pid_t pid = -1;
    int orders = -1;
  };

  Reply Ask(int who, const Letter& letter) {
    if (send(participants_[who].orders, &letter, sizeof(letter), MSG_NOSIGNAL) != sizeof(letter)) {
      Reply reply;
      reply.Break("the participant takes no order");
      return reply;
    }
    return Hear(who, letter.order.die_at);
  }
  // Its answer, or its end. Who was to die inside the call and got to its end dies now.
  Reply Hear(int who, uint32_t die_at) {
    Reply reply;
    pollfd wanted{participants_[who].orders, POLLIN, 0};
    if (poll(&wanted, 1, kHangMs) == 0) {
      reply.Break("the call hangs");
      return reply;
    }
    const bool whole = recv(wanted.fd, &reply, sizeof(reply), 0) == sizeof(reply);
    reply.answered = whole;
    reply.died = die_at != 0;
    if (whole && die_at != 0) Die(who);
    if (whole) return reply;
    const int status = Bury(who);
    if (die_at == 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      reply.Break("the participant ended with status " + std::to_string(status));
    }
    return reply;
  }
  // Waits: afterwards the kernel has dropped its locks.
  int Bury(int who) {
    int status = 0;
    while (waitpid(participants_[who].pid, &status, 0) < 0) {
    }
    if (participants_[who].orders >= 0) close(participants_[who].orders);
    participants_[who] = {};
    return status;
  }

  Subject subject_;
  std::optional<shm::Segment> segment_;
  Participant participants_[kParticipants];
};

}  // namespace

std::unique_ptr<Machine> MakeProcessMachine(const Subject& subject) {
  return std::make_unique<ProcessMachine>(subject);
}

}  // namespace thole::proptests
