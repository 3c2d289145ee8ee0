#include "image_shadow.h"

#include <cstring>

#include "run_heap.h"

namespace thole::shm::testing {
namespace {

constexpr uint64_t kWordBytes = 8;

uint64_t HashOfWordAt(uint64_t word, uint64_t value) {
  return Scatter(value ^ (word + 1) * 0x9e3779b97f4a7c15);
}

}  // namespace

ImageShadow::ImageShadow(std::byte* image, uint64_t bytes)
    : image_(image), words_(bytes / kWordBytes) {}

void ImageShadow::Update(uint64_t offset, uint64_t bytes) {
  const OutsideRunHeap outside;
  for (uint64_t word = offset / kWordBytes; word * kWordBytes < offset + bytes; ++word) {
    uint64_t value = 0;
    std::memcpy(&value, image_ + word * kWordBytes, kWordBytes);
    const uint64_t before = words_[word];
    if (value == before) continue;
    hash_ += HashOfWordAt(word, value) - HashOfWordAt(word, before);
    changes_.push_back({word, before});
    words_[word] = value;
  }
}

void ImageShadow::Mark() {
  std::memcpy(words_.data(), image_, words_.size() * kWordBytes);
  changes_.clear();
  hash_ = 0;
  hash_of_mark_ = 0;
  for (uint64_t word = 0; word < words_.size(); ++word) {
    hash_of_mark_ += HashOfWordAt(word, words_[word]);
  }
}

void ImageShadow::Rewind() {
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
    words_[change->word] = change->before;
    std::memcpy(image_ + change->word * kWordBytes, &change->before, kWordBytes);
  }
  changes_.clear();
  hash_ = 0;
}

bool ImageShadow::IsTrue() const {
  return std::memcmp(words_.data(), image_, words_.size() * kWordBytes) == 0;
}

}  // namespace thole::shm::testing
