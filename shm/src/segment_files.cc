#include "segment_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "thole/shm/name_source.h"

namespace thole::shm {
namespace {

absl::Status Refuse(const Place& place, const std::string& found) {
  return Error(
      absl::StatusCode::kInvalidArgument,
      place.Describe() + " " + found + ", not a thole segment: remove it or use another name",
      ErrorKind::kNotOurs);
}

const char* TypeName(mode_t mode) {
  if (S_ISDIR(mode)) return "is a directory";
  if (S_ISFIFO(mode)) return "is a FIFO";
  if (S_ISSOCK(mode)) return "is a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "is a device";
  return "is not a regular file";
}

// Beyond the process's limit the kernel does not only refuse, it sends a deadly SIGXFSZ.
absl::Status CheckSizeLimit(uint64_t size_bytes) {
  rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || size_bytes <= limit.rlim_cur) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted,
               "a segment of " + std::to_string(size_bytes) +
                   " bytes is beyond this process's limit of " + std::to_string(limit.rlim_cur) +
                   " for a file: raise it with ulimit -f");
}

// Real space for all of it now, so that a full file system is an error here and no SIGBUS later.
int Reserve(const File& file, uint64_t size_bytes) {
  int failed;
  do {
    failed = posix_fallocate(file.get(), 0, static_cast<off_t>(size_bytes));
  } while (failed == EINTR);
  return failed;
}

absl::Status CheckFile(const Place& place, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return Refuse(place, TypeName(info.st_mode));
  if (place.kind() == Place::Kind::kDescriptor) return absl::OkStatus();
  if (info.st_uid != geteuid()) {
    return Error(absl::StatusCode::kPermissionDenied,
                 place.Describe() + " belongs to user " + std::to_string(info.st_uid) +
                     ", we are user " + std::to_string(geteuid()) +
                     ": run as that user, or hand its descriptor over");
  }
  if (info.st_nlink == 0) {
    return Error(absl::StatusCode::kNotFound,
                 place.Describe() + " was removed while it was opened");
  }
  if (info.st_nlink > 1) return Refuse(place, "has " + std::to_string(info.st_nlink) + " names");
  return absl::OkStatus();
}

}  // namespace

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status SystemError(const std::string& what, int error) {
  const auto make = [&](absl::StatusCode code, const char* advice) {
    return Error(code, what + ": " + std::strerror(error) + ": " + advice);
  };
  switch (error) {
    case ENOENT:
      return Error(
          absl::StatusCode::kNotFound,
          what + ": there is none: create it, or look whether name and directory are right");
    case EEXIST:
      return Error(absl::StatusCode::kAlreadyExists,
                   what + ": exists already: open it, or remove it first");
    case EACCES:
    case EPERM:
      return make(absl::StatusCode::kPermissionDenied, "look at owner and mode");
    case EROFS:
      return make(absl::StatusCode::kPermissionDenied, "it can be opened for reading only");
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return make(absl::StatusCode::kResourceExhausted,
                  "free some space, or use a smaller segment");
    case ENOMEM:
      return make(absl::StatusCode::kResourceExhausted, "free some memory, or raise ulimit -v");
    case EMFILE:
    case ENFILE:
      return make(absl::StatusCode::kResourceExhausted, "close some files, or raise ulimit -n");
    case EOPNOTSUPP:
      return make(absl::StatusCode::kUnimplemented,
                  "use another file system, such as tmpfs or ext4");
    case ENAMETOOLONG:
    case EINVAL:
    case EBADF:
      return make(absl::StatusCode::kInvalidArgument, "use another place");
    default:
      return make(absl::StatusCode::kUnavailable, "try again, or use another place");
  }
}

absl::StatusOr<std::string> PathOf(const Place& place) {
  if (place.kind() == Place::Kind::kNamed) {
    if (std::string problem = DescribeNameProblem("segment", place.text()); !problem.empty()) {
      return Error(absl::StatusCode::kInvalidArgument, problem);
    }
    return std::string(kNamedDirectory) + kNamedPrefix + place.text();
  }
  if (place.text().empty() || place.text().find('\0') != std::string::npos) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "the path of a segment file is empty or has a NUL");
  }
  return place.text();
}

absl::StatusOr<File> MakeUnnamedFile(const Place& place, const std::string& path,
                                     uint64_t size_bytes, uint32_t mode) {
  if (auto checked = CheckSizeLimit(size_bytes); !checked.ok()) return checked;
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  File file(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
  if (!file) return SystemError("create " + place.Describe() + " in '" + directory + "'", errno);
  if (fchmod(file.get(), mode) != 0)
    return SystemError("set the mode of " + place.Describe(), errno);
  if (const int failed = Reserve(file, size_bytes); failed != 0) {
    return SystemError("reserve " + std::to_string(size_bytes) + " bytes for " + place.Describe() +
                           " in '" + directory + "'",
                       failed);
  }
  return file;
}

absl::StatusOr<File> MakeMemoryFile(uint64_t size_bytes) {
  if (auto checked = CheckSizeLimit(size_bytes); !checked.ok()) return checked;
  File file(memfd_create("thole", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return SystemError("create a memory file", errno);
  if (const int failed = Reserve(file, size_bytes); failed != 0) {
    return SystemError("reserve " + std::to_string(size_bytes) + " bytes of memory", failed);
  }
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return SystemError("seal a memory file", errno);
  }
  return file;
}

absl::Status GiveName(const Place& place, const File& file, const std::string& path) {
  const std::string unnamed = "/proc/self/fd/" + std::to_string(file.get());
  if (linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return SystemError("create " + place.Describe(), errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<File> OpenChecked(const Place& place, bool read_only, uint64_t& size_bytes) {
  File file;
  if (place.kind() == Place::Kind::kDescriptor) {
    file = File(fcntl(place.descriptor(), F_DUPFD_CLOEXEC, 0));
    if (!file) return SystemError("open " + place.Describe(), errno);
  } else {
    auto path = PathOf(place);
    if (!path.ok()) return path.status();
    const int access = read_only ? O_RDONLY : O_RDWR;
    file = File(open(path->c_str(), access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (!file && errno == ELOOP) return Refuse(place, "is a symbolic link");
    if (!file && errno == EISDIR) return Refuse(place, "is a directory");
    if (!file && errno == ENXIO) return Refuse(place, "is a socket or a FIFO");
    if (!file) return SystemError("open " + place.Describe(), errno);
  }
  struct stat info;
  if (fstat(file.get(), &info) != 0) return SystemError("look at " + place.Describe(), errno);
  if (auto checked = CheckFile(place, info); !checked.ok()) return checked;
  size_bytes = static_cast<uint64_t>(info.st_size);
  if (size_bytes == 0) return Refuse(place, "is empty");
  if (size_bytes < sizeof(SegmentHeaderData)) {
    return Refuse(place, "has only " + std::to_string(size_bytes) + " bytes");
  }
  SegmentHeaderData header{};
  if (pread(file.get(), static_cast<void*>(&header), sizeof header, 0) != sizeof header) {
    return SystemError("read " + place.Describe(), errno);
  }
  if (auto checked = CheckHeader(place.Describe(), header, size_bytes); !checked.ok())
    return checked;
  return file;
}

absl::Status CheckHeader(const std::string& what, const SegmentHeaderData& header,
                         uint64_t file_bytes) {
  if (auto facts = CheckFacts(what, header, file_bytes); !facts.ok()) return facts;
  return CheckTables(what, header);
}

absl::Status CheckFacts(const std::string& what, const SegmentHeaderData& header,
                        uint64_t file_bytes) {
  if (header.magic != kSegmentMagic) {
    return Error(absl::StatusCode::kInvalidArgument,
                 what + " does not begin like a thole segment: remove it or use another name",
                 ErrorKind::kNotOurs);
  }
  if (header.format_version != kFormatVersion || header.layout_hash != kLayoutHash) {
    const bool same_version = header.format_version == kFormatVersion;
    return Error(absl::StatusCode::kUnimplemented,
                 what + " has layout version " + std::to_string(header.format_version) +
                     (same_version ? " of a build with other structures" : "") +
                     ", this library reads version " + std::to_string(kFormatVersion) +
                     ": use the library that made it, or remove it and create it again",
                 ErrorKind::kOtherVersion);
  }
  const auto damaged = [&](const std::string& found) {
    return Error(absl::StatusCode::kDataLoss,
                 what + " is damaged: " + found + "; restore it from a copy or remove it",
                 ErrorKind::kDamaged);
  };
  if (header.header_bytes != sizeof(SegmentHeaderData) ||
      header.static_check != StaticCheck(header)) {
    return damaged("the checksum of its header does not fit");
  }
  if (header.size_bytes > file_bytes) {
    return damaged("it was cut from " + std::to_string(header.size_bytes) + " to " +
                   std::to_string(file_bytes) + " bytes");
  }
  return absl::OkStatus();
}

absl::Status CheckTables(const std::string& what, const SegmentHeaderData& header) {
  const bool counts_fit =
      header.participants_max >= 1 && header.participants_max <= kParticipantsMax &&
      header.lanes_per_participant >= 1 && header.lanes_per_participant <= kLanesMax;
  const uint64_t lanes = uint64_t{header.participants_max} * header.lanes_per_participant;
  if (!counts_fit || header.slots_offset < sizeof(SegmentHeaderData) ||
      header.slots_offset % kCacheLine != 0 || header.lanes_offset % kCacheLine != 0 ||
      header.lane_bytes < sizeof(LaneData) || header.lane_bytes % kCacheLine != 0 ||
      header.slots_offset > header.size_bytes || header.lanes_offset > header.size_bytes ||
      header.lanes_offset < header.slots_offset + header.participants_max * sizeof(SlotData) ||
      header.lane_bytes > header.size_bytes / lanes ||
      lanes * header.lane_bytes > header.size_bytes - header.lanes_offset) {
    return Error(absl::StatusCode::kDataLoss,
                 what +
                     " is damaged: its participant table cannot be; restore it from a copy or "
                     "remove it",
                 ErrorKind::kDamaged);
  }
  return absl::OkStatus();
}

}  // namespace thole::shm
