// The searches beside libraries that one might use instead: RE2::Set, Hyperscan, Highway. They are not dependencies of
// hotpath and no Bazel target fetches them; Debian has them as libre2-dev, libhyperscan-dev and libhwy-dev.
// The regular expressions say what PathPrefixSet says, "^/home(/|$)", and are asked whether any matches, which is less
// than which one is the longest.

// Highway compiles the part up to HWY_ONCE once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/simd_search_peers_bench.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h.
#include "hwy/contrib/algo/find-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hotpath::bench::HWY_NAMESPACE {

size_t HighwayFind(const uint64_t* hashes, size_t n, uint64_t needle) {
  return hwy::HWY_NAMESPACE::Find(hwy::HWY_NAMESPACE::ScalableTag<uint64_t>(), needle, hashes, n);
}

}  // namespace hotpath::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/simd_search_workload.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/simd_search.h"
#include "hs/hs.h"
#include "re2/re2.h"
#include "re2/set.h"

namespace hotpath::bench {

HWY_EXPORT(HighwayFind);

namespace {

const PathWorkload& Workload(const benchmark::State& state) {
  return PathWorkload::Get(static_cast<size_t>(state.range(0)), static_cast<unsigned>(state.range(1)));
}

template <class F>
void AskAll(benchmark::State& state, F&& ask) {
  const PathWorkload& w = Workload(state);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(ask(w.paths[i++ % PathWorkload::kPaths]));
}

std::string Expression(std::string_view rule) {
  return RE2::QuoteMeta(re2::StringPiece(rule.data(), rule.size())) + "(?:/|$)";
}

void ByRe2Set(benchmark::State& state) {
  RE2::Options options;
  options.set_max_mem(int64_t{1} << 30);
  RE2::Set set(options, RE2::ANCHOR_START);
  for (const std::string_view rule : Workload(state).rules) {
    if (set.Add(Expression(rule), nullptr) < 0) std::abort();
  }
  if (!set.Compile()) std::abort();
  AskAll(state, [&](std::string_view path) { return set.Match(re2::StringPiece(path.data(), path.size()), nullptr); });
}

void ByHyperscan(benchmark::State& state) {
  std::vector<std::string> expressions;
  for (const std::string_view rule : Workload(state).rules) expressions.push_back("^" + Expression(rule));
  std::vector<const char*> pointers;
  for (const std::string& expression : expressions) pointers.push_back(expression.c_str());
  const std::vector<unsigned> flags(pointers.size(), HS_FLAG_SINGLEMATCH);
  std::vector<unsigned> ids(pointers.size());
  for (unsigned i = 0; i < ids.size(); ++i) ids[i] = i;
  hs_database_t* database = nullptr;
  hs_compile_error_t* error = nullptr;
  if (hs_compile_multi(pointers.data(), flags.data(), ids.data(), static_cast<unsigned>(pointers.size()), HS_MODE_BLOCK,
                       nullptr, &database, &error) != HS_SUCCESS) {
    std::abort();
  }
  hs_scratch_t* scratch = nullptr;
  if (hs_alloc_scratch(database, &scratch) != HS_SUCCESS) std::abort();
  const auto stop = [](unsigned, unsigned long long, unsigned long long, unsigned, void*) { return 1; };
  AskAll(state, [&](std::string_view path) {
    return hs_scan(database, path.data(), static_cast<unsigned>(path.size()), 0, scratch, stop, nullptr);
  });
  hs_free_scratch(scratch);
  hs_free_database(database);
}

void ByLoop(benchmark::State& state) {
  const PathWorkload& w = Workload(state);
  AskAll(state, [&](std::string_view path) { return LongestByLoop(w.rules, path); });
}

void ByUs(benchmark::State& state) {
  const PathPrefixSet set(Workload(state).rules);
  AskAll(state, [&](std::string_view path) { return set.LongestMatch(path); });
}

void PathArgs(benchmark::internal::Benchmark* row) {
  row->ArgNames({"rules", "covered"});
  row->ArgsProduct({{4, 16, 64, 256, 1000}, {0, 50, 100}});
}
BENCHMARK(ByLoop)->Name("longest/loop")->Apply(PathArgs);
BENCHMARK(ByRe2Set)->Name("any/re2_set")->Apply(PathArgs);
BENCHMARK(ByHyperscan)->Name("any/hyperscan")->Apply(PathArgs);
BENCHMARK(ByUs)->Name("longest/hotpath")->Apply(PathArgs);

template <class F>
void FindAll(benchmark::State& state, F&& find) {
  std::mt19937_64 rng(1);
  std::vector<uint64_t> hashes(static_cast<size_t>(state.range(0)));
  for (uint64_t& hash : hashes) hash = rng();
  std::vector<uint64_t> needles(1 << 16);
  for (uint64_t& needle : needles) needle = state.range(1) != 0 ? hashes[rng() % hashes.size()] : rng();
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(find(hashes, needles[i++ % needles.size()]));
}

void FindByHighway(benchmark::State& state) {
  FindAll(state, [](const std::vector<uint64_t>& hashes, uint64_t needle) {
    return HWY_DYNAMIC_DISPATCH(HighwayFind)(hashes.data(), hashes.size(), needle);
  });
}
void FindByUs(benchmark::State& state) {
  FindAll(state, [](const std::vector<uint64_t>& hashes, uint64_t needle) { return FindHashSimd(hashes, needle); });
}

void HashArgs(benchmark::internal::Benchmark* row) {
  row->ArgNames({"n", "hit"});
  row->ArgsProduct({{4, 16, 32, 64, 256, 1000}, {1, 0}});
}
BENCHMARK(FindByHighway)->Name("find/highway")->Apply(HashArgs);
BENCHMARK(FindByUs)->Name("find/hotpath")->Apply(HashArgs);

}  // namespace
}  // namespace hotpath::bench

#endif  // HWY_ONCE
