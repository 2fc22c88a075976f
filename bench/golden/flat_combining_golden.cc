#include <atomic>
#include <cstdint>
#include <memory>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/flat_combining.h"

namespace hotpath::bench {

void AddGoldenPaths(GoldenPaths& paths) {
  paths.Add("std::atomic::fetch_add, for comparison",
            [n = Isolated<std::atomic<uint64_t>>(0)] { Keep(n->fetch_add(1)); });
  paths.Add("FlatCombiningCounter::FetchAdd", [n = Isolated<FlatCombiningCounter>()] { Keep(n->FetchAdd(1)); });
  paths.Add("FlatCombiningCounter::Load", [n = Isolated<FlatCombiningCounter>()] { Keep(n->Load()); });
  const auto combining = Isolated<FlatCombiningCounter>();
  combining->SetCombining(true);
  paths.Add("FlatCombiningCounter::FetchAdd, combining, alone", [combining] { Keep(combining->FetchAdd(1)); });
  paths.Add("FlatCombiner::Apply, alone", [combiner = Isolated<FlatCombiner<uint64_t>>()] {
    Keep(combiner->Apply([](uint64_t& value) noexcept { return ++value; }));
  });
}

}  // namespace hotpath::bench
