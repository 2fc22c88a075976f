#ifndef HOTPATH_BENCH_BASE_HEAP_COUNTER_H_
#define HOTPATH_BENCH_BASE_HEAP_COUNTER_H_

#include <cstdint>

// Counts what goes through operator new and delete, in every form, in a test or benchmark that links this. For claims
// such as "performs no heap allocation":
//
//   const HeapMark mark;
//   const InlineString copy = text;
//   Escape(copy);
//   EXPECT_EQ(mark.Since(), HeapCount{});
//
// Keep assertions, which may allocate, behind the Since(). A compiler may remove an allocation whose block it can
// follow to its end: Escape() what is measured. The operators are replaced by ones that forward to malloc and
// posix_memalign, so an allocator or AddressSanitizer behind those still sees every block. A runtime that insists on
// its own operators, as ThreadSanitizer's does, is counted by its hooks instead; there malloc counts as well.

namespace hotpath::bench {

struct HeapCount {
  uint64_t allocations = 0;
  uint64_t frees = 0;  // of null: not counted
  uint64_t bytes = 0;  // asked for, by allocations that succeeded

  static HeapCount Now() noexcept;              // by this thread, from its start
  static HeapCount NowOfAllThreads() noexcept;  // by threads that have ended, too

  friend HeapCount operator-(const HeapCount& a, const HeapCount& b) noexcept {
    return {a.allocations - b.allocations, a.frees - b.frees, a.bytes - b.bytes};
  }
  friend bool operator==(const HeapCount&, const HeapCount&) noexcept = default;
};

// The compiler must assume that someone else reads and writes what `object` owns.
template <class T>
void Escape(const T& object) noexcept {
  asm volatile("" : : "r"(&object) : "memory");
}

class HeapMark {
 public:
  // By this thread, since the mark was made.
  HeapCount Since() const noexcept { return HeapCount::Now() - start_; }

 private:
  const HeapCount start_ = HeapCount::Now();
};

// While it lives, this thread's allocations fail, after `successes` more have succeeded. Does not nest.
class HeapFailure {
 public:
  // False where the operators could not be replaced: then no allocation fails.
  static bool Works() noexcept;

  explicit HeapFailure(uint64_t successes = 0) noexcept;
  ~HeapFailure();
  HeapFailure(const HeapFailure&) = delete;
  HeapFailure& operator=(const HeapFailure&) = delete;
};

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_HEAP_COUNTER_H_
