#include "vitals.h"

#include <dirent.h>

#include <cinttypes>
#include <cstdio>

namespace thole::soak {
namespace {

uint64_t CountEntries(const std::string& folder, const std::string& name) {
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(entries)) {
    const std::string file = entry->d_name;
    count += file[0] != '.' && file.find(name) != std::string::npos;
  }
  closedir(entries);
  return count;
}

}  // namespace

Vitals VitalsOf(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  Vitals vitals;
  vitals.descriptors = CountEntries(folder + "/fd", "");
  std::FILE* status = std::fopen((folder + "/status").c_str(), "re");
  if (status == nullptr) return vitals;
  char line[256];
  while (std::fgets(line, sizeof(line), status) != nullptr) {
    if (std::sscanf(line, "RssAnon: %" SCNu64, &vitals.private_kib) == 1) break;
  }
  std::fclose(status);
  return vitals;
}

uint64_t CountSharedMemoryFiles(const std::string& name) { return CountEntries("/dev/shm", name); }

}  // namespace thole::soak
