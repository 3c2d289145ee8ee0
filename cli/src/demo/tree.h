// The files below a folder, as they were when the demonstration began.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "thole/shm/status.h"

namespace thole::cli::demo {

struct TreeFile {
  std::string path;
  uint64_t size_bytes = 0;
  uint64_t modified_ns = 0;
  friend bool operator==(const TreeFile&, const TreeFile&) = default;
};

struct Tree {
  std::vector<TreeFile> files;          ///< regular files that can be opened, sorted by path
  std::vector<std::string> unreadable;  ///< files and folders that cannot: left out, reported
};

/// Does not follow symbolic links, except that `folder` itself may be one. NotFound,
/// PermissionDenied, InvalidArgument (not a folder).
absl::StatusOr<Tree> ListTree(const std::string& folder);

uint64_t ModifiedNs(const struct stat& info);

/// A file that is open for reading, if it still is what the listing saw.
class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();
  /// Opens `path` if it is a regular file of this size and time; empty otherwise.
  static OpenFile AsListed(const std::string& path, uint64_t size_bytes, uint64_t modified_ns);

  explicit operator bool() const { return descriptor_ >= 0; }
  /// Reads exactly `bytes` bytes from `offset`; false when there are fewer, or none can be read.
  bool ReadAt(uint64_t offset, std::byte* into, uint64_t bytes) const;
  /// Whether the file still has the size and time that it was opened with.
  bool StillAsListed() const;

 private:
  int descriptor_ = -1;
  uint64_t size_bytes_ = 0;
  uint64_t modified_ns_ = 0;
};

}  // namespace thole::cli::demo
