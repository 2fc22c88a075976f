// A map of a million numbers, read and written by all threads: StripedMap beside std::unordered_map under a
// std::shared_mutex (the naive way), absl's flat_hash_map under one lock or 32, other libraries' concurrent maps, and
// one without any lock (the floor, alone). Values say which key they belong to, so that a wrong one shows; every
// operation leaves its key there, so that a lost one shows.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/striped_map.h"

#if HOTPATH_HAVE_TBB
#include <tbb/concurrent_hash_map.h>
#endif
#if HOTPATH_HAVE_LIBCUCKOO
#include <libcuckoo/cuckoohash_map.hh>
#endif

namespace hotpath::bench {
namespace {

constexpr uint64_t kKeys = 1 << 20;
constexpr uint64_t KeyOf(uint64_t index) { return index * 0x9e3779b97f4a7c15u; }

class Ours {
 public:
  std::optional<uint64_t> Find(uint64_t key) const { return map_.Find(key); }
  void Assign(uint64_t key, uint64_t value) { map_.InsertOrAssign(key, value); }
  void Erase(uint64_t key) { map_.Erase(key); }
  void Insert(uint64_t key, uint64_t value) { map_.Insert(key, value); }
  size_t size() const { return map_.size(); }

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
struct PlainMutex : std::mutex {
  void lock_shared() { lock(); }
  void unlock_shared() { unlock(); }
};
class AbslMutex {
 public:
  void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.Lock(); }
  void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.Unlock(); }
  void lock_shared() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.ReaderLock(); }
  void unlock_shared() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.ReaderUnlock(); }

 private:
  absl::Mutex mu_;
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
  size_t size() const { return map_.size(); }

 private:
  mutable Lock mu_;
  Map map_;
};
using Standard = Locked<std::unordered_map<uint64_t, uint64_t>, std::shared_mutex>;
using FlatMap = absl::flat_hash_map<uint64_t, uint64_t>;
using Unguarded = Locked<FlatMap, NoLock>;

class Stripes {
 public:
  std::optional<uint64_t> Find(uint64_t key) const { return Of(key).Find(key); }
  void Assign(uint64_t key, uint64_t value) { Of(key).Assign(key, value); }
  void Erase(uint64_t key) { Of(key).Erase(key); }
  void Insert(uint64_t key, uint64_t value) { Of(key).Insert(key, value); }
  size_t size() const {
    size_t total = 0;
    for (const Stripe& stripe : *stripes_) total += stripe.map.size();
    return total;
  }

 private:
  struct alignas(128) Stripe {
    Locked<FlatMap, PlainMutex> map;
  };
  Locked<FlatMap, PlainMutex>& Of(uint64_t key) const { return (*stripes_)[KeyOf(key) >> 32 & 31].map; }
  std::unique_ptr<std::array<Stripe, 32>> stripes_ = std::make_unique<std::array<Stripe, 32>>();
};

#if HOTPATH_HAVE_TBB
class Tbb {
 public:
  std::optional<uint64_t> Find(uint64_t key) const {
    Map::const_accessor at;
    return map_.find(at, key) ? std::optional(at->second) : std::nullopt;
  }
  void Assign(uint64_t key, uint64_t value) {
    Map::accessor at;
    map_.insert(at, key);
    at->second = value;
  }
  void Erase(uint64_t key) { map_.erase(key); }
  void Insert(uint64_t key, uint64_t value) { map_.insert({key, value}); }
  size_t size() const { return map_.size(); }

 private:
  using Map = tbb::concurrent_hash_map<uint64_t, uint64_t>;
  Map map_;
};
#else
using Tbb = Missing;
#endif
#if HOTPATH_HAVE_LIBCUCKOO
class Cuckoo {
 public:
  std::optional<uint64_t> Find(uint64_t key) const {
    uint64_t value = 0;
    return map_.find(key, value) ? std::optional(value) : std::nullopt;
  }
  void Assign(uint64_t key, uint64_t value) { map_.insert_or_assign(key, value); }
  void Erase(uint64_t key) { map_.erase(key); }
  void Insert(uint64_t key, uint64_t value) { map_.insert(key, value); }
  size_t size() const { return map_.size(); }

 private:
  libcuckoo::cuckoohash_map<uint64_t, uint64_t> map_;
};
#else
using Cuckoo = Missing;
#endif

// One for all rows: to fill it takes longer than to measure it.
template <class Map, int = 0>
Map& Filled() {
  static Map* const map = [] {
    std::thread([] {}).join();  // glibc and libstdc++ skip locks before a process has a second thread
    auto* m = new Map;
    for (uint64_t index = 0; index < kKeys; ++index) m->Insert(KeyOf(index), index);
    return m;
  }();
  return *map;
}

// Finds, assignments, and for the rest: erase and insert again.
template <unsigned kFinds, unsigned kAssigns, class Map>
void Do(Map& map, Worker& worker) {
  const uint64_t random = worker.Random();
  const uint64_t index = random % kKeys, value = random, key = KeyOf(index);
  const unsigned what = static_cast<unsigned>(random >> 40) % 100;
  if (what < kFinds) {
    const std::optional<uint64_t> found = map.Find(key);
    if (found && *found % kKeys != index) worker.Torn();
    Keep(found.has_value());
  } else if (what < kFinds + kAssigns) {
    map.Assign(key, value);
  } else {
    map.Erase(key);
    map.Insert(key, value);
  }
}
template <class Map, unsigned kFinds, unsigned kAssigns>
auto Mix() {
  Map* const map = &Filled<Map>();
  return Ops([map](Worker& worker) { Do<kFinds, kAssigns>(*map, worker); }).CountLost([map](const Performed&) {
    return kKeys - map->size();
  });
}
// Nothing is shared but the machine.
template <class Map, unsigned kFinds, unsigned kAssigns>
auto MixOfOwn() {
  const std::array<Map*, 2> maps = {&Filled<Map, 0>(), &Filled<Map, 1>()};
  return [maps](Worker& worker) { Do<kFinds, kAssigns>(*maps[static_cast<size_t>(worker.index)], worker); };
}

// A map that stays in the cache, finds only.
template <class Map>
auto FindSmall() {
  const auto map = Isolated<Map>();
  for (uint64_t key = 0; key < 1000; ++key) map->Insert(key, key);
  return [map](Worker& worker) {
    const uint64_t key = worker.Random() % 1000;
    if (map->Find(key) != key) worker.Torn();
  };
}

// Fills an empty map: the worst of its runs of a thousand insertions, per insertion. It shows what growth costs those
// who meet it.
template <class Map>
std::optional<double> SlowestInserts() {
  Map map;
  uint64_t longest = 0;
  for (uint64_t key = 0; key < 300'000;) {
    const uint64_t before = Ticks();
    for (int i = 0; i < 1000; ++i, ++key) map.Insert(KeyOf(key), key);
    longest = std::max(longest, Ticks() - before);
  }
  return TicksToNs(static_cast<double>(longest)) / 1000;
}

template <unsigned kFinds, unsigned kAssigns>
void AddMix(Row& row, bool peers) {
  row.Naive("shared_mutex + unordered_map", [] { return Mix<Standard, kFinds, kAssigns>(); })
      .Ours("StripedMap", [] { return Mix<Ours, kFinds, kAssigns>(); })
      .Peer("32 mutexes + flat_hash_map", [] { return Mix<Stripes, kFinds, kAssigns>(); });
  if (!peers) return;
  row.Peer("absl::Mutex + flat_hash_map", [] { return Mix<Locked<FlatMap, AbslMutex>, kFinds, kAssigns>(); });
  row.PeerOf<Tbb>("tbb::concurrent_hash_map", []<class T>() { return Mix<T, kFinds, kAssigns>(); });
  row.PeerOf<Cuckoo>("libcuckoo", []<class T>() { return Mix<T, kFinds, kAssigns>(); });
  if (row.options().threads == 1)
    row.Floor("unguarded flat_hash_map", [] { return Mix<Unguarded, kFinds, kAssigns>(); });
  if (row.options().threads == 2)
    row.Floor("an unguarded flat_hash_map each", [] { return MixOfOwn<Unguarded, kFinds, kAssigns>(); });
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 4, 8, 16}) {
    const std::string t = "/t" + std::to_string(threads);
    const bool peers = threads != 4 && threads != 16;
    RowOptions options{.id = "striped_map/90-9-1" + t, .optimisation = 11, .threads = threads, .fresh = false};
    if (threads == 2) options.claim = "contention";
    Row& mostly_read = rows.Add(options);
    AddMix<90, 9>(mostly_read, peers);
    if (threads == 1) mostly_read.AtLeast(6, "shared_mutex + unordered_map");
    if (threads == 2) mostly_read.AtLeast(100, "shared_mutex + unordered_map");
    Row& half = rows.Add({.id = "striped_map/50-25-25" + t, .optimisation = 11, .threads = threads, .fresh = false});
    AddMix<50, 25>(half, peers);
    if (threads == 1) half.AtLeast(5, "shared_mutex + unordered_map");
    if (threads == 2) half.AtLeast(35, "shared_mutex + unordered_map");
  }
  for (const int threads : {2, 8}) {
    AddMix<90, 9>(rows.Add({.id = "striped_map/90-9-1, each/t" + std::to_string(threads),
                            .optimisation = 11,
                            .threads = threads,
                            .latency = true,
                            .fresh = false}),
                  false);
  }
  for (const int threads : {1, 2}) {
    Row& row = rows.Add(
        {.id = "striped_map/find of 1000/t" + std::to_string(threads), .optimisation = 11, .threads = threads});
    row.Naive("shared_mutex + unordered_map", [] { return FindSmall<Standard>(); })
        .Ours("StripedMap", [] { return FindSmall<Ours>(); })
        .Floor("unguarded flat_hash_map", [] { return FindSmall<Unguarded>(); });
  }
  rows.Add({.id = "striped_map/slowest inserts while it grows/t1", .optimisation = 11, .fresh = false})
      .Sample(Role::kNaive, "unordered_map", SlowestInserts<Standard>)
      .Sample(Role::kOurs, "StripedMap", SlowestInserts<Ours>)
      .Sample(Role::kPeer, "flat_hash_map", SlowestInserts<Unguarded>);
}

}  // namespace
}  // namespace hotpath::bench
