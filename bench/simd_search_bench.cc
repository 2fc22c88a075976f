// Searches of hashes and of path rules, beside the loops that one writes without them, hash tables, a sorted vector,
// and three libraries: RE2::Set, Hyperscan, Highway. The two of regular expressions are told what PathPrefixSet does,
// "^/home(/|$)", and asked whether any matches, which is less than which one is the longest.

// Highway compiles the part up to HWY_ONCE once per instruction set.
#if HOTPATH_HAVE_HIGHWAY
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/simd_search_bench.cc"
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
#endif

#if !HOTPATH_HAVE_HIGHWAY || HWY_ONCE

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bench/base/heap_counter.h"
#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"

#if HOTPATH_HAVE_HYPERSCAN
#include "hs/hs.h"
#endif
#if HOTPATH_HAVE_RE2
#include "re2/re2.h"
#include "re2/set.h"
#endif

namespace hotpath::bench {

#if HOTPATH_HAVE_HIGHWAY
HWY_EXPORT(HighwayFind);
#endif

namespace {

using simd_search_internal::Kernels;
using simd_search_internal::TestAccess;

// ---- Hashes: more needles than a branch predictor learns by heart, each somewhere among them, or nowhere ----

struct HashWorkload {
  static constexpr size_t kNeedles = 1 << 16;

  HashWorkload(size_t n, bool hits) : hashes(n), needles(kNeedles) {
    std::mt19937_64 rng(1);
    for (uint64_t& hash : hashes) hash = rng();
    for (uint64_t& needle : needles) needle = hits ? hashes[rng() % n] : rng();
  }
  std::vector<uint64_t> hashes;
  std::vector<uint64_t> needles;
};

std::optional<size_t> IfBelow(size_t i, size_t n) { return i == n ? std::nullopt : std::optional(i); }

// Each operation asks find(hashes, needle) for the next needle.
template <class F>
auto FindEach(const std::shared_ptr<const HashWorkload>& work, const F& find) {
  return [work, hashes = std::span(work->hashes), needles = work->needles.data(), find, i = size_t{0}]() mutable {
    Keep(find(hashes, needles[i]));
    i = (i + 1) % HashWorkload::kNeedles;
  };
}

void AddFind(Rows& rows, size_t n, bool hits) {
  const auto work = std::make_shared<const HashWorkload>(n, hits);
  const auto map = std::make_shared<absl::flat_hash_map<uint64_t, size_t>>();
  for (size_t i = 0; i < n; ++i) map->try_emplace(work->hashes[i], i);

  Row& row =
      rows.Add({.id = "simd_search/find/" + std::to_string(n) + (hits ? "" : "_misses") + "/t1", .optimisation = 8})
          .Naive("std::find",
                 [work] {
                   return FindEach(work, [](std::span<const uint64_t> hashes, uint64_t needle) {
                     const auto at = std::find(hashes.begin(), hashes.end(), needle) - hashes.begin();
                     return IfBelow(static_cast<size_t>(at), hashes.size());
                   });
                 })
          .Ours("FindHashSimd",
                [work] {
                  return FindEach(work, [](auto hashes, uint64_t needle) { return FindHashSimd(hashes, needle); });
                })
          .Peer("flat_hash_map", [work, map] {
            return FindEach(work, [map](std::span<const uint64_t>, uint64_t needle) {
              const auto it = map->find(needle);
              return it == map->end() ? std::nullopt : std::optional(it->second);
            });
          });
#if HOTPATH_HAVE_HIGHWAY
  row.Peer("hwy::Find", [work] {
    return FindEach(work, [](std::span<const uint64_t> hashes, uint64_t needle) {
      return IfBelow(HWY_DYNAMIC_DISPATCH(HighwayFind)(hashes.data(), hashes.size(), needle), hashes.size());
    });
  });
#else
  row.NotInstalled("hwy::Find");
#endif
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    row.Variant(std::string(SimdLevelName(kernels->level)), [work, kernels] {
      return FindEach(work, [kernels](std::span<const uint64_t> hashes, uint64_t needle) {
        return TestAccess::FindHash(*kernels, hashes, needle);
      });
    });
  }
  if (hits) row.AtLeast(n == 256 ? 2 : 2.5, "std::find");
}

// ---- Paths ----

// Rules as in a sandbox, 1 to 5 components deep, and more paths than a branch predictor learns by heart, 21 to 34 bytes
// long on average. `percent_covered` of the paths are a rule and up to two components below it, the others are made
// of the same components and covered by no rule. Paths lie one after the other in memory: what is measured is the
// search, not the cache misses on the way.
class PathWorkload {
 public:
  static constexpr size_t kPaths = 8192;

  PathWorkload(size_t count, unsigned percent_covered) {
    std::mt19937 rng(7);
    static constexpr std::string_view kWords[] = {
        "usr", "lib",     "home",   "var",  "etc",   "opt",          "share",         "local",
        "bin", "python3", "alice",  "bob",  "cache", "src",          "include",       "log",
        "run", "tmp",     "config", "data", "site",  "node_modules", "dist-packages", "x86_64-linux-gnu"};
    const auto component = [&] {
      std::string word("/");
      word += kWords[rng() % std::size(kWords)];
      if (count > 256 && rng() % 2 == 0) word += std::to_string(rng() % 100);
      return word;
    };
    const auto components = [&](size_t least, size_t most) {
      std::string path;
      for (size_t i = least + rng() % (most - least + 1); i > 0; --i) path += component();
      return path;
    };
    std::set<std::string> distinct;
    while (distinct.size() < count) {
      std::string rule = components(count > 16 ? 2 : 1, count > 5000 ? 5 : 4);
      if (distinct.insert(rule).second) rules_text_.push_back(std::move(rule));
    }
    rules.assign(rules_text_.begin(), rules_text_.end());

    const PathPrefixSet set(rules);
    std::vector<size_t> lengths;
    for (size_t i = 0; i < kPaths; ++i) {
      std::string path;
      if (rng() % 100 < percent_covered) {
        path = rules_text_[rng() % count] + components(0, 2);
      } else {
        do path = components(2, 5);
        while (set.LongestMatch(path));
      }
      lengths.push_back(path.size());
      paths_text_ += path;
    }
    size_t at = 0;
    for (const size_t length : lengths) {
      paths.push_back(std::string_view(paths_text_).substr(at, length));
      at += length;
    }
  }
  PathWorkload(const PathWorkload&) = delete;
  PathWorkload& operator=(const PathWorkload&) = delete;

  // The same one for all contenders of a run.
  static const PathWorkload& Get(size_t count, unsigned percent_covered) {
    static std::map<std::pair<size_t, unsigned>, PathWorkload> all;
    return all.try_emplace({count, percent_covered}, count, percent_covered).first->second;
  }

  std::vector<std::string_view> rules;
  std::vector<std::string_view> paths;

 private:
  std::vector<std::string> rules_text_;
  std::string paths_text_;
};

// Each operation asks ask(path) about the next path.
template <class F>
auto AskEach(const PathWorkload& work, F ask) {
  return [paths = work.paths.data(), ask = std::move(ask), i = size_t{0}]() mutable {
    Keep(ask(paths[i]));
    i = (i + 1) % PathWorkload::kPaths;
  };
}

// The loop that one writes: every rule is looked at.
std::optional<size_t> LongestByLoop(std::span<const std::string_view> rules, std::string_view path) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string_view rule = rules[i];
    if (!path.starts_with(rule) || (path.size() != rule.size() && path[rule.size()] != '/')) continue;
    if (!best || rule.size() > rules[*best].size()) best = i;
  }
  return best;
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

using HashedRules = absl::flat_hash_map<std::string, size_t>;
HashedRules Hashed(std::span<const std::string_view> rules) {
  HashedRules map;
  map.reserve(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) map.try_emplace(rules[i], i);
  return map;
}
std::optional<size_t> LongestByHashing(const HashedRules& map, std::string_view path) {
  return LongestByBoundaries(path, [&](std::string_view text) -> std::optional<size_t> {
    const auto it = map.find(text);
    if (it == map.end()) return std::nullopt;
    return it->second;
  });
}

using SortedRules = std::vector<std::pair<std::string_view, size_t>>;
SortedRules Sorted(std::span<const std::string_view> rules) {
  SortedRules sorted;
  sorted.reserve(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) sorted.emplace_back(rules[i], i);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}
std::optional<size_t> LongestByBinarySearch(const SortedRules& sorted, std::string_view path) {
  return LongestByBoundaries(path, [&](std::string_view text) -> std::optional<size_t> {
    const auto it = std::lower_bound(sorted.begin(), sorted.end(), std::pair(text, size_t{0}));
    if (it == sorted.end() || it->first != text) return std::nullopt;
    return it->second;
  });
}

#if HOTPATH_HAVE_RE2 || HOTPATH_HAVE_HYPERSCAN
std::string Expression(std::string_view rule) {
  std::string text;
  for (const char c : rule) {
    if (c == '.' || c == '-') text += '\\';
    text += c;
  }
  return text + "(?:/|$)";
}
#endif

#if HOTPATH_HAVE_RE2
auto AnyByRe2(const PathWorkload& work) {
  RE2::Options options;
  options.set_max_mem(int64_t{1} << 30);
  const auto set = std::make_shared<RE2::Set>(options, RE2::ANCHOR_START);
  for (const std::string_view rule : work.rules) {
    if (set->Add(Expression(rule), nullptr) < 0) std::abort();
  }
  if (!set->Compile()) std::abort();
  return AskEach(
      work, [set](std::string_view path) { return set->Match(re2::StringPiece(path.data(), path.size()), nullptr); });
}
#endif

#if HOTPATH_HAVE_HYPERSCAN
class Hyperscan {
 public:
  explicit Hyperscan(const PathWorkload& work) {
    std::vector<std::string> expressions;
    for (const std::string_view rule : work.rules) expressions.push_back("^" + Expression(rule));
    std::vector<const char*> pointers;
    for (const std::string& expression : expressions) pointers.push_back(expression.c_str());
    const std::vector<unsigned> flags(pointers.size(), HS_FLAG_SINGLEMATCH);
    std::vector<unsigned> ids(pointers.size());
    for (unsigned i = 0; i < ids.size(); ++i) ids[i] = i;
    hs_compile_error_t* error = nullptr;
    if (hs_compile_multi(pointers.data(), flags.data(), ids.data(), static_cast<unsigned>(pointers.size()),
                         HS_MODE_BLOCK, nullptr, &database_, &error) != HS_SUCCESS ||
        hs_alloc_scratch(database_, &scratch_) != HS_SUCCESS) {
      std::abort();
    }
  }
  ~Hyperscan() {
    hs_free_scratch(scratch_);
    hs_free_database(database_);
  }
  Hyperscan(const Hyperscan&) = delete;
  Hyperscan& operator=(const Hyperscan&) = delete;

  bool Any(std::string_view path) const {
    const auto stop = [](unsigned, unsigned long long, unsigned long long, unsigned, void*) { return 1; };
    return hs_scan(database_, path.data(), static_cast<unsigned>(path.size()), 0, scratch_, stop, nullptr) ==
           HS_SCAN_TERMINATED;
  }

 private:
  hs_database_t* database_ = nullptr;
  hs_scratch_t* scratch_ = nullptr;
};
#endif

struct PathGoals {
  size_t rules;
  unsigned percent_covered;
  double loop;  // at least; 0: none
};

void AddPrefix(Rows& rows, const PathGoals& goals) {
  const auto work = [goals]() -> const PathWorkload& { return PathWorkload::Get(goals.rules, goals.percent_covered); };
  const std::string which = goals.percent_covered == 0 ? "" : "_covered";
  Row& row = rows.Add({.id = "simd_search/prefix/" + std::to_string(goals.rules) + which + "/t1",
                       .optimisation = 8,
                       .claim = goals.rules == 16 && goals.percent_covered == 0 ? "prefixes" : "",
                       .fresh = false,
                       .note = goals.percent_covered == 0 ? "no rule covers the path" : "a rule covers the path"});
  if (goals.rules <= 1000) {
    row.Naive("loop over the rules", [work] {
      return AskEach(work(),
                     [rules = std::span(work().rules)](std::string_view path) { return LongestByLoop(rules, path); });
    });
  }
  row.Ours("PathPrefixSet",
           [work] {
             const auto set = std::make_shared<const PathPrefixSet>(work().rules);
             return AskEach(work(), [set](std::string_view path) { return set->LongestMatch(path); });
           })
      .Peer("sorted vector, each boundary",
            [work] {
              const auto sorted = std::make_shared<const SortedRules>(Sorted(work().rules));
              return AskEach(work(), [sorted](std::string_view path) { return LongestByBinarySearch(*sorted, path); });
            })
      .Peer("flat_hash_map, each boundary", [work] {
        const auto map = std::make_shared<const HashedRules>(Hashed(work().rules));
        return AskEach(work(), [map](std::string_view path) { return LongestByHashing(*map, path); });
      });
  if (goals.rules <= 1000) {
#if HOTPATH_HAVE_RE2
    row.Peer("RE2::Set", [work] { return AnyByRe2(work()); });
    if (goals.loop > 0) row.AtLeast(5, "RE2::Set");
#else
    row.NotInstalled("RE2::Set");
#endif
#if HOTPATH_HAVE_HYPERSCAN
    row.Peer("Hyperscan", [work] {
      const auto database = std::make_shared<const Hyperscan>(work());
      return AskEach(work(), [database](std::string_view path) { return database->Any(path); });
    });
    if (goals.loop > 0) row.AtLeast(3, "Hyperscan");
#else
    row.NotInstalled("Hyperscan");
#endif
  }
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    row.Variant(std::string(SimdLevelName(kernels->level)), [work, kernels] {
      const auto set = std::make_shared<const PathPrefixSet>(work().rules);
      return AskEach(work(),
                     [set, kernels](std::string_view path) { return TestAccess::LongestMatch(*kernels, *set, path); });
    });
  }
  if (goals.loop > 0) row.AtLeast(goals.loop, "loop over the rules");
}

void AddStartsWithAny(Rows& rows, size_t count) {
  const auto work = [count]() -> const PathWorkload& { return PathWorkload::Get(count, 0); };
  rows.Add({.id = "simd_search/starts_with_any/" + std::to_string(count) + "/t1", .optimisation = 8, .fresh = false})
      .Naive("loop of starts_with",
             [work] {
               return AskEach(work(),
                              [rules = std::span(work().rules)](std::string_view path) -> std::optional<size_t> {
                                for (size_t i = 0; i < rules.size(); ++i) {
                                  if (path.starts_with(rules[i])) return i;
                                }
                                return std::nullopt;
                              });
             })
      .Ours("PathStartsWithAny", [work] {
        return AskEach(work(), [rules = std::span<const std::string_view>(work().rules)](std::string_view path) {
          return PathStartsWithAny(path, rules);
        });
      });
}

// ---- Building ----

constexpr size_t kManyRules = 100'000;

template <class Build>
double MillisecondsToBuild(Build build) {
  const std::vector<std::string_view>& rules = PathWorkload::Get(kManyRules, 0).rules;
  const uint64_t before = Ticks();
  const auto built = build(rules);
  Keep(built);
  return TicksToNs(static_cast<double>(Ticks() - before)) / 1e6;
}
template <class Build>
double BytesPerRule(Build build) {
  const std::vector<std::string_view>& rules = PathWorkload::Get(kManyRules, 0).rules;
  const auto built = build(rules);
  const HeapMark mark;
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const auto copy = built;  // without what building took
  Keep(copy);
  return static_cast<double>(mark.Since().bytes) / static_cast<double>(rules.size());
}
PathPrefixSet Built(std::span<const std::string_view> rules) { return PathPrefixSet(rules); }

HOTPATH_BENCH_ROWS(rows) {
  for (const size_t n : {16, 32, 64, 256}) AddFind(rows, n, true);
  AddFind(rows, 64, false);

  for (const PathGoals& goals :
       {PathGoals{4, 0, 2.5}, PathGoals{16, 0, 4.5}, PathGoals{64, 0, 6}, PathGoals{256, 0, 12}, PathGoals{1000, 0, 40},
        PathGoals{16, 100, 0}, PathGoals{256, 100, 0}, PathGoals{kManyRules, 0, 0}}) {
    AddPrefix(rows, goals);
  }
  for (const size_t count : {4, 64}) AddStartsWithAny(rows, count);

  rows.Add({.id = "simd_search/build/100000/t1",
            .optimisation = 8,
            .fresh = false,
            .unit = "ms",
            .note = "all 100,000 rules at once"})
      .Sample(Role::kFloor, "a second", [] { return 1000.0; })
      .Sample(Role::kOurs, "PathPrefixSet", [] { return MillisecondsToBuild(Built); })
      .Sample(Role::kPeer, "sorted vector", [] { return MillisecondsToBuild(Sorted); })
      .Sample(Role::kPeer, "flat_hash_map of strings", [] { return MillisecondsToBuild(Hashed); })
      .AtMost(1, "a second");
  rows.Add({.id = "simd_search/memory/100000/t1", .optimisation = 8, .fresh = false, .unit = "bytes a rule"})
      .Sample(Role::kOurs, "PathPrefixSet", [] { return BytesPerRule(Built); })
      .Sample(Role::kPeer, "flat_hash_map of strings", [] { return BytesPerRule(Hashed); });
}

}  // namespace
}  // namespace hotpath::bench

#endif  // !HOTPATH_HAVE_HIGHWAY || HWY_ONCE
