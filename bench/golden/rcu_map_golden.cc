#include <cstdint>
#include <thread>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/rcu_map.h"

namespace hotpath::bench {
namespace {

// A hash that is the same in every process, and no call.
struct Mix {
  size_t operator()(uint64_t key) const { return key * 0x9e3779b97f4a7c15u; }
};

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  std::thread([] {}).join();  // the C library drops locks and atomics while a process has one thread
  const auto map = Isolated<RcuMap<uint64_t, uint64_t, Mix>>();
  for (uint64_t key = 0; key < 1'000; ++key) map->Insert(key, key);
  paths.Add("RcuMap::Find, there", [map] { Keep(*map->Find(7)); });
  paths.Add("RcuMap::Find, not there", [map] { Keep(map->Find(7'000).get()); });
  paths.Add("RcuMap::InsertOrAssign, there", [map] { map->InsertOrAssign(7, 8); });
  paths.Add("RcuMap::Insert and Erase", [map] {
    map->Insert(7'000, 1);
    map->Erase(7'000);
  });
}

}  // namespace hotpath::bench
