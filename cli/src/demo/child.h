// A feeder or a worker: a process of its own, started over so that it inherits nothing.
//
//   thole demo-child feeder|worker SEGMENT INDEX PARENT
#pragma once

#include "exit_code.h"

namespace thole::cli::demo {

inline constexpr char kChildCommand[] = "demo-child";
inline constexpr char kFeederRole[] = "feeder";
inline constexpr char kWorkerRole[] = "worker";

/// Ends with its parent, whatever ends that one.
ExitCode RunChild(int argc, char** argv);

}  // namespace thole::cli::demo
