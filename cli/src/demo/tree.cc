#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

namespace thole::cli::demo {
namespace {

namespace fs = std::filesystem;

absl::Status CannotRead(const std::string& folder, int error) {
  const std::string what = "'" + folder + "' cannot be read";
  switch (error) {
    case ENOENT:
      return shm::Error(absl::StatusCode::kNotFound,
                        "there is no folder '" + folder + "': give --input another one");
    case ENOTDIR:
      return shm::Error(absl::StatusCode::kInvalidArgument,
                        "'" + folder + "' is not a folder: give --input one");
    case EACCES:
    case EPERM:
      return shm::Error(absl::StatusCode::kPermissionDenied,
                        what + ": no permission; give --input another folder");
    default:
      return shm::Error(absl::StatusCode::kInvalidArgument, what + ": " + std::strerror(error));
  }
}

void Visit(const fs::path& folder, Tree& tree);

void VisitEntry(const fs::directory_entry& entry, Tree& tree) {
  const std::string path = entry.path().string();
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) tree.unreadable.push_back(path);
  } else if (S_ISDIR(info.st_mode)) {
    Visit(entry.path(), tree);
  } else if (S_ISREG(info.st_mode)) {
    const TreeFile file{path, static_cast<uint64_t>(info.st_size), ModifiedNs(info)};
    if (OpenFile::AsListed(path, file.size_bytes, file.modified_ns)) {
      tree.files.push_back(file);
    } else {
      tree.unreadable.push_back(path);
    }
  }
}

void Visit(const fs::path& folder, Tree& tree) {
  std::error_code problem;
  fs::directory_iterator entries(folder, problem);
  if (problem) {
    tree.unreadable.push_back(folder.string());
    return;
  }
  while (entries != fs::directory_iterator()) {
    VisitEntry(*entries, tree);
    entries.increment(problem);
    if (problem) break;
  }
}

}  // namespace

absl::StatusOr<Tree> ListTree(const std::string& folder) {
  if (folder.find('\0') != std::string::npos) return CannotRead(folder.c_str(), EINVAL);
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return CannotRead(folder, errno);
  close(descriptor);
  Tree tree;
  Visit(fs::path(folder), tree);
  std::sort(tree.files.begin(), tree.files.end(),
            [](const TreeFile& a, const TreeFile& b) { return a.path < b.path; });
  std::sort(tree.unreadable.begin(), tree.unreadable.end());
  return tree;
}

uint64_t ModifiedNs(const struct stat& info) {
  return static_cast<uint64_t>(info.st_mtim.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(info.st_mtim.tv_nsec);
}

OpenFile::OpenFile(OpenFile&& other) noexcept { *this = std::move(other); }

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  size_bytes_ = other.size_bytes_;
  modified_ns_ = other.modified_ns_;
  return *this;
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

OpenFile OpenFile::AsListed(const std::string& path, uint64_t size_bytes, uint64_t modified_ns) {
  OpenFile file;
  // Not blocking: what was a file may have become a FIFO.
  file.descriptor_ = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  file.size_bytes_ = size_bytes;
  file.modified_ns_ = modified_ns;
  if (file && !file.StillAsListed()) return {};
  return file;
}

bool OpenFile::ReadAt(uint64_t offset, std::byte* into, uint64_t bytes) const {
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, into, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    offset += static_cast<uint64_t>(got);
    into += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

bool OpenFile::StillAsListed() const {
  struct stat info;
  return fstat(descriptor_, &info) == 0 && S_ISREG(info.st_mode) &&
         static_cast<uint64_t>(info.st_size) == size_bytes_ && ModifiedNs(info) == modified_ns_;
}

}  // namespace thole::cli::demo
