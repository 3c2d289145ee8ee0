// Must not compile: what a std::string points to means nothing in another process.
#include <thole/comm/unified_communication_system.h>

#include <string>

struct Job {
#ifdef TRIVIAL  // the twin that compiles, so that the failure is this member's
  char name[32];
#else
  std::string name;
#endif
};

absl::Status SendJob(thole::UnifiedCommunicationSystem& system, const Job& job) {
  return system.Send("jobs", 1, job, thole::Deadline::Now());
}
