// Caught by linearizability: not linearizable

// fetch_add as a load and a store: two threads count one visit.
#include <memory>

#include "gtest/gtest.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/specifications.h"

namespace hotpath::stress {
namespace {

struct Counter {
  uint64_t FetchAdd(uint64_t delta) {
    const uint64_t before = value.load(std::memory_order::seq_cst);
    value.store(before + delta, std::memory_order::seq_cst);
    return before;
  }
  ChaosSync::Atomic<uint64_t> value{0};
};

TEST(Zoo, DoubleCount) {
  ExpectLinearizable<CounterSpec>(
      {}, [] { return std::make_unique<Counter>(); },
      [](Counter& counter, Rng&, Recorder<CounterSpec>& record) { record({1}, [&] { return counter.FetchAdd(1); }); });
}

}  // namespace
}  // namespace hotpath::stress
