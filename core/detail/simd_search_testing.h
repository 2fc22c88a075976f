#ifndef HOTPATH_CORE_DETAIL_SIMD_SEARCH_TESTING_H_
#define HOTPATH_CORE_DETAIL_SIMD_SEARCH_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "hotpath/core/simd_search.h"

namespace hotpath::simd_search_internal {

// For tests, fuzzers and benchmarks: every level in one process.
struct TestAccess {
  // The levels that this build and this CPU have.
  static std::vector<const Kernels*> AllKernels() {
    std::vector<const Kernels*> all;
    for (const SimdLevel level :
         {SimdLevel::kScalar, SimdLevel::kSse2, SimdLevel::kAvx2, SimdLevel::kAvx512, SimdLevel::kNeon}) {
      if (const Kernels* kernels = KernelsFor(level)) all.push_back(kernels);
    }
    return all;
  }

  static std::optional<size_t> FindHash(const Kernels& kernels, std::span<const uint64_t> hashes, uint64_t needle) {
    const size_t i = kernels.find(hashes.data(), hashes.size(), needle);
    if (i == hashes.size()) return std::nullopt;
    return i;
  }
  static std::optional<size_t> LongestMatch(const Kernels& kernels, const PathPrefixSet& set, std::string_view path) {
    const PathRule* rule = kernels.match(set.rules_, path.data(), path.size());
    if (rule == nullptr) return std::nullopt;
    return rule->longest;
  }
  static std::optional<size_t> FirstMatch(const Kernels& kernels, const PathPrefixSet& set, std::string_view path) {
    const PathRule* rule = kernels.match(set.rules_, path.data(), path.size());
    if (rule == nullptr) return std::nullopt;
    return rule->first;
  }

  static const PathRules& Compiled(const PathPrefixSet& set) { return set.rules_; }
};

// The definitions that everything is compared with, word for word what simd_search.h says.

inline std::optional<size_t> NaiveFindHash(std::span<const uint64_t> hashes, uint64_t needle) {
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (hashes[i] == needle) return i;
  }
  return std::nullopt;
}

inline std::optional<size_t> NaiveStartsWithAny(std::string_view path, std::span<const std::string_view> prefixes) {
  for (size_t i = 0; i < prefixes.size(); ++i) {
    if (path.substr(0, prefixes[i].size()) == prefixes[i]) return i;
  }
  return std::nullopt;
}

inline std::string_view NaiveTrim(std::string_view rule) {
  while (!rule.empty() && rule.back() == '/') rule.remove_suffix(1);
  return rule;
}

inline bool NaiveCovers(std::string_view rule, std::string_view path) {
  if (rule.empty() || path.empty()) return rule.empty() && path.empty();
  rule = NaiveTrim(rule);
  if (path.substr(0, rule.size()) != rule) return false;
  return path.size() == rule.size() || path[rule.size()] == '/';
}

inline std::optional<size_t> NaiveFirstMatch(std::span<const std::string_view> rules, std::string_view path) {
  for (size_t i = 0; i < rules.size(); ++i) {
    if (NaiveCovers(rules[i], path)) return i;
  }
  return std::nullopt;
}

inline std::optional<size_t> NaiveLongestMatch(std::span<const std::string_view> rules, std::string_view path) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!NaiveCovers(rules[i], path)) continue;
    if (!best || NaiveTrim(rules[i]).size() > NaiveTrim(rules[*best]).size()) best = i;
  }
  return best;
}

}  // namespace hotpath::simd_search_internal

#endif  // HOTPATH_CORE_DETAIL_SIMD_SEARCH_TESTING_H_
