// Any command line for `thole`: parsed as the program does, and run where it can do no harm:
// `list`, and `check` on a file in a folder of our own, whose bytes the input damages. `demo` is
// only parsed.
//
// Input: a byte with the number of patches, the patches (support/damage.h), then the words: a byte
// that says which, or that a text follows.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "command.h"
#include "support/byte_source.h"
#include "support/damage.h"
#include "thole/comm/unified_communication_system.h"

namespace {

using namespace thole;

constexpr uint32_t kWordsMax = 12;
constexpr uint32_t kPatchesMax = 6;
constexpr size_t kDamagedBytes = size_t{128} << 10;  // where everything but payloads is
constexpr const char* kWords[] = {
    "list",      "check",   "demo",   "--json",          "--repair",  "--file",    "--help",
    "--version", "--input", "--seed", "--seconds",       "--workers", "--feeders", "--",
    "",          "no such", "0",      "--kill-every-ms", "5",         "-1"};

/// The file, with a segment in it in which a process died.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "thole-fuzz-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
    if (const pid_t child = fork(); child == 0) {
      auto system = UnifiedCommunicationSystem::OpenAt(
          shm::Place::File(file()), {.segment = {.size_bytes = shm::kSegmentBytesMin}});
      if (!system.ok()) _exit(1);
      auto channel = system->CreateChannel("jobs", {.capacity = 4});
      for (uint64_t i = 0; i < 3; ++i) {
        if (!channel->Send(1, i, Deadline::Now()).ok()) _exit(1);
      }
      const auto held = channel->TryReceive();
      _exit(held.ok() ? 0 : 1);
    } else {
      int status = 1;
      waitpid(child, &status, 0);
      if (status != 0) std::abort();
    }
    const int opened = open(file().c_str(), O_RDWR | O_CLOEXEC);
    void* mapped =
        mmap(nullptr, shm::kSegmentBytesMin, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
    if (mapped == MAP_FAILED) std::abort();
    bytes_ = {static_cast<std::byte*>(mapped), shm::kSegmentBytesMin};
    whole_.assign(bytes_.begin(), bytes_.end());
  }
  ~Folder() {
    munmap(bytes_.data(), bytes_.size());
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file() const { return path_ + "/segment"; }
  std::span<std::byte> bytes() const { return bytes_; }
  void Restore() { std::memcpy(bytes_.data(), whole_.data(), whole_.size()); }

 private:
  std::string path_;
  std::span<std::byte> bytes_;
  std::vector<std::byte> whole_;
};

/// Swallows what the command prints while it exists.
class Silence final : private std::streambuf {
 public:
  Silence() : out_(std::cout.rdbuf(this)), err_(std::cerr.rdbuf(this)) {}
  ~Silence() override {
    std::cout.rdbuf(out_);
    std::cerr.rdbuf(err_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int_type overflow(int_type c) override { return c == traits_type::eof() ? '\n' : c; }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
  std::streambuf* out_;
  std::streambuf* err_;
};

bool Given(const CLI::App& command, const char* option) {
  return command.get_option(option)->count() != 0;
}

// What the command may be allowed to do here.
bool IsHarmless(const CLI::App& app, const Folder& folder) {
  const auto chosen = app.get_subcommands();
  if (chosen.size() != 1 || chosen[0]->get_name() == "demo") return false;
  if (chosen[0]->get_name() == "list") return true;
  if (Given(*chosen[0], "name")) return !Given(*chosen[0], "--repair");
  const auto files = chosen[0]->get_option("--file")->results();
  return files.empty() || (files.size() == 1 && files[0] == folder.file());
}

void ParseAndRun(std::vector<std::string> words, const Folder& folder) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  CLI::App app("thole", "thole");
  cli::Command chosen;
  app.set_version_flag("--version", "thole");
  app.require_subcommand(1);
  cli::AddDemoCommand(app, chosen);
  cli::AddListCommand(app, chosen);
  cli::AddCheckCommand(app, chosen);
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::ParseError&) {
    return;
  }
  if (chosen && IsHarmless(app, folder)) (void)chosen();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  fuzz::ByteSource input(data, size);
  fuzz::Damage damage(folder.bytes().first(kDamagedBytes));
  damage.OverwriteAll(input, input.Below(kPatchesMax));
  std::vector<std::string> words = {"thole"};
  for (uint32_t i = 0; i < kWordsMax && !input.empty(); ++i) {
    const uint64_t which = input.Below(std::size(kWords) + 3);
    if (which < std::size(kWords)) {
      words.emplace_back(kWords[which]);
    } else {
      words.push_back(which == std::size(kWords) ? input.Text(20) : folder.file());
    }
  }
  for (std::string& word : words) word = word.c_str();  // a word ends at its first zero
  {
    const Silence silence;
    ParseAndRun(std::move(words), folder);
  }
  folder.Restore();
  return 0;
}
