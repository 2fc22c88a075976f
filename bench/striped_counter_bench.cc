// A sum that many threads add to: StripedCounter beside std::atomic, with a plain word of one's own as the floor; and
// what it costs to read it, with the cells of 1, 8 and 64 threads. Figures are ratios within one run. Rows of two
// threads mean something only on two free cores.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/striped_counter.h"

namespace hotpath {
namespace {

// Load, add, store on a word that nobody else has: what no shared counter can beat.
class Owned {
 public:
  void Add(int64_t delta) {
    Padded<std::atomic<int64_t>>& mine = words_[StdSync::ThreadIndex() % words_.size()];
    mine.value.store(mine.value.load(std::memory_order::relaxed) + delta, std::memory_order::relaxed);
  }

 private:
  std::array<Padded<std::atomic<int64_t>>, 64> words_;
};

class Atomic {
 public:
  void Add(int64_t delta) { value_.fetch_add(delta, std::memory_order::relaxed); }

 private:
  alignas(kCacheLineSize) std::atomic<int64_t> value_{0};
};

template <class Counter>
void BM_Add(benchmark::State& state) {
  static Counter counter;
  std::thread([] {}).join();  // glibc and libstdc++ skip atomics in a process that never had a second thread
  for (auto _ : state) {
    counter.Add(1);
    benchmark::ClobberMemory();
  }
}

// Reads a counter that `range` threads that live at once have added to.
template <bool kExact>
void BM_Total(benchmark::State& state) {
  StripedCounter counter;
  const auto threads = state.range(0);
  {
    std::latch all_live(threads - 1);
    std::vector<std::jthread> others;
    for (int64_t i = 1; i < threads; ++i) {
      others.emplace_back([&] {
        counter.Add(1);
        all_live.arrive_and_wait();
      });
    }
    counter.Add(1);
  }
  for (auto _ : state) benchmark::DoNotOptimize(kExact ? counter.ExactTotal() : counter.ApproximateTotal());
}

#define HOTPATH_ROWS(threads)                                         \
  BENCHMARK(BM_Add<Owned>)->Threads(threads)->UseRealTime();          \
  BENCHMARK(BM_Add<StripedCounter>)->Threads(threads)->UseRealTime(); \
  BENCHMARK(BM_Add<Atomic>)->Threads(threads)->UseRealTime()

HOTPATH_ROWS(1);
HOTPATH_ROWS(2);
HOTPATH_ROWS(8);
HOTPATH_ROWS(16);

BENCHMARK(BM_Total<false>)->Arg(1)->Arg(8)->Arg(64);
BENCHMARK(BM_Total<true>)->Arg(1)->Arg(8);

}  // namespace
}  // namespace hotpath

BENCHMARK_MAIN();
