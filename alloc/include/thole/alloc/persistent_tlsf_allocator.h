// PersistentTlsfAllocator: memory of a segment, in blocks of any size, that no death can leak.
//
//   #include <thole/alloc/persistent_tlsf_allocator.h>
//   absl::Status Example() {
//     using thole::alloc::PersistentTlsfAllocator;
//     using thole::shm::BlockResult;
//     using thole::shm::Deadline;
//     auto segment = thole::shm::Segment::Create(thole::shm::Place::Descriptor(), {},
//                                                PersistentTlsfAllocator::Roots());
//     if (!segment.ok()) return segment.status();
//     auto attachment = thole::shm::Attachment::Make(*std::move(segment));
//     if (!attachment.ok()) return attachment.status();
//     auto heap = PersistentTlsfAllocator::Open(*attachment);
//     if (!heap.ok()) return heap.status();
//     if (auto joined = (*attachment)->Join("example"); !joined.ok()) return joined;
//
//     thole::shm::Call call = (*attachment)->Enter(1);
//     thole::shm::Lane& lane = call.lane();
//     thole::shm::LoanRef loan = (*attachment)->TakeLoan(lane, heap->get(), Deadline::Never());
//     if ((*heap)->AllocateTo(lane, loan, 1000, 64, Deadline::Never()) == BlockResult::kOk) {
//       std::byte* bytes = (*attachment)->view().Bytes(loan->block.load(), 1000);
//       bytes[0] = std::byte{1};
//       (void)(*heap)->FreeLoan(lane, loan, Deadline::Never());
//     }
//     (*attachment)->loans().Return(loan);
//     return absl::OkStatus();
//   }
//
// Two-level segregated fit (Masmano et al. 2004): free blocks stand in lists by size, 28 rows by
// powers of two with 32 columns each, two bitmap levels find the list, neighbours are joined at
// once. Blocks are 16-aligned and cost 16 bytes plus at most 1/32 of their size.
//
// Guarantees
//   - Any process may free what another one allocated.
//   - Every operation changes all of its words or none, also when its process is killed at any
//     instruction: each word is noted in the lane's undo log before it is overwritten. The loan (or
//     holder) changes in the same step, so there is no moment at which a block is nobody's.
//   - Every operation takes a bounded number of steps, whatever the heap holds.
//   - After a failed call the heap is as before; used bytes are exact.
//   - Any bytes in the segment lead to a result (kCorrupt, kInvalid), never outside the mapping.
//   - Waits only for a live participant inside the heap, up to the deadline.
//
// A block larger or smaller than a list's least size is found through its list's neighbours; only
// when the lists above are empty are up to 16 blocks looked at one by one. So kFull may be said
// although one of more than 16 nearly fitting blocks would do.
//
// Alignment is that of the offset. An address has it too as far as the mapping's base has: a page
// for a segment.
//
//   step         dies after                           log      recovered by
//   allocate.1   heap lock taken                      empty    unlock; the loan is empty
//   allocate.2   a free block left its list           n words  rolled back: FREE, loan empty
//   allocate.3   gap and tail are blocks of their own n words  rolled back
//   allocate.4   counters and loan written            n words  rolled back
//   allocate.5   COMMIT: log emptied                  empty    unlock; the loan holds the block
//   free.1       heap lock taken                      empty    unlock; the holder holds the block
//   free.2       free neighbours left their lists     n words  rolled back
//   free.3       the joined block entered its list    n words  rolled back
//   free.4       counters and holder written          n words  rolled back
//   free.5       COMMIT: log emptied                  empty    unlock; the holder is empty
//   shrink.1     heap lock taken                      empty    unlock; the block is whole
//   shrink.2     a free successor left its list       n words  rolled back, the tail's bytes too
//   shrink.3     the tail entered its list            n words  rolled back, the tail's bytes too
//   shrink.4     COMMIT: log emptied                  empty    unlock; the block is short
//   grow.1       heap lock taken                      empty    unlock; the block is short
//   grow.2       the free successor left its list     n words  rolled back
//   grow.3       the rest of it entered its list      n words  rolled back
//   grow.4       COMMIT: log emptied                  empty    unlock; the block is long
//
// Small blocks (up to 4 KiB, aligned to at most a cache line) are kept in magazines of the lane
// that frees them, and taken from there without the lock: a magazine is refilled and emptied in
// batches. What they hold counts as free. `Leave` and repairs give it back, and so does every lane
// at its next call once somebody found the heap full; a participant that makes no call meanwhile
// keeps its part, at most 1/256 of the heap (and 1 MiB) a lane.
//
//   step    dies after                                 intent   recovered by
//   take.1  the intent names block and holder          names    cleared: the magazine has it
//   take.2  the magazine has let the block go          names    the block is freed
//   take.3  its header says USED                       names    the block is freed
//   take.4  COMMIT: the holder has it                  names    cleared: the holder has it
//   take.5  the intent is cleared                      none     nothing
//   put.1   the intent names block and holder          names    cleared: the holder has it
//   put.2   COMMIT: the holder has let the block go    names    the block is freed
//   put.3   its link is set, its header says CACHED    names    the block is freed
//   put.4   the magazine has it                        names    cleared: the magazine has it
//   put.5   the intent is cleared                      none     nothing
//   put.6   a further word of the loan is cleared      none     an empty loan is empty
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "thole/shm/attachment.h"
#include "thole/shm/block_source.h"
#include "thole/shm/segment.h"

namespace thole::alloc {

class Heap;
struct Request;

/// How one process uses a heap.
struct HeapOptions {
  /// How many small blocks a magazine gets or gives back at once, under the heap's lock: 1 .. 32.
  /// More is faster on the average and holds the lock longer; 1 is for who counts the worst case.
  /// 0 = no magazines.
  uint32_t batch = 8;
};
inline constexpr uint32_t kBatchMax = 32;

/// Bytes include headers and rounding. One moment's view; exact when nobody is inside the heap.
struct HeapStatistics {
  uint64_t heap_bytes = 0;          ///< all that blocks can occupy
  uint64_t used_bytes = 0;          ///< of blocks in use
  uint64_t peak_bytes = 0;          ///< the most that `used_bytes` ever was
  uint64_t free_bytes = 0;          ///< heap_bytes - used_bytes
  uint64_t cached_bytes = 0;        ///< of free_bytes: in magazines
  uint64_t largest_free_bytes = 0;  ///< of one block; a lower bound with very many free blocks
  uint64_t blocks_used = 0;
  uint64_t blocks_free = 0;
  double fragmentation = 0;  ///< 1 - largest_free / free: 0 = one piece
};

/// Thread-safe, each thread with its own lane (`Attachment::Enter`).
class PersistentTlsfAllocator final : public shm::BlockSource {
 public:
  /// What a new segment needs: {control, blocks}. Roots of other components may go between the two;
  /// blocks takes the rest of the segment and must come last. Use both from the same call.
  static std::vector<shm::RootRequest> Roots();

  /// The heap of `attachment`'s segment. Before the attachment joins: it registers what alloc does
  /// about the dead. NotFound (no heap), DataLoss with kDamaged, Unimplemented with kOtherVersion,
  /// InvalidArgument (options).
  static absl::StatusOr<std::shared_ptr<PersistentTlsfAllocator>> Open(
      std::shared_ptr<shm::Attachment> attachment, const HeapOptions& options = {});
  ~PersistentTlsfAllocator() override;
  PersistentTlsfAllocator(const PersistentTlsfAllocator&) = delete;
  PersistentTlsfAllocator& operator=(const PersistentTlsfAllocator&) = delete;

  /// `align` may be any power of two; below 16 it is 16.
  [[nodiscard]] shm::BlockResult AllocateTo(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes,
                                            uint64_t align,
                                            shm::Deadline deadline) noexcept override;
  [[nodiscard]] shm::BlockResult FreeFrom(shm::Lane& lane, shm::Word64& holder, uint64_t next,
                                          shm::Deadline deadline) noexcept override;
  [[nodiscard]] shm::BlockResult FreeLoan(shm::Lane& lane, shm::LoanRef loan,
                                          shm::Deadline deadline) noexcept override;
  /// The same for destructors: spins for a microsecond at most, never sleeps. kBusy: doom the loan.
  [[nodiscard]] shm::BlockResult TryFreeLoan(shm::Lane& lane, shm::LoanRef loan) noexcept;
  /// Contents up to `size_bytes` stay. kOk also when there is nothing to give back.
  [[nodiscard]] shm::BlockResult Shrink(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes,
                                        shm::Deadline deadline) noexcept override;
  /// Makes the loan's block at least `size_bytes` long where it lies; contents and offset stay.
  /// kFull when the room behind it is in use or too short: allocate another block and copy. kOk
  /// also when it is that long already.
  [[nodiscard]] shm::BlockResult Grow(shm::Lane& lane, shm::LoanRef loan, uint64_t size_bytes,
                                      shm::Deadline deadline) noexcept;
  uint64_t BlockSize(uint64_t offset) const noexcept override;

  /// Gives back what the magazines of `lane` hold, if somebody found the heap full since its last
  /// call. For those who wait without allocating or freeing.
  void HearRequests(shm::Lane& lane) noexcept;
  /// Gives back what the magazines of `lane` hold. kBusy: not all of it by the deadline.
  shm::BlockResult Flush(shm::Lane& lane, shm::Deadline deadline) noexcept;

  /// Takes no lock.
  HeapStatistics Statistics() const noexcept;
  /// The same of a segment in which we have no seat, which may be open for reading only.
  static absl::StatusOr<HeapStatistics> ReadStatistics(const shm::Segment& segment);

  const std::shared_ptr<shm::Attachment>& attachment() const { return attachment_; }

 private:
  PersistentTlsfAllocator(std::shared_ptr<shm::Attachment> attachment, std::unique_ptr<Heap> heap,
                          uint32_t batch);
  bool HasMagazines(const shm::Lane& lane) const { return batch_ != 0 && !lane.for_dead(); }
  shm::BlockResult AllocateRarely(shm::Lane& lane, shm::Word64& holder, Request request,
                                  shm::Deadline deadline) noexcept;
  shm::BlockResult AllocateSlow(shm::Lane& lane, shm::Word64& holder, Request request,
                                shm::Deadline deadline) noexcept;
  bool GatherCached(shm::Lane& lane) noexcept;
  bool FreeFast(shm::Lane& lane, shm::LoanRef loan) noexcept;
  shm::BlockResult FreeRarely(shm::Lane& lane, shm::LoanRef loan, bool try_only,
                              shm::Deadline deadline) noexcept;

  std::shared_ptr<shm::Attachment> attachment_;
  std::unique_ptr<Heap> heap_;
  uint32_t batch_;
};

}  // namespace thole::alloc
