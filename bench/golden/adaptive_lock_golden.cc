#include <cstdint>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/adaptive_lock.h"

namespace hotpath::bench {
namespace {

struct Wide {
  uint64_t a = 0, b = 0, c = 0;
};

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  using Number = AdaptiveLock<uint64_t>;
  paths.Add("AdaptiveLock::Load, 8 bytes", [n = Isolated<Number>()] { Keep(n->Load()); });
  paths.Add("AdaptiveLock::Store, 8 bytes", [n = Isolated<Number>()] { n->Store(1); });
  paths.Add("AdaptiveLock::FetchAdd, 8 bytes", [n = Isolated<Number>()] { Keep(n->FetchAdd(1)); });
  paths.Add("AdaptiveLock::FetchOr, 8 bytes", [n = Isolated<Number>()] { Keep(n->FetchOr(1)); });
  paths.Add("AdaptiveLock::With, 8 bytes", [n = Isolated<Number>()] { n->With([](uint64_t& value) { value += 3; }); });
  paths.Add("AdaptiveLock::With, 24 bytes",
            [w = Isolated<AdaptiveLock<Wide>>()] { w->With([](Wide& wide) { ++wide.b; }); });
}

}  // namespace hotpath::bench
