// A map of 1,000 entries that is read all the time: RcuMap beside std::unordered_map under std::shared_mutex, a map
// that is copied for every update, liburcu's guarded readers, and TBB's map. Values say which key they belong to, so
// that a wrong one shows.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "bench/base/reclaimers.h"
#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/rcu_map.h"

#if HOTPATH_HAVE_TBB
#include <tbb/concurrent_hash_map.h>
#endif

namespace hotpath::bench {
namespace {

constexpr uint64_t kEntries = 1'000;

struct Value {
  uint64_t key = 0;
  uint64_t more[3] = {};
};
using Hash = absl::Hash<uint64_t>;
using Plain = std::unordered_map<uint64_t, Value, Hash>;

template <class Map>
void Fill(Map& map, uint64_t entries = kEntries) {
  for (uint64_t key = 0; key < entries; ++key) map.emplace(key, Value{key});
}

class Ours {
 public:
  Ours() {
    for (uint64_t key = 0; key < kEntries; ++key) map_.Insert(key, Value{key});
  }
  uint64_t Get(uint64_t key) const { return map_.Find(key)->key; }
  void Update(uint64_t key) { map_.InsertOrAssign(key, Value{key}); }

 private:
  RcuMap<uint64_t, Value> map_;
};

// A map that nobody writes.
template <class Map>
class Unguarded {
 public:
  Unguarded() { Fill(map_); }
  uint64_t Get(uint64_t key) const {
    const Announcement announcement;
    return map_.find(key)->second.key;
  }

 private:
  Map map_;
};
using Flat = absl::flat_hash_map<uint64_t, Value, Hash>;

class SharedMutex {
 public:
  SharedMutex() { Fill(map_); }
  uint64_t Get(uint64_t key) const {
    Value copy;
    {
      const std::shared_lock lock(mu_);
      copy = map_.find(key)->second;
    }
    return copy.key;
  }
  void Update(uint64_t key) {
    const std::unique_lock lock(mu_);
    map_[key] = Value{key};
  }

 private:
  mutable std::shared_mutex mu_;
  Plain map_;
};

// What the seed does: every update makes a whole new map.
class CopiedMap {
 public:
  CopiedMap() {
    auto map = std::make_shared<Plain>();
    Fill(*map);
    map_ = std::move(map);
  }
  void Update(uint64_t key) {
    const std::lock_guard lock(mu_);
    auto next = std::make_shared<Plain>(*map_);
    (*next)[key] = Value{key};
    map_ = std::move(next);
  }

 private:
  std::mutex mu_;
  std::shared_ptr<const Plain> map_;
};

#if HOTPATH_HAVE_LIBURCU_MEMB
class UrcuMemb : public UrcuMembUser {
 public:
  UrcuMemb() { Fill(map_); }
  uint64_t Get(uint64_t key) const {
    urcu_memb_read_lock();
    const uint64_t got = current_.load(std::memory_order::acquire)->find(key)->second.key;
    urcu_memb_read_unlock();
    return got;
  }

 private:
  Plain map_;
  std::atomic<const Plain*> current_{&map_};
};
#else
using UrcuMemb = Missing;
#endif

#if HOTPATH_HAVE_LIBURCU_QSBR
// Readers say when they read nothing: here, at every 256th read.
class UrcuQsbr : public UrcuQsbrUser {
 public:
  UrcuQsbr() { Fill(map_); }
  uint64_t Get(uint64_t key) const {
    static thread_local uint32_t reads = 0;
    const uint64_t got = current_.load(std::memory_order::acquire)->find(key)->second.key;
    if (++reads % 256 == 0) urcu_qsbr_quiescent_state();
    return got;
  }

 private:
  Plain map_;
  std::atomic<const Plain*> current_{&map_};
};
#else
using UrcuQsbr = Missing;
#endif

#if HOTPATH_HAVE_TBB
class Tbb {
 public:
  Tbb() {
    for (uint64_t key = 0; key < kEntries; ++key) map_.insert({key, Value{key}});
  }
  uint64_t Get(uint64_t key) const {
    Map::const_accessor found;
    map_.find(found, key);
    return found->second.key;
  }
  void Update(uint64_t key) {
    Map::accessor found;
    map_.find(found, key);
    found->second = Value{key};
  }

 private:
  struct HashCompare {
    size_t hash(uint64_t key) const { return Hash()(key); }
    bool equal(uint64_t a, uint64_t b) const { return a == b; }
  };
  using Map = tbb::concurrent_hash_map<uint64_t, Value, HashCompare>;
  Map map_;
};
#else
using Tbb = Missing;
#endif

template <class Map>
auto Reader() {
  const auto map = Isolated<Map>();
  return OnThreads(map, Ops([map](Worker& worker) {
                     const uint64_t key = worker.Random() % kEntries;
                     if (map->Get(key) != key) worker.Torn();
                   }));
}
template <class Map, class Pace>
auto ReaderBeside() {
  const auto map = Isolated<Map>();
  return Ops([map](Worker& worker) {
           const uint64_t key = worker.Random() % kEntries;
           if (map->Get(key) != key) worker.Torn();
         })
      .WithBackground([map, pace = Pace()](Worker& worker) mutable {
        if (pace.IsDue()) map->Update(worker.Random() % kEntries);
      });
}
template <class Map>
auto Updater() {
  const auto map = Isolated<Map>();
  return [map](Worker& worker) { map->Update(worker.Random() % kEntries); };
}

// Inserts `entries` keys into an empty map: nanoseconds an entry. Linear means that this does not grow but by cache
// misses.
double InsertAll(uint64_t entries) {
  RcuMap<uint64_t, uint64_t> map;
  const uint64_t before = Ticks();
  for (uint64_t key = 0; key < entries; ++key) map.Insert(key, key);
  return TicksToNs(static_cast<double>(Ticks() - before)) / static_cast<double>(entries);
}
double InsertAllFlat(uint64_t entries) {
  absl::flat_hash_map<uint64_t, std::unique_ptr<uint64_t>> map;
  const uint64_t before = Ticks();
  for (uint64_t key = 0; key < entries; ++key) map.emplace(key, std::make_unique<uint64_t>(key));
  return TicksToNs(static_cast<double>(Ticks() - before)) / static_cast<double>(entries);
}

template <class Pace>
void AddGetsBesideAWriter(Rows& rows, const std::string& which) {
  Row& row = rows.Add({.id = "rcu_map/get beside " + which + "/t1", .optimisation = 4, .background = 1})
                 .Naive("shared_mutex + unordered_map, copied", ReaderBeside<SharedMutex, Pace>)
                 .Ours("RcuMap", ReaderBeside<Ours, Pace>);
  row.PeerOf<Tbb>("tbb::concurrent_hash_map", []<class T>() { return ReaderBeside<T, Pace>(); });
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 8}) {
    const std::string t = std::to_string(threads);
    Row& get = rows.Add({.id = "rcu_map/get/t" + t,
                         .optimisation = 4,
                         .claim = threads <= 2 ? "reads" : "",
                         .threads = threads})
                   .Floor("flat_hash_map, announced", [] { return Reader<Unguarded<Flat>>(); })
                   .Variant("unordered_map, announced", [] { return Reader<Unguarded<Plain>>(); })
                   .Naive("shared_mutex + unordered_map, copied", [] { return Reader<SharedMutex>(); })
                   .Ours("RcuMap", [] { return Reader<Ours>(); });
    if (threads == 1) get.AtLeast(6, "shared_mutex + unordered_map, copied");
    if (threads == 2) get.AtLeast(30, "shared_mutex + unordered_map, copied");
    get.PeerOf<UrcuMemb>("urcu_memb + unordered_map", []<class T>() { return Reader<T>(); })
        .PeerOf<UrcuQsbr>("urcu_qsbr + unordered_map", []<class T>() { return Reader<T>(); })
        .PeerOf<Tbb>("tbb::concurrent_hash_map", []<class T>() { return Reader<T>(); });
    if (threads == 1) get.AtLeast(1.3, "urcu_memb + unordered_map");
  }
  AddGetsBesideAWriter<PerMillisecond>(rows, "1000 writes a second");
  AddGetsBesideAWriter<Continuously>(rows, "a writer");
  rows.Add({.id = "rcu_map/update of 1000/t1", .optimisation = 4})
      .Naive("copy of the unordered_map", [] { return Updater<CopiedMap>(); })
      .Ours("RcuMap", [] { return Updater<Ours>(); })
      .AtLeast(300, "copy of the unordered_map");
  for (const uint64_t entries : {uint64_t{10'000}, uint64_t{100'000}, uint64_t{1'000'000}}) {
    rows.Add({.id = "rcu_map/insert/" + std::to_string(entries), .optimisation = 4, .fresh = false})
        .Sample(Role::kFloor, "flat_hash_map of unique_ptr", [entries] { return InsertAllFlat(entries); })
        .Sample(Role::kOurs, "RcuMap", [entries] { return InsertAll(entries); });
  }
}

}  // namespace
}  // namespace hotpath::bench
