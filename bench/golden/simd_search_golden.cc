#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"

// The level that most CPUs use, as part of this file, so that its instructions count.
#include "core/simd_search_avx2_x86.cc"  // NOLINT(bugprone-suspicious-include)

namespace hotpath::bench {
namespace {

using simd_search_internal::Kernels;
using simd_search_internal::TestAccess;

PathPrefixSet SetOf(size_t count) {
  std::vector<std::string> own;
  for (size_t i = 0; i < count; ++i) own.push_back("/srv/" + std::to_string(1000 + i) + "/data");
  return PathPrefixSet(std::vector<std::string_view>(own.begin(), own.end()));
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  using simd_search_internal::KernelsFor;
  if (KernelsFor(SimdLevel::kAvx2) == nullptr) {
    std::printf("skipped: this CPU has no AVX2\n");
    std::exit(0);
  }
  const auto avx2 = Isolated<const Kernels*>(KernelsFor(SimdLevel::kAvx2));
  for (const size_t n : {size_t{16}, size_t{64}, size_t{256}}) {
    const auto hashes = Isolated<std::vector<uint64_t>>();
    for (uint64_t i = 0; i < n; ++i) hashes->push_back(i * 0x9e3779b97f4a7c15);
    paths.Add("FindHashSimd, AVX2, the last of " + std::to_string(n),
              [avx2, hashes] { Keep(TestAccess::FindHash(**avx2, *hashes, hashes->back())); });
  }

  const auto covered = Isolated<std::string>("/srv/1003/data/some/file");
  const auto other = Isolated<std::string>("/opt/1003/data/some/file");
  for (const size_t count : {size_t{4}, size_t{16}, size_t{64}, size_t{100}, size_t{10000}}) {
    const auto set = Isolated<PathPrefixSet>(SetOf(count));
    for (const auto& path : {covered, other}) {
      const std::string what = path == covered ? ", covered" : ", not covered";
      paths.Add("PathPrefixSet::LongestMatch, AVX2, " + std::to_string(count) + " rules" + what,
                [avx2, set, path] { Keep(TestAccess::LongestMatch(**avx2, *set, *path)); });
    }
  }

  // Its own file's: which is the call.
  const auto prefixes = Isolated<std::vector<std::string_view>>(16, "/srv/2000/data");
  paths.Add("PathStartsWithAny, none of 16", [prefixes, covered] { Keep(PathStartsWithAny(*covered, *prefixes)); });
}

}  // namespace hotpath::bench
