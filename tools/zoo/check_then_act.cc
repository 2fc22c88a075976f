// Caught by linearizability: not linearizable

// A map looks whether the key is there, unlocks, and inserts: two threads both insert it.
#include <cstdint>
#include <map>
#include <memory>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/specifications.h"

namespace hotpath::stress {
namespace {

class Map {
 public:
  bool Contains(uint64_t key) {
    MutexLock lock(mu_);
    return map_.contains(key);
  }
  bool Insert(uint64_t key, uint64_t value) {
    if (Contains(key)) return false;
    MutexLock lock(mu_);
    map_[key] = value;
    return true;
  }
  bool Erase(uint64_t key) {
    MutexLock lock(mu_);
    return map_.erase(key) != 0;
  }

 private:
  ChaosSync::Mutex mu_;
  std::map<uint64_t, uint64_t> map_ HOTPATH_GUARDED_BY(mu_);
};

TEST(Zoo, CheckThenAct) {
  ExpectLinearizable<MapSpec>(
      {}, [] { return std::make_unique<Map>(); },
      [](Map& map, Rng& rng, Recorder<MapSpec>& record) {
        const uint64_t key = rng.Below(3);
        if (rng.OneIn(2)) {
          record({MapSpec::kInsert, key, 1}, [&] { return map.Insert(key, 1); });
        } else {
          record({MapSpec::kErase, key}, [&] { return map.Erase(key); });
        }
      });
}

}  // namespace
}  // namespace hotpath::stress
