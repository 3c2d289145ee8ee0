// Runs a fuzzer's entry over files and folders, without libFuzzer: how ctest replays the corpus.
//   segment_image_replay [--mutate N SEED] FILE|DIR...
// With --mutate every input is also run N times with random bytes changed; the seed is printed, so
// that a crash can be repeated.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::vector<std::vector<uint8_t>> Load(const std::filesystem::path& path) {
  std::vector<std::vector<uint8_t>> inputs;
  const auto add = [&](const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  };
  if (!std::filesystem::is_directory(path)) {
    add(path);
    return inputs;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) add(entry.path());
  return inputs;
}

uint64_t Next(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t mutations = 0, seed = 1;
  std::vector<std::vector<uint8_t>> inputs;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--mutate" && i + 2 < argc) {
      mutations = std::strtoull(argv[++i], nullptr, 10);
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      auto more = Load(argument);
      inputs.insert(inputs.end(), more.begin(), more.end());
    }
  }
  if (inputs.empty()) {
    std::fprintf(stderr, "no inputs: name files or folders\n");
    return 2;
  }
  uint64_t runs = 0;
  for (const auto& input : inputs) {
    LLVMFuzzerTestOneInput(input.data(), input.size());
    ++runs;
    for (uint64_t m = 0; m < mutations; ++m, ++runs) {
      uint64_t state = seed + m;
      auto changed = input;
      for (uint64_t n = Next(state) % 8 + 1; n-- > 0 && !changed.empty();) {
        changed[Next(state) % changed.size()] = static_cast<uint8_t>(Next(state));
      }
      LLVMFuzzerTestOneInput(changed.data(), changed.size());
    }
  }
  std::printf("%llu runs of %zu inputs, seed %llu\n", static_cast<unsigned long long>(runs),
              inputs.size(), static_cast<unsigned long long>(seed));
  return 0;
}
