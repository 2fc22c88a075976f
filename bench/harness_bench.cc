// The harness measures itself: on this machine, in this run, does it tell a contended counter from an uncontended one,
// and see a slowdown that is planted? Rows and not tests, because a test never looks at the clock.

#include <atomic>
#include <cstdint>

#include "bench/base/rows.h"

namespace hotpath::bench {
namespace {

using Word = std::atomic<uint64_t>;

// Dependent multiplications, which nothing overlaps.
template <int kSteps>
auto Chain() {
  return [x = uint64_t{3}]() mutable {
    for (int i = 0; i < kSteps; ++i) {
      x *= 0x9e3779b97f4a7c15u;
      Keep(x);
    }
  };
}

HOTPATH_BENCH_ROWS(rows) {
  rows.Add({.id = "harness/planted_slowdown/t1", .note = "20 against 30 dependent multiplications: 1.5x"})
      .Naive("30 steps", Chain<30>)
      .Ours("20 steps", Chain<20>)
      .AtLeast(1.4, "30 steps");
  rows.Add({.id = "harness/contention/t2", .threads = 2, .note = "one word for both threads, against one for each"})
      .Naive("one word", [] { return [word = Isolated<Word>(0)] { word->fetch_add(1, std::memory_order::relaxed); }; })
      .Ours("a word each",
            [] {
              struct Words {
                struct alignas(256) Own {
                  Word word{0};
                };
                Own own[2];
              };
              return [words = Isolated<Words>()](Worker& worker) {
                words->own[worker.index].word.fetch_add(1, std::memory_order::relaxed);
              };
            })
      .AtLeast(2, "one word");
}

}  // namespace
}  // namespace hotpath::bench
