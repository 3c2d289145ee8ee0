#include "child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <exception>
#include <string>
#include <string_view>

#include "demo/feeder.h"
#include "demo/stage.h"
#include "demo/worker.h"

namespace thole::cli::demo {
namespace {

bool ParseNumber(std::string_view text, uint32_t& value) {
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && stop == text.data() + text.size();
}

absl::Status Play(std::string_view role, const std::string& segment, uint32_t index) {
  const std::string name = std::string(role) + "-" + std::to_string(index);
  auto stage = Stage::Enter(segment, name);
  if (!stage.ok()) return stage.status();
  if (role == kFeederRole && index >= stage->catalog().feeders()) {
    return shm::Error(absl::StatusCode::kInvalidArgument, "there is no " + name);
  }
  absl::Status done = role == kFeederRole ? Feed(*stage, index) : Work(*stage);
  if (!done.ok()) return done;
  return stage->system().Leave(shm::Deadline::In(std::chrono::seconds(10)));
}

}  // namespace

ExitCode RunChild(int argc, char** argv) {
  uint32_t index = 0;
  uint32_t parent = 0;
  if (argc != 6 || !ParseNumber(argv[4], index) || !ParseNumber(argv[5], parent)) {
    return FailUsage("demo-child is for `thole demo` itself");
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != static_cast<pid_t>(parent)) return ExitCode::kPeerDied;  // it died before that
  try {
    const absl::Status played = Play(argv[2], argv[3], index);
    return played.ok() ? ExitCode::kOk : Fail(played);
  } catch (const std::exception& error) {
    return Fail(shm::Error(absl::StatusCode::kInternal, error.what()));
  }
}

}  // namespace thole::cli::demo
