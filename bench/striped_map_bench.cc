// A map of a million numbers: StripedMap beside std::unordered_map under a std::shared_mutex (the naive way), under 32
// std::mutexes, and one without any lock (the floor, alone). 90/9/1: finds, assignments, erase and insert again;
// 50/25/25. The goals are ratios between rows of one run.
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/striped_map.h"

namespace hotpath {
namespace {

constexpr uint64_t kKeys = 1 << 20;

class Ours {
 public:
  std::optional<uint64_t> Find(uint64_t key) const { return map_.Find(key); }
  void Assign(uint64_t key, uint64_t value) { map_.InsertOrAssign(key, value); }
  void Erase(uint64_t key) { map_.Erase(key); }
  void Insert(uint64_t key, uint64_t value) { map_.Insert(key, value); }

 private:
  StripedMap<uint64_t, uint64_t> map_;
};

// A map under a lock, or under none.
struct NoLock {
  void lock() {}
  void unlock() {}
  void lock_shared() {}
  void unlock_shared() {}
};
template <class Map, class Lock>
class Locked {
 public:
  std::optional<uint64_t> Find(uint64_t key) const {
    std::shared_lock lock(mu_);
    const auto at = map_.find(key);
    return at == map_.end() ? std::nullopt : std::optional(at->second);
  }
  void Assign(uint64_t key, uint64_t value) {
    std::unique_lock lock(mu_);
    map_.insert_or_assign(key, value);
  }
  void Erase(uint64_t key) {
    std::unique_lock lock(mu_);
    map_.erase(key);
  }
  void Insert(uint64_t key, uint64_t value) {
    std::unique_lock lock(mu_);
    map_.try_emplace(key, value);
  }

 private:
  mutable Lock mu_;
  Map map_;
};
using Standard = std::unordered_map<uint64_t, uint64_t>;
using Flat = absl::flat_hash_map<uint64_t, uint64_t>;

struct PlainMutex : std::mutex {
  void lock_shared() { lock(); }
  void unlock_shared() { unlock(); }
};
template <class Map, class Lock, size_t kStripes>
class Stripes {
 public:
  std::optional<uint64_t> Find(uint64_t key) const { return Of(key).Find(key); }
  void Assign(uint64_t key, uint64_t value) { Of(key).Assign(key, value); }
  void Erase(uint64_t key) { Of(key).Erase(key); }
  void Insert(uint64_t key, uint64_t value) { Of(key).Insert(key, value); }

 private:
  struct alignas(128) Stripe {
    Locked<Map, Lock> map;
  };
  Locked<Map, Lock>& Of(uint64_t key) const {
    return (*stripes_)[key * 0x9e3779b97f4a7c15u >> 32 & (kStripes - 1)].map;
  }
  std::unique_ptr<std::array<Stripe, kStripes>> stripes_ = std::make_unique<std::array<Stripe, kStripes>>();
};

template <class Map>
Map& Filled() {
  static Map* const map = [] {
    std::thread([] {}).join();  // glibc and libstdc++ skip locks before a process has a second thread
    auto* m = new Map;
    for (uint64_t key = 0; key < kKeys; ++key) m->Insert(key * 0x9e3779b97f4a7c15u, key);
    return m;
  }();
  return *map;
}

template <class Map, unsigned kFinds, unsigned kAssigns>
void BM_Mix(benchmark::State& state) {
  Map& map = Filled<Map>();
  uint64_t random = 0x1234567 + static_cast<uint64_t>(state.thread_index());
  uint64_t found = 0;
  for (auto _ : state) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const uint64_t key = (random & (kKeys - 1)) * 0x9e3779b97f4a7c15u;
    const unsigned what = static_cast<unsigned>(random >> 40) % 100;
    if (what < kFinds) {
      found += map.Find(key).has_value();
    } else if (what < kFinds + kAssigns) {
      map.Assign(key, random);
    } else {
      map.Erase(key);
      map.Insert(key, random);
    }
  }
  benchmark::DoNotOptimize(found);
}

#define HOTPATH_ROWS(...)                                                  \
  BENCHMARK(BM_Mix<__VA_ARGS__, 90, 9>)->ThreadRange(1, 8)->UseRealTime(); \
  BENCHMARK(BM_Mix<__VA_ARGS__, 50, 25>)->ThreadRange(1, 8)->UseRealTime()

BENCHMARK(BM_Mix<Locked<Flat, NoLock>, 90, 9>)->UseRealTime();
BENCHMARK(BM_Mix<Locked<Flat, NoLock>, 50, 25>)->UseRealTime();
HOTPATH_ROWS(Ours);
HOTPATH_ROWS(Stripes<Flat, PlainMutex, 32>);
HOTPATH_ROWS(Locked<Standard, std::shared_mutex>);

// A map that stays in the cache, finds only.
template <class Map>
void BM_FindSmall(benchmark::State& state) {
  static Map* const map = [] {
    std::thread([] {}).join();
    auto* m = new Map;
    for (uint64_t key = 0; key < 1000; ++key) m->Insert(key, key);
    return m;
  }();
  uint64_t key = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(map->Find(key % 1024));
    key += 7;
  }
}
BENCHMARK(BM_FindSmall<Locked<Flat, NoLock>>)->UseRealTime();
BENCHMARK(BM_FindSmall<Ours>)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(BM_FindSmall<Locked<Standard, std::shared_mutex>>)->ThreadRange(1, 2)->UseRealTime();

}  // namespace
}  // namespace hotpath
