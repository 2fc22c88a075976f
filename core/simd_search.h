#ifndef HOTPATH_CORE_SIMD_SEARCH_H_
#define HOTPATH_CORE_SIMD_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "hotpath/core/detail/simd_search_kernels.h"

// Searches that use the widest vectors of the CPU at hand, chosen once per process. HOTPATH_SIMD=scalar, sse2, avx2,
// avx512 or neon in the environment forces a level, for tests and comparisons. A value that is unknown, or that this
// CPU cannot run, is named on standard error and the best level is used: never an illegal instruction.

namespace hotpath {

// The level in use. Wait-free.
[[nodiscard]] inline SimdLevel ActiveSimdLevel() noexcept { return simd_search_internal::ActiveKernels().level; }

// "scalar", "sse2", "avx2", "avx512" or "neon".
[[nodiscard]] std::string_view SimdLevelName(SimdLevel level) noexcept;

// The lowest index of `needle` in `hashes`. Linear, with one branch on what is found per 16 (SSE2, NEON) to 256
// (AVX-512) hashes: for arrays of 4 to some hundreds that exist anyway. A hash table is faster from about 16 hashes on,
// where one can be kept. Reads nothing but the given hashes. Wait-free.
[[nodiscard]] inline std::optional<size_t> FindHashSimd(std::span<const uint64_t> hashes, uint64_t needle) noexcept {
  const size_t i = simd_search_internal::ActiveKernels().find(hashes.data(), hashes.size(), needle);
  if (i == hashes.size()) return std::nullopt;
  return i;
}

// The lowest index of a prefix that `path` starts with. Plain bytes: "/home" is a prefix of "/homeless", "" of
// everything. Looks at every prefix up to the match: compile a set that is asked more than once into a PathPrefixSet.
// Allocates nothing. Wait-free.
[[nodiscard]] std::optional<size_t> PathStartsWithAny(std::string_view path,
                                                      std::span<const std::string_view> prefixes) noexcept;

// PathPrefixSet: rules that are paths, each covering itself and all that lies below it; compiled once, asked often.
//
// Contract  A rule covers the path equal to it and every path that goes on with '/' after it: "/home" covers "/home",
//           "/home/" and "/home/a", not "/homeless". Nothing is normalised: see the constructor. Immutable.
// Progress  LongestMatch, FirstMatch: wait-free, from any number of threads, no allocation.
// Cost      Linear in the length of the path up to the longest rule, whatever the number of rules: two table slots per
//           '/' of the path that some rule is as long as; none in the first 64 bytes where a small filter shows that
//           no rule of that length begins like the path. Up to 48 rules: all are compared with the path in vectors,
//           by as many words of their first 32 bytes as tell them apart, and what is equal so far to its end.
//           Memory: at most 96 bytes a rule, 9/8 of its text, and 2 KiB a set. Building: n log n compares of rules,
//           one to 32 tables, and at most 8 filters. Rules made for it defeat all 32: answers stay right, but then
//           take a binary search per '/'. Let no stranger write rules.
// Not for   Paths as users type them: normalise first, or "/etc//shadow" and "/x/../etc/shadow" pass by a rule.
// Proof     simd_search_test.cc and path_prefix_set_fuzz.cc compare every level with the loop over Contract's text.
// Example   PathPrefixSet denied({"/etc", "/home/alice"});
//           if (denied.LongestMatch(path)) return Error{Code::kEACCES};
class PathPrefixSet {
 public:
  PathPrefixSet() noexcept = default;

  // Copies what it needs of the rules.
  //   - Only '/' is special. ".", "..", doubled slashes, case, encodings and NUL are bytes like any other: "/a//b"
  //     covers "/a//b/c" and not "/a/b", and "/a" covers "/a//b".
  //   - Slashes at the end of a rule are dropped: "/home/" is the rule "/home", and covers the path "/home" too.
  //   - "/", and any rule of slashes only, covers every path that starts with '/'.
  //   - The empty rule covers the empty path and nothing else; nothing else covers the empty path.
  //   - "usr" is a relative rule: it covers "usr/lib", not "/usr/lib".
  // More than 2^30 rules, or 2^32 bytes of them, are a CHECK failure; tested with 100,000 rules. Throws std::bad_alloc.
  explicit PathPrefixSet(std::span<const std::string_view> rules);
  PathPrefixSet(std::initializer_list<std::string_view> rules)
      : PathPrefixSet(std::span(rules.begin(), rules.size())) {}

  // Copies, and moves that leave a set without rules behind.
  PathPrefixSet(const PathPrefixSet&) = default;
  PathPrefixSet& operator=(const PathPrefixSet&) = default;
  PathPrefixSet(PathPrefixSet&& other) noexcept : rules_(std::exchange(other.rules_, {})) {}
  PathPrefixSet& operator=(PathPrefixSet&& other) noexcept {
    rules_ = std::exchange(other.rules_, {});
    return *this;
  }

  // The index of the longest rule that covers `path`; of equal rules, the first.
  [[nodiscard]] std::optional<size_t> LongestMatch(std::string_view path) const noexcept {
    const simd_search_internal::PathRule* rule = Find(path);
    if (rule == nullptr) return std::nullopt;
    return rule->longest;
  }

  // The lowest index of a rule that covers `path`. Same cost.
  [[nodiscard]] std::optional<size_t> FirstMatch(std::string_view path) const noexcept {
    const simd_search_internal::PathRule* rule = Find(path);
    if (rule == nullptr) return std::nullopt;
    return rule->first;
  }

  // How many rules it was built from, equal ones included.
  [[nodiscard]] size_t size() const noexcept { return rules_.given; }

  // Bytes it holds, itself included.
  [[nodiscard]] size_t MemoryUsed() const noexcept;

 private:
  friend struct simd_search_internal::TestAccess;

  const simd_search_internal::PathRule* Find(std::string_view path) const noexcept {
    return simd_search_internal::ActiveKernels().match(rules_, path.data(), path.size());
  }

  simd_search_internal::PathRules rules_;
};

}  // namespace hotpath

#endif  // HOTPATH_CORE_SIMD_SEARCH_H_
