// Two processes: one sends a greeting, the other one receives it.
//
// Whoever opens the segment first creates it; there is no server and nothing to start beforehand.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "thole/comm/unified_communication_system.h"

namespace {

using thole::Deadline;
using thole::UnifiedCommunicationSystem;

struct Greeting {
  int32_t number;
  char text[28];
};

absl::Status Send(const std::string& segment) {
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) return system.status();
  auto channel = system->CreateChannel("greetings");  // both sides may: it is made once
  if (!channel.ok()) return channel.status();
  return channel->Send(1, Greeting{42, "hello, process"}, Deadline::In(std::chrono::seconds(5)));
}

absl::Status Receive(const std::string& segment) {
  auto system = UnifiedCommunicationSystem::Open(segment);
  if (!system.ok()) return system.status();
  auto channel = system->CreateChannel("greetings");
  if (!channel.ok()) return channel.status();
  auto message = channel->Receive(Deadline::In(std::chrono::seconds(5)));
  if (!message.ok()) return message.status();
  const auto* greeting = message->As<Greeting>();  // read where it lies, nothing is copied
  if (greeting == nullptr) return absl::DataLossError("that is no greeting");
  std::printf("received %d: %s\n", greeting->number, greeting->text);
  return message->Ack();  // done with it; a crash before this line would offer it to somebody else
}

int Report(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() {
  const std::string segment = "hello-" + std::to_string(getpid());
  // Fork first, open then: handles are not inherited.
  const pid_t sender = fork();
  if (sender == 0) _exit(Report(Send(segment)));
  const int received = Report(Receive(segment));
  int sent = 0;
  waitpid(sender, &sent, 0);
  (void)thole::shm::Segment::Remove(thole::shm::Place::Named(segment));
  return sent == 0 ? received : EXIT_FAILURE;
}
