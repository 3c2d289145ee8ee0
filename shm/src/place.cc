#include "thole/shm/segment.h"

namespace thole::shm {

Place Place::Named(std::string_view name) {
  Place place;
  place.kind_ = Kind::kNamed;
  place.text_ = name;
  return place;
}

Place Place::File(std::string_view path) {
  Place place;
  place.kind_ = Kind::kFile;
  place.text_ = path;
  return place;
}

Place Place::Descriptor(int fd) {
  Place place;
  place.kind_ = Kind::kDescriptor;
  place.descriptor_ = fd;
  return place;
}

Place Place::Memory(void* base, uint64_t size_bytes) {
  Place place;
  place.kind_ = Kind::kMemory;
  place.base_ = base;
  place.size_bytes_ = size_bytes;
  return place;
}

std::string Place::Describe() const {
  switch (kind_) {
    case Kind::kNamed:
      return "segment '" + text_ + "'";
    case Kind::kFile:
      return "file '" + text_ + "'";
    case Kind::kDescriptor:
      return "descriptor " + std::to_string(descriptor_);
    case Kind::kMemory:
      return "memory of " + std::to_string(size_bytes_) + " bytes";
  }
  return "place";
}

}  // namespace thole::shm
