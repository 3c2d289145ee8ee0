#include <signal.h>

#include <string_view>

#include "command.h"
#include "demo/child.h"

int main(int argc, char** argv) {
  // A reader that went away is an error of the write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  // The processes of the demonstration start over here, without the cost of the command line.
  if (argc > 1 && std::string_view(argv[1]) == thole::cli::demo::kChildCommand) {
    return static_cast<int>(thole::cli::demo::RunChild(argc, argv));
  }
  return static_cast<int>(thole::cli::RunCommandLine(argc, argv));
}
