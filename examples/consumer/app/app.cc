#include <cstdint>
#include <cstdio>

#include "core/result.h"
#include "hotpath/core/result.h"
#include "hotpath/core/seqlock_stats.h"

struct Hits {
  uint64_t count = 0;
  uint64_t bytes = 0;
};

static hotpath::Result<uint64_t> Average(const Hits& hits) {
  if (hits.count == 0) return hotpath::Code::kEINVAL;
  return hits.bytes / hits.count;
}

int main() {
  hotpath::SeqlockStats<Hits> stats;
  if (Average(stats.Read()).ok()) return 1;
  for (uint64_t i = 1; i <= 3; ++i) {
    stats.Write([&](Hits& h) {
      ++h.count;
      h.bytes += 100 * i;
    });
  }
  const Hits seen = stats.Read();
  const hotpath::Result<uint64_t> average = Average(seen);
  std::printf("hits=%llu average=%llu\n", static_cast<unsigned long long>(seen.count),
              static_cast<unsigned long long>(average.value_or(0)));
  return seen.count == kExpectedHits && average.value_or(0) == 200 ? 0 : 1;
}
