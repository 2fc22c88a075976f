#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/rcu_map.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Carries its key, says when it is dead, and is counted.
struct Entry {
  static constexpr uint64_t kAlive = 0x600d600d600d600d;
  static inline std::atomic<int64_t> alive{0};

  Entry(uint64_t key, uint64_t version) : key(key), version(version) { alive.fetch_add(1, std::memory_order::relaxed); }
  Entry(Entry&& other) noexcept : Entry(other.key, other.version) {}
  ~Entry() {
    mark = 0;
    alive.fetch_sub(1, std::memory_order::relaxed);
  }
  uint64_t mark = kAlive;
  uint64_t key, version;
};

template <class Sync>
struct RcuMapStress : testing::Test {
  using Domain = BasicEpochDomain<Sync>;
  using Entries = BasicRcuMap<uint64_t, Entry, absl::Hash<uint64_t>, std::equal_to<>, Sync>;
  using Numbers = BasicRcuMap<uint64_t, uint64_t, absl::Hash<uint64_t>, std::equal_to<>, Sync>;
};
using Policies = testing::Types<StdSync, ChaosSync>;
TYPED_TEST_SUITE(RcuMapStress, Policies);

// Keys below kFixed stay for ever and must be found at any time; the others come and go, are replaced, and make the
// table grow and shrink under the readers.
TYPED_TEST(RcuMapStress, WhatStaysIsAlwaysFoundAndWhatIsFoundIsAlive) {
  constexpr uint64_t kFixed = 16, kKeys = 64;
  typename TestFixture::Domain domain(EpochOptions{.max_pending = 256});
  {
    typename TestFixture::Entries map(domain);
    for (uint64_t key = 0; key < kFixed; ++key) map.Insert(key, Entry(key, 0));
    std::atomic<int64_t> entries{kFixed};

    Storm storm;
    storm.Crowd(2, [&](Rng& rng) {
      const uint64_t key = rng.Below(kKeys);
      if (key < kFixed) {
        const auto found = map.Find(key);
        const uint64_t version = found ? found->version : 0;
        map.InsertOrAssign(key, Entry(key, version + 1));
      } else if (rng.OneIn(2)) {
        if (map.Insert(key, Entry(key, 0))) entries.fetch_add(1, std::memory_order::relaxed);
      } else if (map.Erase(key)) {
        entries.fetch_sub(1, std::memory_order::relaxed);
      }
      if (rng.OneIn(64)) map.Trim();
    });
    for (int reader = 0; reader < 2; ++reader) {
      storm.Crowd(1, [&, rebuilds = uint64_t{0}](Rng& rng) mutable {
        if (rng.OneIn(32)) {
          std::multiset<uint64_t> seen;
          map.ForEach([&](uint64_t key, const Entry& entry) {
            EXPECT_EQ(entry.mark, Entry::kAlive);
            EXPECT_EQ(entry.key, key);
            if (key < kFixed) seen.insert(key);
          });
          ASSERT_EQ(seen.size(), kFixed);
          const uint64_t now = map.Stats().rebuilds;
          if (now > rebuilds) storm.Collided();
          rebuilds = now;
          return;
        }
        const uint64_t key = rng.Below(kKeys);
        const auto found = map.Find(key);
        ASSERT_TRUE(found || key >= kFixed) << "key " << key << " was never erased";
        if (!found) return;
        ASSERT_EQ(found->mark, Entry::kAlive);
        ASSERT_EQ(found->key, key);
        if (rng.OneIn(8)) TypeParam::Yield();
        ASSERT_EQ(found->mark, Entry::kAlive) << "destroyed while it was read";
      });
    }
    storm.MustCollide("a reader met a new table");
    storm.Run();

    EXPECT_EQ(map.size(), static_cast<size_t>(entries.load()));
    size_t counted = 0;
    map.ForEach([&](uint64_t, const Entry&) { ++counted; });
    EXPECT_EQ(counted, map.size());
    domain.Synchronize();
    EXPECT_EQ(Entry::alive.load(), entries.load()) << "each entry that left was destroyed once";
  }
  EXPECT_EQ(Entry::alive.load(), 0) << "each entry that was left was destroyed once";
}

TYPED_TEST(RcuMapStress, IsLinearizable) {
  typename TestFixture::Domain domain;
  ExpectLinearizable<MapSpec>(
      {.threads = 4, .operations = 100}, [&] { return std::make_unique<typename TestFixture::Numbers>(domain); },
      [](auto& map, Rng& rng, Recorder<MapSpec>& record) {
        MapSpec::Call call{static_cast<MapSpec::Kind>(rng.Below(4)), rng.Below(6), rng.Below(1'000)};
        record(call, [&]() -> MapSpec::Result {
          switch (call.kind) {
            case MapSpec::kFind:
              return map.Get(call.key);
            case MapSpec::kInsert:
              return map.Insert(call.key, call.value);
            case MapSpec::kAssign:
              return map.InsertOrAssign(call.key, call.value);
            default:
              return map.Erase(call.key);
          }
        });
      });
}

}  // namespace
}  // namespace hotpath::stress
