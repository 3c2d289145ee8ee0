#include <dirent.h>

#include <fstream>

#include "test_segment.h"

namespace thole::shm {

Belongings Belongings::Now() {
  Belongings now;
  for (const std::string& name : Segment::List()) {
    if (name.rfind(TestName::Prefix(), 0) == 0) now.names.push_back(name);
  }
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++now.descriptors;
  closedir(directory);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const bool ours = line.find("/dev/shm/") != std::string::npos ||
                      line.find("/memfd:thole") != std::string::npos ||
                      line.find("(deleted)") != std::string::npos;
    now.mappings += ours ? 1 : 0;
  }
  return now;
}

}  // namespace thole::shm
