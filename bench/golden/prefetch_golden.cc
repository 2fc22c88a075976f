#include <cstdint>
#include <vector>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/prefetch.h"

namespace hotpath::bench {

// The difference between the two loops, by 100, is what the view costs an element.
void AddGoldenPaths(GoldenPaths& paths) {
  const auto values = Isolated<std::vector<uint64_t>>(100, 1);
  const auto nodes = Isolated<std::vector<const uint64_t*>>();
  for (const uint64_t& value : *values) nodes->push_back(&value);
  paths.Add("a loop over 100 nodes", [nodes] {
    uint64_t sum = 0;
    for (const uint64_t* node : *nodes) {
      sum += *node;
      Keep(sum);
    }
  });
  paths.Add("the same WithPrefetch, 8", [nodes, values] {
    uint64_t sum = 0;
    for (const uint64_t* node : WithPrefetch(*nodes, 8)) {
      sum += *node;
      Keep(sum);
    }
  });
}

}  // namespace hotpath::bench
