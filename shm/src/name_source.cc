#include "thole/shm/name_source.h"

#include <string>

namespace thole::shm {
namespace {

constexpr size_t kNameBytesMax = 63;

// Length of the UTF-8 sequence at the start of `text`, or 0 when there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogate
  if (first == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (first == 0xf4 && byte(1) > 0x8f) return 0;  // above U+10FFFF
  return length;
}

// What is wrong with the name, or nullptr.
const char* Problem(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kNameBytesMax) return "is longer than 63 bytes";
  if (name == "." || name == "..") return "is a directory name";
  for (size_t i = 0; i < name.size();) {
    const auto byte = static_cast<unsigned char>(name[i]);
    if (byte == '/') return "contains '/'";
    if (byte < 0x20 || byte == 0x7f) return "contains a control character";
    const size_t length = SequenceLength(name.substr(i));
    if (length == 0) return "is not UTF-8";
    const bool is_c1 = byte == 0xc2 && static_cast<unsigned char>(name[i + 1]) < 0xa0;
    if (is_c1) return "contains a control character";  // U+0080 .. U+009F
    i += length;
  }
  return nullptr;
}

// The name as it may stand in a message: without control characters, cut at 80 bytes.
std::string Printable(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 80)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  if (name.size() > 80) text += "...";
  return text;
}

NamedPlace PlaceOf(const RootData& root, uint32_t index) {
  NamedPlace place;
  place.offset = root.offset;
  place.size_bytes = root.size_bytes;
  place.kind = root.kind;
  place.index = index;
  place.generation = root.generation;
  return place;
}

}  // namespace

bool IsValidName(std::string_view name) noexcept { return Problem(name) == nullptr; }

std::string DescribeNameProblem(std::string_view what, std::string_view name) {
  const char* problem = Problem(name);
  if (problem == nullptr) return "";
  return std::string(what) + " name '" + Printable(name) + "' " + problem +
         ": use 1 to 63 bytes of UTF-8 without '/' and control characters";
}

NameResult RootNames::Find(std::string_view name, NamedPlace& place) noexcept {
  if (!IsValidName(name)) return NameResult::kInvalidName;
  uint32_t index = 0;
  for (const RootData& root : segment_->Roots()) {
    if (root.component == static_cast<uint16_t>(component_) && name == root.name) {
      place = PlaceOf(root, index);
      return NameResult::kOk;
    }
    ++index;
  }
  return NameResult::kNotFound;
}

void RootNames::ForEach(uint32_t kind, const std::function<void(const NamedPlace&)>& visit) {
  uint32_t index = 0;
  for (const RootData& root : segment_->Roots()) {
    if (root.component == static_cast<uint16_t>(component_) && root.kind == kind) {
      visit(PlaceOf(root, index));
    }
    ++index;
  }
}

}  // namespace thole::shm
