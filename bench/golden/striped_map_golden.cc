#include <cstdint>
#include <functional>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/striped_map.h"

// The hash is the key, for absl's differs from process to process, and with it the path.
void hotpath::bench::AddGoldenPaths(GoldenPaths& paths) {
  const auto map = Isolated<StripedMap<uint64_t, uint64_t, std::hash<uint64_t>>>();
  map->Reserve(1000);
  for (uint64_t key = 1; key <= 100; ++key) map->Insert(key, key);
  const auto there = Isolated<uint64_t>(7), absent = Isolated<uint64_t>(1007);
  paths.Add("StripedMap::Find, a hit", [map, there] { Keep(map->Find(*there)); });
  paths.Add("StripedMap::Find, a miss", [map, absent] { Keep(map->Find(*absent)); });
  paths.Add("StripedMap::InsertOrAssign, in place", [map, there] { Keep(map->InsertOrAssign(*there, 8)); });
  paths.Add("StripedMap::Insert and Erase", [map, absent] {
    Keep(map->Insert(*absent, 1));
    Keep(map->Erase(*absent));
  });
}
