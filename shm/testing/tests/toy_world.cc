#include "toy_world.h"

#include "thole/shm/testing/fake_kernel.h"
#include "thole/shm/wait_list.h"

namespace thole::shm::testing {
namespace {

constexpr uint16_t kToyKind = 7;

void Finish(ToyData& data) {
  // from + to is what it was before any carry: a state is enough to finish it, however often.
  const uint64_t from = data.from.load(std::memory_order_relaxed);  // one repairer
  data.to.store(kCredit - from, std::memory_order_release);         // before the intent is cleared
}

class ToyRepair final : public RepairPart {
 public:
  ToyRepair(ToyData* data, Fault fault) : data_(data), fault_(fault) {}
  RepairStep step() const override { return RepairStep::kComm; }
  RepairOutcome Repair(DeadParticipant& dead) override {
    if (dead.detaching) return RepairOutcome::kDone;
    if (fault_ == Fault::kRepairNeverDone) return RepairOutcome::kLater;
    if (fault_ == Fault::kRepairRestless) {
      data_->misused.fetch_add(1, std::memory_order_release);  // the fault
      return RepairOutcome::kLater;
    }
    if (fault_ == Fault::kRepairCounts) {
      data_->misused.fetch_sub(1, std::memory_order_release);  // the fault
    }
    for (Lane& lane : dead.lanes) {
      Word64& intent = lane.data().intent.word;
      if (intent.load(std::memory_order_acquire) == 0) continue;  // P-b
      // Its own lock is gone by now: somebody alive may be carrying.
      if (Lock(lane, data_->lock, Deadline::Now()) != LockResult::kOk) return RepairOutcome::kLater;
      if (fault_ == Fault::kRepairForgets) intent.store(0, std::memory_order_release);
      if (fault_ != Fault::kRepairNothing) Finish(*data_);
      intent.store(0, std::memory_order_release);  // after the words
      Unlock(lane, data_->lock);
    }
    return RepairOutcome::kDone;
  }

 private:
  ToyData* data_;
  Fault fault_;
};

}  // namespace

ToyProcess::ToyProcess(std::shared_ptr<Attachment> attachment, Fault fault)
    : Process(std::move(attachment)), fault_(fault) {
  const auto root = this->attachment().segment().Root(ComponentId::kComm, kToyKind);
  data_ = this->attachment().view().At<ToyData>(root->offset);
  this->attachment().Register(std::make_shared<ToyRepair>(data_, fault));
}

void ToyProcess::AddUnderLock(Lane& lane) {
  const uint64_t left = data_->left.load(std::memory_order_relaxed);    // under the lock
  const uint64_t right = data_->right.load(std::memory_order_relaxed);  // under the lock
  if (fault_ == Fault::kNoUndo) {
    data_->left.store(left + 1, std::memory_order_release);
    data_->right.store(right + 1, std::memory_order_release);
    return;
  }
  Transaction add(lane);
  if (fault_ == Fault::kLogTooLate) {
    data_->left.store(left + 1, std::memory_order_release);
  }
  add.Set(data_->left, left + 1);
  add.Set(data_->right, right + 1);
  add.Commit();
}

void ToyProcess::Misbehave() {
  FakePlatform& platform = static_cast<FakePlatform&>(attachment().platform());
  switch (fault_) {
    case Fault::kPointerStored:
      data_->misused.store(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(data_)),
                           std::memory_order_release);
      break;
    case Fault::kPointerFollowed: {
      // Half a pointer at a time, so that no word of the image looks like one.
      const uint64_t seen = data_->misused.load(std::memory_order_acquire);
      const auto mine = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&data_->left));
      if (seen == 0) {
        data_->misused.store(~mine, std::memory_order_release);
      } else {
        reinterpret_cast<Word64*>(static_cast<uintptr_t>(~seen))->load(std::memory_order_relaxed);
      }
      break;
    }
    case Fault::kBeyondTheEnd: {
      const SegmentView view = attachment().view();
      reinterpret_cast<Word64*>(view.base() + view.size_bytes())->load(std::memory_order_relaxed);
      break;
    }
    case Fault::kWaitsForTheDead:
      while (data_->misused.exchange(1, std::memory_order_seq_cst) != 0) platform.Relax();
      data_->misused.store(0, std::memory_order_seq_cst);
      break;
    case Fault::kSleepsForEver:
      platform.WaitWord(data_->sleepers, 0, 1, INT64_MAX);
      platform.WaitWord(data_->sleepers, 0, 1, INT64_MAX);
      break;
    default:
      break;
  }
}

void ToyProcess::Add() {
  Call call = attachment().Enter(1);
  if (fault_ == Fault::kRace) {
    const uint64_t left = data_->left.load(std::memory_order_relaxed);  // the fault
    data_->left.store(left + 1, std::memory_order_release);
    data_->right.store(left + 1, std::memory_order_release);
    return;
  }
  Misbehave();
  if (fault_ == Fault::kLockWithoutName) {
    data_->lock.word.store(call.lane().owner(), std::memory_order_release);  // the fault
    AddUnderLock(call.lane());
    data_->lock.word.store(0, std::memory_order_release);
    return;
  }
  if (Lock(call.lane(), data_->lock, Deadline::Never()) != LockResult::kOk) return;
  AddUnderLock(call.lane());
  if (fault_ != Fault::kLockForgotten) Unlock(call.lane(), data_->lock);
}

void ToyProcess::Carry() {
  Call call = attachment().Enter(2);
  if (Lock(call.lane(), data_->lock, Deadline::Never()) != LockResult::kOk) return;
  Word64& intent = call.lane().data().intent.word;
  intent.store(1, std::memory_order_release);
  const uint64_t from = data_->from.load(std::memory_order_relaxed);  // under the lock
  data_->from.store(from - 1, std::memory_order_release);
  Finish(*data_);
  intent.store(0, std::memory_order_release);
  Unlock(call.lane(), data_->lock);
}

std::vector<RootRequest> ToyWorld::Roots() const {
  RootRequest root{};
  root.component = ComponentId::kComm;
  root.kind = kToyKind;
  root.size_bytes = sizeof(ToyData);
  root.align = kCacheLine;
  root.name = "toy";
  root.format = [](SegmentView view, const RootData& data) {
    view.At<ToyData>(data.offset)->from.store(kCredit, std::memory_order_relaxed);  // nobody else
    return absl::OkStatus();
  };
  return {root};
}

std::unique_ptr<Process> ToyWorld::MakeProcess(std::shared_ptr<Attachment> attachment) {
  return std::make_unique<ToyProcess>(std::move(attachment), fault_);
}

void ToyWorld::Joined(Process& process) {
  if (fault_ != Fault::kRepairCounts) return;
  static_cast<ToyProcess&>(process).data().misused.fetch_add(1, std::memory_order_release);
}

void ToyWorld::Audit(Process& survivor, Findings& findings) {
  auto& toy = static_cast<ToyProcess&>(survivor);
  ToyData& data = toy.data();
  const uint64_t left = data.left.load(std::memory_order_relaxed);    // nobody is inside
  const uint64_t right = data.right.load(std::memory_order_relaxed);  // nobody is inside
  const uint64_t credit = data.from.load(std::memory_order_relaxed) +
                          data.to.load(std::memory_order_relaxed);  // nobody is inside
  if (left != right) findings.Add("T1", 0, "left is not right");
  if (credit != kCredit) findings.Add("T2", 0, "the credit is " + std::to_string(credit));
  uint64_t members = 0;
  const Segment& segment = survivor.attachment().segment();
  for (uint32_t i = 0; i < segment.participants_max(); ++i) {
    const uint64_t word = segment.Slot(i)->word.load(std::memory_order_acquire);  // P-a
    if (SlotWord::Unpack(word).state == SlotState::kLive) ++members;
  }
  if (fault_ == Fault::kRepairCounts &&
      data.misused.load(std::memory_order_relaxed) != members) {  // nobody is inside
    findings.Add("T4", 0, "the members are miscounted");
  }
  if (fault_ == Fault::kAuditCrashes && left == 1) {
    survivor.attachment().view().base()[uint64_t{1} << 40] = std::byte{1};
  }
  while (fault_ == Fault::kAuditHangs && left == 1) {
    asm volatile("" ::: "memory");
  }
  Call call = survivor.attachment().Enter(3);
  if (TryLock(call.lane(), data.lock) != LockResult::kOk) {
    findings.Add("T3", 0, "the lock is held though nobody is inside");
  } else {
    Unlock(call.lane(), data.lock);
  }
}

Operation ToyAdd(Fault fault) {
  return {.component = "toy",
          .name = "Add",
          .shape = "fault " + std::to_string(static_cast<int>(fault)),
          .make_world = [fault] { return std::make_unique<ToyWorld>(fault); },
          .act = [](World&, Process& victim, Random&) { static_cast<ToyProcess&>(victim).Add(); }};
}

Operation ToyCarry(Fault fault) {
  Operation carry = ToyAdd(fault);
  carry.name = "Carry";
  carry.act = [](World&, Process& victim, Random&) { static_cast<ToyProcess&>(victim).Carry(); };
  return carry;
}

Program ToyAdds(Fault fault) {
  return {.component = "toy",
          .name = "Adds" + std::to_string(static_cast<int>(fault)),
          .processes = 3,
          .make_world = [fault] { return std::make_unique<ToyWorld>(fault); },
          .body =
              [](World& world, Process& process, uint32_t, Random& random) {
                for (uint64_t i = 1 + random.Below(3); i > 0; --i) {
                  static_cast<ToyProcess&>(process).Add();
                  ++static_cast<ToyWorld&>(world).added;
                }
              },
          .check =
              [](World& world, Process& survivor, uint32_t died, Findings& findings) {
                const uint64_t added = static_cast<ToyWorld&>(world).added;
                const uint64_t left =
                    static_cast<ToyProcess&>(survivor).data().left.load(std::memory_order_relaxed);
                const auto dead = static_cast<uint64_t>(__builtin_popcount(died));
                if (left < added || left > added + dead) {
                  findings.Add("ledger", 0,
                               std::to_string(added) + " calls returned, but it counts " +
                                   std::to_string(left));
                }
              },
          .accesses_max = 20'000};
}

Program ToyAddsOnce(Fault fault) {
  Program program = ToyAdds(fault);
  program.name = "AddsOnce" + std::to_string(static_cast<int>(fault));
  program.shares_only_image = true;
  program.processes = 2;
  program.body = [](World& world, Process& process, uint32_t, Random&) {
    static_cast<ToyProcess&>(process).Add();
    ++static_cast<ToyWorld&>(world).added;
  };
  return program;
}

Program ToyCarries(Fault fault) {
  Program carries = ToyAdds(fault);
  carries.name = "Carries" + std::to_string(static_cast<int>(fault));
  carries.body = [](World&, Process& process, uint32_t, Random&) {
    static_cast<ToyProcess&>(process).Carry();
  };
  carries.check = {};
  return carries;
}

namespace {

ToyData& DataOf(Process& process) { return static_cast<ToyProcess&>(process).data(); }

Program OfTwo(const char* name, Fault fault) {
  Program program = ToyAdds(fault);
  program.name = name + std::to_string(static_cast<int>(fault));
  program.processes = 2;
  return program;
}

}  // namespace

Program ToySays(Fault fault) {
  Program program = OfTwo("Says", fault);
  program.body = [fault](World& world, Process& process, uint32_t index, Random&) {
    ToyData& data = DataOf(process);
    if (index == 0) {
      data.plain = 7;
      data.message.store(7, std::memory_order_relaxed);  // before the flag
      data.flag.store(
          1, fault == Fault::kRelaxedFlag ? std::memory_order_relaxed : std::memory_order_release);
      return;
    }
    const bool early = fault == Fault::kPlainTooEarly && data.plain == 5;
    for (int i = 0; i < 20; ++i) {
      if (data.flag.load(std::memory_order_acquire) == 0) continue;
      const bool right = data.message.load(std::memory_order_relaxed) == 7;  // after the flag
      if (!right || (fault != Fault::kRelaxedFlag && data.plain != 7) || early) {
        ++static_cast<ToyWorld&>(world).wrong;
      }
    }
  };
  program.check = [](World& world, Process&, uint32_t, Findings& findings) {
    if (static_cast<ToyWorld&>(world).wrong != 0) findings.Add("heard", 0, "what was not said");
  };
  return program;
}

Program ToyMeets(Fault fault) {
  Program program = OfTwo("Meets", fault);
  program.body = [fault](World& world, Process& process, uint32_t index, Random&) {
    ToyData& data = DataOf(process);
    Word64& mine = index == 0 ? data.message : data.flag;
    Word64& other = index == 0 ? data.flag : data.message;
    const bool total = fault != Fault::kNoTotalOrder;
    mine.store(1, total ? std::memory_order_seq_cst : std::memory_order_release);
    if (other.load(total ? std::memory_order_seq_cst : std::memory_order_acquire) == 0) {
      ++static_cast<ToyWorld&>(world).unseen;
    }
  };
  program.check = [](World& world, Process&, uint32_t, Findings& findings) {
    if (static_cast<ToyWorld&>(world).unseen == 2) findings.Add("met", 0, "neither saw the other");
  };
  return program;
}

Program ToyGuards(Fault fault) {
  Program program = OfTwo("Guards", fault);
  program.body = [fault](World& world, Process& process, uint32_t, Random&) {
    ToyData& data = DataOf(process);
    uint64_t open = 0;
    for (int i = 0; i < 20; ++i, open = 0) {
      if (!data.flag.compare_exchange_strong(open, 1, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
        continue;
      }
      const uint64_t seen = data.message.load(std::memory_order_relaxed);  // under the lock
      if (data.misused.load(std::memory_order_relaxed) != seen) {          // under the lock
        ++static_cast<ToyWorld&>(world).wrong;
      }
      data.message.store(seen + 1, std::memory_order_relaxed);  // under the lock
      data.misused.store(seen + 1, std::memory_order_relaxed);  // under the lock
      data.flag.store(
          0, fault == Fault::kRelaxedLock ? std::memory_order_relaxed : std::memory_order_release);
    }
  };
  program.check = ToySays(fault).check;
  return program;
}

Program ToySleepsAndWorks(uint64_t wake_ups_max) {
  Program program = ToyAdds(Fault::kNone);
  program.name = "SleepsAndWorks";
  program.processes = 2;
  program.body = [](World& world, Process& process, uint32_t index, Random&) {
    auto& toy = static_cast<ToyProcess&>(process);
    for (int i = 0; index == 1 && i < 400; ++i) toy.Add();
    if (index == 1) return;
    FakePlatform& platform = static_cast<FakePlatform&>(process.attachment().platform());
    const int64_t end = platform.NowNs() + 20 * kWaitSliceNs;
    while (platform.NowNs() < end) {
      platform.WaitWord(toy.data().sleepers, 0, 1, platform.NowNs() + kWaitSliceNs);
      ++static_cast<ToyWorld&>(world).wake_ups;
    }
  };
  program.check = [wake_ups_max](World& world, Process&, uint32_t, Findings& findings) {
    const uint64_t wake_ups = static_cast<ToyWorld&>(world).wake_ups;
    if (wake_ups > wake_ups_max) {
      findings.Add("sleep", 0, std::to_string(wake_ups) + " wake-ups of one sleeper");
    }
  };
  return program;
}

}  // namespace thole::shm::testing
