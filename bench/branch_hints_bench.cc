// Where the unlikely code of many functions lies: between their likely code, as the compiler puts what it knows nothing
// about, at their ends (Unlikely), or in functions elsewhere (Unlikely and HOTPATH_COLD). The likely path executes the
// same work in all three; what differs is how many lines of the instruction cache it touches. So nothing is to be seen
// while the functions fit the cache either way, and the branch predictor gains nothing anywhere. Counts by
//   valgrind --tool=cachegrind --cache-sim=yes branch_hints_bench --benchmark_filter=^Steps/unlikely/256
// minus those of ^Steps/none, divided by the counter steps_so_far, which knows of the turns that the harness tried
// first.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "benchmark/benchmark.h"
#include "hotpath/core/branch_hints.h"

namespace hotpath {
namespace {

enum class Layout : uint8_t { kAsItComes, kUnlikely, kUnlikelyAndCold };

// Some 150 bytes of code.
[[gnu::always_inline]] inline uint64_t Repair(uint64_t x, uint64_t how) {
  for (uint64_t i = 1; i <= 6; ++i) x = (x ^ x >> 31) * (0x9e3779b97f4a7c15 + how * i) + (x << i % 7);
  return x;
}
HOTPATH_COLD uint64_t RepairElsewhere(uint64_t x, uint64_t how) { return Repair(x, how); }

template <Layout kLayout>
[[gnu::always_inline]] inline uint64_t Check(uint64_t x, uint64_t limit) {
  if constexpr (kLayout == Layout::kAsItComes) {
    if (x < limit) x = Repair(x, limit);
  } else if constexpr (kLayout == Layout::kUnlikely) {
    if (Unlikely(x < limit)) x = Repair(x, limit);
  } else {
    if (Unlikely(x < limit)) x = RepairElsewhere(x, limit);
  }
  return x;
}

// A little work and four checks that fail once in 2^32 times.
template <Layout kLayout, size_t kId>
[[gnu::noinline]] uint64_t Step(uint64_t x) {
  constexpr uint64_t kLimit = (uint64_t{1} << 32) + kId;
  x = Check<kLayout>(x * 0xd1342543de82ef95 + kId, kLimit);
  x = Check<kLayout>(x ^ x >> 29, kLimit + 1);
  x = Check<kLayout>(x * 0xaf251af3b0f025b5, kLimit + 2);
  return Check<kLayout>(x ^ x >> 32, kLimit + 3);
}

constexpr size_t kMaxSteps = 256;
template <Layout kLayout>
constexpr auto kSteps = []<size_t... kIds>(std::index_sequence<kIds...>) {
  return std::array<uint64_t (*)(uint64_t), kMaxSteps>{&Step<kLayout, kIds>...};
}(std::make_index_sequence<kMaxSteps>());

template <Layout kLayout>
void BM_Steps(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  uint64_t x = 1;
  for (auto _ : state) {
    for (size_t i = 0; i < count; ++i) x = kSteps<kLayout>[i](x);
    benchmark::DoNotOptimize(x);
  }
  state.SetItemsProcessed(static_cast<int64_t>(count) * state.iterations());
  static uint64_t so_far = 0;
  so_far += count * state.iterations();
  state.counters["steps_so_far"] = static_cast<double>(so_far);
}
BENCHMARK(BM_Steps<Layout::kUnlikely>)->Name("Steps/none")->Arg(0)->Iterations(1);
BENCHMARK(BM_Steps<Layout::kAsItComes>)->Name("Steps/as_it_comes")->RangeMultiplier(2)->Range(32, kMaxSteps);
BENCHMARK(BM_Steps<Layout::kUnlikely>)->Name("Steps/unlikely")->RangeMultiplier(2)->Range(32, kMaxSteps);
BENCHMARK(BM_Steps<Layout::kUnlikelyAndCold>)->Name("Steps/unlikely_cold")->RangeMultiplier(2)->Range(32, kMaxSteps);

}  // namespace
}  // namespace hotpath
