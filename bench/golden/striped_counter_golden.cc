#include <memory>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/striped_counter.h"

namespace hotpath::bench {

void AddGoldenPaths(GoldenPaths& paths) {
  paths.Add("StripedCounter::Add", [n = Isolated<StripedCounter>()] { n->Add(1); });
  paths.Add("StripedCounter::ApproximateTotal", [n = Isolated<StripedCounter>()] { Keep(n->ApproximateTotal()); });
  paths.Add("StripedCounter::ExactTotal", [n = Isolated<StripedCounter>()] { Keep(n->ExactTotal()); });
}

}  // namespace hotpath::bench
