#include "thole/shm/segment.h"

namespace thole::shm {
namespace {

// A path as it may stand in a message: without control characters, cut in the middle.
std::string Printable(const std::string& path) {
  constexpr size_t kBytesMax = 200;
  std::string text = path;
  if (text.size() > kBytesMax) text.replace(kBytesMax / 2, text.size() - kBytesMax, "...");
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return text;
}

}  // namespace

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
      return "segment '" + Printable(text_) + "'";
    case Kind::kFile:
      return "file '" + Printable(text_) + "'";
    case Kind::kDescriptor:
      return "descriptor " + std::to_string(descriptor_);
    case Kind::kMemory:
      return "memory of " + std::to_string(size_bytes_) + " bytes";
  }
  return "place";
}

}  // namespace thole::shm
