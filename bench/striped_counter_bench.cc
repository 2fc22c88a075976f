// A sum that many threads add to: StripedCounter beside std::atomic, with a word of the thread's own as the floor; and
// what it costs to read it, with the cells of 1, 8 and 64 threads.
#include <array>
#include <atomic>
#include <cstdint>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "bench/base/rows.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/striped_counter.h"

namespace hotpath::bench {
namespace {

// Load, add, store on a word that nobody else writes: what no shared counter can beat.
struct Owned {
  void Add(int64_t delta) {
    std::atomic<int64_t>& mine = words[StdSync::ThreadIndex() % words.size()].value;
    mine.store(mine.load(std::memory_order::relaxed) + delta, std::memory_order::relaxed);
  }
  std::array<Padded<std::atomic<int64_t>>, 64> words;
};

template <bool kExact>
auto ReadOf(int threads) {
  const auto counter = Isolated<StripedCounter>();
  {
    std::latch all_live(threads);
    std::vector<std::jthread> others;
    for (int i = 0; i < threads; ++i) {
      others.emplace_back([&] {
        counter->Add(1);
        all_live.arrive_and_wait();
      });
    }
  }
  return [counter] { Keep(kExact ? counter->ExactTotal() : counter->ApproximateTotal()); };
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 4, 8, 16}) {
    Row& row = rows.Add({.id = "counter/add/t" + std::to_string(threads),
                         .optimisation = 1,
                         .threads = threads,
                         .latency = threads > 1});
    row.Naive("std::atomic",
              [] {
                const auto n = Isolated<std::atomic<int64_t>>(0);
                return Ops([n] { n->fetch_add(1, std::memory_order::relaxed); }).CountLost([n](const Performed& done) {
                  return done.measured - static_cast<uint64_t>(n->load());
                });
              })
        .Ours("StripedCounter",
              [] {
                const auto n = Isolated<StripedCounter>();
                return Ops([n] { n->Add(1); }).CountLost([n](const Performed& done) {
                  return done.measured - static_cast<uint64_t>(n->ExactTotal());
                });
              })
        .Floor("a word of one's own",
               [] {
                 const auto n = Isolated<Owned>();
                 return [n] { n->Add(1); };
               })
        .AtLeast(threads == 1   ? 2
                 : threads == 2 ? 14
                                : 12,
                 "std::atomic");
  }
  for (const int threads : {1, 7, 63}) {
    rows.Add({.id = "counter/total/" + std::to_string(threads + 1) + " threads lived/t1", .optimisation = 1})
        .Ours("ApproximateTotal", [threads] { return ReadOf<false>(threads); })
        .Variant("ExactTotal", [threads] { return ReadOf<true>(threads); });
  }
}

}  // namespace
}  // namespace hotpath::bench
