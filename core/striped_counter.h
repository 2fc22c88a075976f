#ifndef HOTPATH_CORE_STRIPED_COUNTER_H_
#define HOTPATH_CORE_STRIPED_COUNTER_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "hotpath/core/base/sync.h"

namespace hotpath {

struct StripedCounterOptions {
  // Cells in the object itself: with so many threads, nothing is allocated. A power of two.
  uint32_t inline_cells = 8;
};

namespace striped_counter_internal {

// The cells of the threads with the indexes kBegin to kEnd - 1 and, once there were any, of the threads after those.
template <uint32_t kBegin, uint32_t kEnd, SyncPolicy Sync>
class Cells {
  static_assert(kBegin < kEnd && kEnd <= Sync::kMaxThreads);

 public:
  using Sum = typename Sync::template Atomic<uint64_t>;  // two's complement, so that it wraps

  constexpr Cells() = default;
  ~Cells() {
    if constexpr (kHasMore) Sync::Delete(more_.load(std::memory_order::relaxed));
  }
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  // The cell of a thread. Null if there is no memory for it.
  Sum* Of(uint32_t index) noexcept {
    if (index < kEnd) [[likely]]
      return &cells_[index - kBegin].sum;
    return InMore(index);
  }

  template <bool kAcquire>
  uint64_t Total() const noexcept {
    uint64_t total = 0;
    for (const Cell& cell : cells_) {
      total += cell.sum.load(kAcquire ? std::memory_order::acquire : std::memory_order::relaxed);  // [T1] pairs A1
    }
    if constexpr (kHasMore) {
      const More* const more = more_.load(std::memory_order::acquire);  // [M1] pairs M3
      if (more != nullptr) total += more->template Total<kAcquire>();
    }
    return total;
  }

 private:
  static constexpr bool kHasMore = kEnd < Sync::kMaxThreads;
  // If there is no more, this type is named but never made.
  using More = Cells<kHasMore ? kEnd : kBegin, kHasMore ? std::min(2 * kEnd, Sync::kMaxThreads) : kEnd, Sync>;

  struct alignas(std::max(Sync::kLineSize, alignof(Sum))) Cell {
    Sum sum{0};
  };

  [[gnu::noinline]] Sum* InMore(uint32_t index) noexcept {
    if constexpr (kHasMore) {
      More* more = more_.load(std::memory_order::acquire);  // [M2] pairs M3
      if (more == nullptr) more = Grow();
      if (more != nullptr) return more->Of(index);
    }
    return nullptr;
  }

  More* Grow() noexcept {
    More* mine;
    try {
      mine = Sync::template New<More>();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    More* more = nullptr;
    if (more_.compare_exchange_strong(more, mine, std::memory_order::release,  // [M3] pairs M1 M2 M3
                                      std::memory_order::acquire)) {
      return mine;
    }
    Sync::Delete(mine);
    return more;
  }

  Cell cells_[kEnd - kBegin];
  typename Sync::template Atomic<More*> more_{nullptr};
};

}  // namespace striped_counter_internal

// StripedCounter: a sum that many threads add to and few read.
//
// Contract  Each thread adds to a cell of its own; a total reads every cell once. The cell of a thread that ends goes,
//           with its sum, to the next thread that gets the index. Wraps modulo 2^64.
// Progress  Add wait-free after a thread's first, which is lock-free and may allocate. The totals wait-free.
// Cost      Add: 1 load, 1 store, no RMW, no line that another thread writes. A total: 10 loads. Once more than 8
//           threads lived at once, at most 2 loads and 2 lines of memory for each of them, kept to the end; till then
//           the object's own 9 lines. Without memory for its cell a thread adds, by an RMW, to one that all such
//           threads share, and asks again the next time.
// Not for   the value before or at a moment (FlatCombiningCounter); many counters that few threads use (std::atomic);
//           signal handlers, where an Add may undo the one it interrupted; more than Sync::kMaxThreads (4096) threads
//           at once, a CHECK failure; threads that add to it when it is destroyed, as detached ones may to a global
//           when main returns: a global of theirs must last, `StripedCounter& n = *new StripedCounter;`.
// Proof     striped_counter_model fails if any [tag] is weakened.
// Example   StripedCounterTest.CountsWhatManyThreadsDo
template <StripedCounterOptions O = StripedCounterOptions{}, SyncPolicy Sync = StdSync>
  requires(std::has_single_bit(O.inline_cells))
class BasicStripedCounter {
 public:
  constexpr BasicStripedCounter() noexcept = default;
  BasicStripedCounter(const BasicStripedCounter&) = delete;
  BasicStripedCounter& operator=(const BasicStripedCounter&) = delete;

  void Add(int64_t delta) noexcept {
    auto* const sum = cells_.Of(Sync::ThreadIndex());
    if (sum == nullptr) [[unlikely]]
      return AddShared(delta);
    sum->store(sum->load(std::memory_order::relaxed) + static_cast<uint64_t>(delta),
               std::memory_order::release);  // [A1] pairs T1
  }

  // Both totals count each Add that happened before them once, and each that runs meanwhile once or not at all. So they
  // are exact when nobody adds; else the sum may be one that was never true at a moment.
  //
  // Says nothing about other memory.
  [[nodiscard]] int64_t ApproximateTotal() const noexcept { return Total<false>(); }
  // What preceded the Adds that it counts happens-before its return: whoever sees the last of n jobs counted sees what
  // all n of them did.
  [[nodiscard]] int64_t ExactTotal() const noexcept { return Total<true>(); }

 private:
  template <bool kAcquire>
  int64_t Total() const noexcept {
    return static_cast<int64_t>(
        cells_.template Total<kAcquire>() +
        shared_.load(kAcquire ? std::memory_order::acquire : std::memory_order::relaxed));  // [T2] pairs A2
  }
  [[gnu::noinline]] void AddShared(int64_t delta) noexcept {
    shared_.fetch_add(static_cast<uint64_t>(delta), std::memory_order::release);  // [A2] pairs T2
  }

  [[no_unique_address]] striped_counter_internal::Cells<0, std::min(O.inline_cells, Sync::kMaxThreads), Sync> cells_;
  typename Sync::template Atomic<uint64_t> shared_{0};  // of threads for whose cell there was no memory
};

using StripedCounter = BasicStripedCounter<>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_STRIPED_COUNTER_H_
