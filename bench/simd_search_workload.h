#ifndef HOTPATH_BENCH_SIMD_SEARCH_WORKLOAD_H_
#define HOTPATH_BENCH_SIMD_SEARCH_WORKLOAD_H_

#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hotpath/core/simd_search.h"

namespace hotpath::bench {

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

  // The same ones for all rows of a run.
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

// The loop that one writes: every rule is looked at.
inline std::optional<size_t> LongestByLoop(std::span<const std::string_view> rules, std::string_view path) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string_view rule = rules[i];
    if (!path.starts_with(rule) || (path.size() != rule.size() && path[rule.size()] != '/')) continue;
    if (!best || rule.size() > rules[*best].size()) best = i;
  }
  return best;
}

inline std::optional<size_t> FirstByLoop(std::span<const std::string_view> rules, std::string_view path) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string_view rule = rules[i];
    if (path.starts_with(rule) && (path.size() == rule.size() || path[rule.size()] == '/')) return i;
  }
  return std::nullopt;
}

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_SIMD_SEARCH_WORKLOAD_H_
