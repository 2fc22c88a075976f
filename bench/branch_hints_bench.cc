// Where the unlikely code of many functions lies: between their likely code, as the compiler puts what it knows nothing
// about, at their ends (Unlikely), or in functions elsewhere (Unlikely and HOTPATH_COLD). The likely path executes the
// same work in all three; what differs is how many lines of the instruction cache it touches. So nothing is to be seen
// while the functions fit the cache either way, and the branch predictor gains nothing anywhere.

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "bench/base/rows.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/branch_hints.h"

namespace hotpath::bench {
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

// Each operation is a step of the next one of `count` functions.
template <Layout kLayout>
auto Walk(size_t count) {
  return [count, x = uint64_t{1}, i = size_t{0}]() mutable {
    x = kSteps<kLayout>[i](x);
    i = i + 1 == count ? 0 : i + 1;
  };
}

// ---- What the layouts do to a cache of instructions, counted by cachegrind: no clock, no noise ----

constexpr int kCountedPasses = 400;

// For cachegrind: all functions, kCountedPasses times; 0: none.
template <Layout kLayout>
void BM_Steps(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  uint64_t x = 1;
  for (auto _ : state) {
    for (size_t i = 0; i < count; ++i) x = kSteps<kLayout>[i](x);
    benchmark::DoNotOptimize(x);
  }
}
#define HOTPATH_BENCH_STEPS(layout) BENCHMARK(BM_Steps<layout>)->Arg(0)->Arg(32)->Arg(256)->Iterations(kCountedPasses)
HOTPATH_BENCH_STEPS(Layout::kAsItComes)->Name("Steps/as_it_comes");
HOTPATH_BENCH_STEPS(Layout::kUnlikely)->Name("Steps/unlikely");
HOTPATH_BENCH_STEPS(Layout::kUnlikelyAndCold)->Name("Steps/unlikely_cold");

struct Counts {
  double instructions, cache_misses, mispredicted;  // of conditions
};

// Of one benchmark in a process of its own. Nothing where valgrind is not installed.
std::optional<Counts> Cachegrind(const std::string& benchmark) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0) return std::nullopt;
  // The variable is there so that the program does not start itself again.
  const std::string command =
      "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384 valgrind --tool=cachegrind --cache-sim=yes --branch-sim=yes "
      "--I1=32768,8,64 --cachegrind-out-file=/dev/null '" +
      std::string(self) + "' '--benchmark_filter=^" + benchmark + "/' 2>&1";
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  Counts counts{};
  int found = 0;
  const auto number = [](std::string text) {
    std::erase(text, ',');
    return std::strtod(text.c_str(), nullptr);
  };
  char line[1024];
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    const std::string text = line;
    const auto take = [&](const char* label, double* to) {
      const size_t at = text.find(label);
      if (at == std::string::npos) return;
      *to = number(text.substr(at + std::string(label).size()));
      ++found;
    };
    take("I   refs:", &counts.instructions);
    take("I1  misses:", &counts.cache_misses);
    if (const size_t at = text.find("Mispredicts:"); at != std::string::npos) {
      // "==1==  Mispredicts:  1,234  (  1,000 cond  +  234 ind)"
      const size_t open = text.find('(', at);
      if (open == std::string::npos) continue;
      counts.mispredicted = number(text.substr(open + 1));
      ++found;
    }
  }
  if (pclose(pipe) != 0 || found != 3) return std::nullopt;
  return counts;
}

// Per step, without what a process takes that makes none. They are counts, so once is enough.
std::optional<Counts> PerStep(const std::string& layout, int count) {
  static std::optional<Counts> idle = Cachegrind("Steps/as_it_comes/0");
  const std::optional<Counts> all = idle ? Cachegrind("Steps/" + layout + "/" + std::to_string(count)) : std::nullopt;
  if (!all) return std::nullopt;
  const double steps = static_cast<double>(count) * kCountedPasses;
  return Counts{(all->instructions - idle->instructions) / steps, (all->cache_misses - idle->cache_misses) / steps,
                (all->mispredicted - idle->mispredicted) / steps};
}

struct Counted {
  std::optional<Counts> as_it_comes, unlikely, unlikely_and_cold;
};
const Counted& Of(int count) {
  static const Counted few = {PerStep("as_it_comes", 32), PerStep("unlikely", 32), PerStep("unlikely_cold", 32)};
  static const Counted many = {PerStep("as_it_comes", 256), PerStep("unlikely", 256), PerStep("unlikely_cold", 256)};
  return count == 32 ? few : many;
}

void AddCounts(Rows& rows, const char* what, const char* unit, double Counts::* which, int count) {
  const auto sample = [which, count](std::optional<Counts> Counted::* layout) {
    return [which, count, layout]() -> std::optional<double> {
      const std::optional<Counts>& counts = Of(count).*layout;
      if (!counts) return std::nullopt;
      return counts.value().*which;
    };
  };
  rows.Add({.id = "branch_hints/" + std::string(what) + "_" + std::to_string(count) + "/t1",
            .optimisation = 14,
            .fresh = false,
            .unit = unit,
            .note = "by cachegrind, with an instruction cache of 32 KiB and 8 ways"})
      .Sample(Role::kNaive, "as it comes", sample(&Counted::as_it_comes))
      .Sample(Role::kOurs, "Unlikely", sample(&Counted::unlikely))
      .Sample(Role::kVariant, "Unlikely and HOTPATH_COLD", sample(&Counted::unlikely_and_cold));
}

HOTPATH_BENCH_ROWS(rows) {
  for (const size_t count : {size_t{32}, kMaxSteps}) {
    rows.Add({.id = "branch_hints/steps_" + std::to_string(count) + "/t1",
              .optimisation = 14,
              .claim = count == kMaxSteps ? "hints" : "",
              .note = count == kMaxSteps ? "code that fits the instruction cache only with hints"
                                         : "code that fits the instruction cache either way"})
        .Naive("as it comes", [count] { return Walk<Layout::kAsItComes>(count); })
        .Ours("Unlikely", [count] { return Walk<Layout::kUnlikely>(count); })
        .Variant("Unlikely and HOTPATH_COLD", [count] { return Walk<Layout::kUnlikelyAndCold>(count); });
  }
  AddCounts(rows, "cache_misses", "L1I misses a step", &Counts::cache_misses, 32);
  AddCounts(rows, "cache_misses", "L1I misses a step", &Counts::cache_misses, 256);
  AddCounts(rows, "instructions", "instructions a step", &Counts::instructions, 256);
  AddCounts(rows, "mispredictions", "mispredicted conditions a step", &Counts::mispredicted, 256);
}

}  // namespace
}  // namespace hotpath::bench
