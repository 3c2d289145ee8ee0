#include "thole/shm/testing/fake_kernel.h"

#include <algorithm>

namespace thole::shm::testing {
namespace {

// What a call into the kernel takes: enough that a loop which watches the clock ends.
constexpr int64_t kCallNs = 200;
// What a sleeper without end sleeps where nobody else can ever run.
constexpr int64_t kLonelySleepNs = 20'000'000;

}  // namespace

FakeKernel::FakeKernel(uint32_t slots) {
  for (auto& byte : holders_) byte.assign(slots, kNobody);
}

std::shared_ptr<FakeKernel> FakeKernel::CopyForImage() const {
  auto copy = std::make_shared<FakeKernel>(static_cast<uint32_t>(holders_[0].size()));
  copy->holders_ = holders_;
  copy->processes_ = processes_;
  for (ProcessState& process : copy->processes_) process.platform = nullptr;
  copy->own_clock_ = *clock_;
  return copy;
}

uint32_t FakeKernel::Start(FakePlatform* platform, const void* base) {
  processes_.push_back({platform, base, true});
  return static_cast<uint32_t>(processes_.size() - 1);
}

uint64_t FakeKernel::HashOfState() const {
  uint64_t hash = 0;
  const auto add = [&hash](uint64_t value) {  // as splitmix64 ends
    uint64_t z = (hash ^ value) * 0x9e3779b97f4a7c15 + hash;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    hash = z ^ z >> 31;
  };
  for (const auto& holders : holders_) {
    for (const uint32_t holder : holders) add(holder);
  }
  for (const ProcessState& process : processes_) add(process.alive ? 1 : 2);
  for (const Sleeper& sleeper : sleepers_) {
    add(sleeper.key);
    add(uint64_t{sleeper.bits} << 32 | sleeper.process);
  }
  return hash;
}

uint32_t& FakeKernel::Holder(LockByte byte, uint32_t slot) {
  std::vector<uint32_t>& holders = holders_[static_cast<uint32_t>(byte)];
  if (slot >= holders.size()) holders.resize(slot + 1, kNobody);
  return holders[slot];
}

bool FakeKernel::SlotIsAlive(uint32_t slot) const {
  const std::vector<uint32_t>& holders = holders_[static_cast<uint32_t>(LockByte::kLife)];
  return slot < holders.size() && holders[slot] != kNobody && processes_[holders[slot]].alive;
}

void FakeKernel::DropAll(uint32_t process) {
  Give(KeyOfDeath(process));
  for (size_t byte = 0; byte < holders_.size(); ++byte) {
    for (uint32_t slot = 0; slot < holders_[byte].size(); ++slot) {
      if (holders_[byte][slot] != process) continue;
      holders_[byte][slot] = kNobody;
      Give(KeyOf(static_cast<LockByte>(byte), slot));
    }
  }
  std::erase_if(sleepers_, [&](const Sleeper& sleeper) { return sleeper.process == process; });
}

void FakeKernel::Kill(uint32_t process) {
  ProcessState& state = processes_[process];
  if (!state.alive) return;
  state.alive = false;
  if (state.platform != nullptr) state.platform->canary_ = 0;
  DropAll(process);
}

void FakeKernel::KillAllAt(const void* base) {
  for (uint32_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i].base == base) Kill(i);
  }
}

FakePlatform::FakePlatform(std::shared_ptr<FakeKernel> kernel, SegmentView mapping)
    : Platform(&canary_),
      kernel_(std::move(kernel)),
      mapping_(mapping),
      process_(kernel_->Start(this, mapping.base())) {}

FakePlatform::~FakePlatform() {
  kernel_->Kill(process_);
  kernel_->processes_[process_].platform = nullptr;
}

void FakePlatform::EnterKernel() {
  PassTime();
  if (kernel_->scheduler_ != nullptr) kernel_->scheduler_->EnterKernel();
}

void FakePlatform::PassTime() {
  const bool still = kernel_->scheduler_ != nullptr && kernel_->scheduler_->TimeStandsStill();
  if (!still) *kernel_->clock_ += kCallNs;
}

template <typename T>
T FakePlatform::Answer(T answer) {
  if (kernel_->scheduler_ != nullptr) kernel_->scheduler_->Saw(static_cast<uint64_t>(answer));
  return answer;
}

uint64_t FakePlatform::KeyOf(const Word32& word) const {
  return mapping_.Contains(&word) ? mapping_.OffsetOf(&word) : 0;
}

int64_t FakePlatform::NowNs() {
  PassTime();
  return Answer(*kernel_->clock_);
}

void FakePlatform::WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) {
  // Waiting and waking take the same lock of the kernel: who waits after a wake-up sees its cause.
  kernel_->Take(FakeKernel::KeyOfWord(KeyOf(word)));
  // The simulator lets others run before this load; nothing comes between it and falling asleep.
  if (word.load(std::memory_order_seq_cst) != expected) return;  // as the kernel does
  FakeScheduler* scheduler = kernel_->scheduler_;
  if (scheduler == nullptr) {
    int64_t& now = *kernel_->clock_;
    now = std::max(now, std::min(until_ns, now + kLonelySleepNs));
    return;
  }
  kernel_->sleepers_.push_back({KeyOf(word), bits, process_, scheduler->Caller()});
  scheduler->Sleep(until_ns);
  kernel_->Take(FakeKernel::KeyOfWord(KeyOf(word)));
  std::erase_if(kernel_->sleepers_,
                [&](const FakeKernel::Sleeper& sleeper) { return sleeper.process == process_; });
}

int FakePlatform::WakeWord(Word32& word, int count, uint32_t bits) {
  EnterKernel();
  kernel_->Give(FakeKernel::KeyOfWord(KeyOf(word)));
  int woken = 0;
  auto& sleepers = kernel_->sleepers_;
  for (auto it = sleepers.begin(); it != sleepers.end() && woken < count;) {
    if (it->key != KeyOf(word) || (it->bits & bits) == 0) {
      ++it;
      continue;
    }
    kernel_->scheduler_->Wake(it->caller);
    it = sleepers.erase(it);
    ++woken;
  }
  return Answer(woken);
}

void FakePlatform::Relax() {
  *kernel_->clock_ += kCallNs;
  if (kernel_->scheduler_ != nullptr) kernel_->scheduler_->HandOver();
}

bool FakePlatform::TryHold(LockByte byte, uint32_t slot) {
  EnterKernel();
  uint32_t& holder = kernel_->Holder(byte, slot);
  if (holder != FakeKernel::kNobody && holder != process_) return Answer(false);
  holder = process_;
  kernel_->Take(FakeKernel::KeyOf(byte, slot));
  return Answer(true);
}

void FakePlatform::Drop(LockByte byte, uint32_t slot) {
  EnterKernel();
  uint32_t& holder = kernel_->Holder(byte, slot);
  if (holder != process_) return;
  holder = FakeKernel::kNobody;
  kernel_->Give(FakeKernel::KeyOf(byte, slot));
}

bool FakePlatform::IsHeld(LockByte byte, uint32_t slot) {
  EnterKernel();
  const uint32_t holder = kernel_->Holder(byte, slot);
  if (holder == FakeKernel::kNobody) kernel_->Take(FakeKernel::KeyOf(byte, slot));
  return Answer(holder != FakeKernel::kNobody && holder != process_);
}

ProcessIdentity FakePlatform::Self() {
  const uint32_t pid = FakeKernel::kFirstPid + process_;
  return {.pid = pid, .uid = 1000, .start_time = 7 + pid, .pid_namespace = 1, .time_namespace = 1};
}

std::optional<uint64_t> FakePlatform::StartTimeOf(uint32_t pid) {
  EnterKernel();
  const uint32_t process = pid - FakeKernel::kFirstPid;
  if (process >= kernel_->processes_.size()) return Answer(uint64_t{0});
  if (!kernel_->processes_[process].alive) {
    kernel_->Take(FakeKernel::KeyOfDeath(process));
    return Answer(uint64_t{0});
  }
  return Answer(uint64_t{7} + pid);
}

}  // namespace thole::shm::testing
