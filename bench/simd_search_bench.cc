// The searches beside what one would write without them, at every level of this CPU in one run. Goals are ratios
// between rows of one run; on a busy machine add
//   --benchmark_enable_random_interleaving=true --benchmark_repetitions=9 --benchmark_report_aggregates_only=true
// RE2, Hyperscan and Highway are in simd_search_peers_bench.cc, which needs them installed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bench/simd_search_workload.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"

namespace hotpath::bench {
namespace {

using simd_search_internal::Kernels;
using simd_search_internal::TestAccess;

// ---- FindHashSimd: the needle is at a random place, or nowhere ----

struct HashWorkload {
  static constexpr size_t kNeedles = 1 << 16;

  HashWorkload(size_t n, bool hit) : hashes(n), needles(kNeedles) {
    std::mt19937_64 rng(1);
    for (uint64_t& hash : hashes) hash = rng();
    for (uint64_t& needle : needles) needle = hit ? hashes[rng() % n] : rng();
  }
  std::vector<uint64_t> hashes;
  std::vector<uint64_t> needles;
};

template <class F>
void FindAll(benchmark::State& state, const HashWorkload& workload, F&& find) {
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(find(workload.needles[i++ % HashWorkload::kNeedles]));
}

void FindByStdFind(benchmark::State& state) {
  const HashWorkload w(static_cast<size_t>(state.range(0)), state.range(1) != 0);
  FindAll(state, w, [&](uint64_t needle) { return std::find(w.hashes.begin(), w.hashes.end(), needle); });
}
void FindByFlatHashMap(benchmark::State& state) {
  const HashWorkload w(static_cast<size_t>(state.range(0)), state.range(1) != 0);
  absl::flat_hash_map<uint64_t, size_t> map;
  for (size_t i = 0; i < w.hashes.size(); ++i) map.try_emplace(w.hashes[i], i);
  FindAll(state, w, [&](uint64_t needle) { return map.find(needle); });
}
void FindByUs(benchmark::State& state) {
  const HashWorkload w(static_cast<size_t>(state.range(0)), state.range(1) != 0);
  FindAll(state, w, [&](uint64_t needle) { return FindHashSimd(w.hashes, needle); });
}

void HashArgs(benchmark::internal::Benchmark* row) {
  row->ArgNames({"n", "hit"});
  row->ArgsProduct({{1, 4, 8, 16, 24, 32, 48, 64, 100, 128, 256, 1000, 4096}, {1, 0}});
}
BENCHMARK(FindByStdFind)->Name("find/std_find")->Apply(HashArgs);
BENCHMARK(FindByFlatHashMap)->Name("find/flat_hash_map")->Apply(HashArgs);
BENCHMARK(FindByUs)->Name("find/hotpath")->Apply(HashArgs);

// ---- Paths ----

template <class F>
void AskAll(benchmark::State& state, const PathWorkload& workload, F&& ask) {
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(ask(workload.paths[i++ % PathWorkload::kPaths]));
}

const PathWorkload& Workload(const benchmark::State& state) {
  return PathWorkload::Get(static_cast<size_t>(state.range(0)), static_cast<unsigned>(state.range(1)));
}

void LongestByTheLoop(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  AskAll(state, w, [&](std::string_view path) { return LongestByLoop(w.rules, path); });
}
void FirstByTheLoop(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  AskAll(state, w, [&](std::string_view path) { return FirstByLoop(w.rules, path); });
}

// Looks every boundary up, the longest first.
template <class Lookup>
std::optional<size_t> LongestByBoundaries(std::string_view path, Lookup&& lookup) {
  for (size_t end = path.size();; --end) {
    if (end == path.size() || path[end] == '/') {
      if (const std::optional<size_t> found = lookup(path.substr(0, end))) return found;
    }
    if (end == 0) return std::nullopt;
  }
}
void LongestByFlatHashMap(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  absl::flat_hash_map<std::string_view, size_t> map;
  for (size_t i = 0; i < w.rules.size(); ++i) map.try_emplace(w.rules[i], i);
  AskAll(state, w, [&](std::string_view path) {
    return LongestByBoundaries(path, [&](std::string_view text) -> std::optional<size_t> {
      const auto it = map.find(text);
      if (it == map.end()) return std::nullopt;
      return it->second;
    });
  });
}
void LongestByBinarySearch(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  std::vector<std::pair<std::string_view, size_t>> sorted;
  sorted.reserve(w.rules.size());
  for (size_t i = 0; i < w.rules.size(); ++i) sorted.emplace_back(w.rules[i], i);
  std::sort(sorted.begin(), sorted.end());
  AskAll(state, w, [&](std::string_view path) {
    return LongestByBoundaries(path, [&](std::string_view text) -> std::optional<size_t> {
      const auto it = std::lower_bound(sorted.begin(), sorted.end(), std::pair(text, size_t{0}));
      if (it == sorted.end() || it->first != text) return std::nullopt;
      return it->second;
    });
  });
}
void LongestByUs(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  const PathPrefixSet set(w.rules);
  AskAll(state, w, [&](std::string_view path) { return set.LongestMatch(path); });
  state.counters["bytes_per_rule"] = static_cast<double>(set.MemoryUsed()) / static_cast<double>(w.rules.size());
}

void FewPathArgs(benchmark::internal::Benchmark* row) {
  row->ArgNames({"rules", "covered"});
  row->ArgsProduct({{1, 4, 16, 64, 65, 256, 1000}, {0, 50, 100}});
}
void PathArgs(benchmark::internal::Benchmark* row) {
  FewPathArgs(row);
  row->ArgsProduct({{10000, 100000}, {0, 50, 100}});
}
BENCHMARK(LongestByTheLoop)->Name("longest/loop")->Apply(FewPathArgs);
BENCHMARK(FirstByTheLoop)->Name("first/loop")->Apply(FewPathArgs);
BENCHMARK(LongestByBinarySearch)->Name("longest/binary_search")->Apply(PathArgs);
BENCHMARK(LongestByFlatHashMap)->Name("longest/flat_hash_map")->Apply(PathArgs);
BENCHMARK(LongestByUs)->Name("longest/hotpath")->Apply(PathArgs);

void Build(benchmark::State& state) {
  const PathWorkload& w = PathWorkload::Get(static_cast<size_t>(state.range(0)), 0);
  for (auto _ : state) benchmark::DoNotOptimize(PathPrefixSet(w.rules));
}
BENCHMARK(Build)->Name("build/hotpath")->Arg(16)->Arg(1000)->Arg(100000)->Unit(benchmark::kMillisecond);

// ---- PathStartsWithAny ----

std::optional<size_t> StartsWithAnyByLoop(std::string_view path, std::span<const std::string_view> prefixes) {
  for (size_t i = 0; i < prefixes.size(); ++i) {
    if (path.starts_with(prefixes[i])) return i;
  }
  return std::nullopt;
}
void AnyByLoop(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  AskAll(state, w, [&](std::string_view path) { return StartsWithAnyByLoop(path, w.rules); });
}
void AnyByUs(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  AskAll(state, w, [&](std::string_view path) { return PathStartsWithAny(path, w.rules); });
}
BENCHMARK(AnyByLoop)->Name("starts_with_any/loop")->Apply(FewPathArgs);
BENCHMARK(AnyByUs)->Name("starts_with_any/hotpath")->Apply(FewPathArgs);

// ---- The levels beside each other ----

const bool g_levels_registered = [] {
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    const std::string level(SimdLevelName(kernels->level));
    HashArgs(benchmark::RegisterBenchmark(("find/" + level).c_str(), [kernels](benchmark::State& state) {
      const HashWorkload w(static_cast<size_t>(state.range(0)), state.range(1) != 0);
      FindAll(state, w, [&](uint64_t needle) { return TestAccess::FindHash(*kernels, w.hashes, needle); });
    }));
    FewPathArgs(benchmark::RegisterBenchmark(("longest/" + level).c_str(), [kernels](benchmark::State& state) {
      const PathWorkload& w = Workload(state);
      const PathPrefixSet set(w.rules);
      AskAll(state, w, [&](std::string_view path) { return TestAccess::LongestMatch(*kernels, set, path); });
    }));
  }
  return true;
}();

}  // namespace
}  // namespace hotpath::bench
