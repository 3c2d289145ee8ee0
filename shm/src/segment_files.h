// Files behind segments: making, opening and refusing them. Private to `shm`.
#pragma once

#include <string>

#include "thole/shm/segment.h"

namespace thole::shm {

/// A descriptor that closes itself.
class File {
 public:
  explicit File(int descriptor = -1) : descriptor_(descriptor) {}
  File(File&& other) noexcept : descriptor_(other.Take()) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~File();
  int get() const { return descriptor_; }
  int Take() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return descriptor;
  }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

uint64_t StaticCheck(const SegmentHeaderData& header);
/// Copies the facts that are written before anybody sees the segment, and not the words that others
/// change meanwhile.
void CopyFacts(const void* base, SegmentHeaderData& copy);
/// Participants and lanes; CheckOptions looks at size and mode as well.
absl::Status CheckCounts(const SegmentOptions& options);
absl::Status CheckOptions(const SegmentOptions& options);
/// Whether the header's static facts can be believed, for a file of `file_bytes` (S1).
absl::Status CheckFacts(const std::string& what, const SegmentHeaderData& header,
                        uint64_t file_bytes);
/// Whether the tables that it describes lie inside (S2).
absl::Status CheckTables(const std::string& what, const SegmentHeaderData& header);
/// Both.
absl::Status CheckHeader(const std::string& what, const SegmentHeaderData& header,
                         uint64_t file_bytes);

/// The path behind a named or file place, or what is wrong with its name.
absl::StatusOr<std::string> PathOf(const Place& place);
/// A file without a name in the directory of `path`, with `size_bytes` of real space.
absl::StatusOr<File> MakeUnnamedFile(const Place& place, const std::string& path,
                                     uint64_t size_bytes, uint32_t mode);
absl::StatusOr<File> MakeMemoryFile(uint64_t size_bytes);
/// Gives a file without a name its name; AlreadyExists when there is one.
absl::Status GiveName(const Place& place, const File& file, const std::string& path);
/// Opens what the place names and checks that it can be a segment of ours; `size_bytes` is its
/// size.
absl::StatusOr<File> OpenChecked(const Place& place, bool read_only, uint64_t& size_bytes);
absl::Status SystemError(const std::string& what, int error);

inline constexpr char kNamedDirectory[] = "/dev/shm/";
inline constexpr char kNamedPrefix[] = "thole.";

}  // namespace thole::shm
