#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/striped_map.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Operations of the exact sum: HOTPATH_STRESS_OPERATIONS, 10^7 unless set; 10^9 for a long night.
uint64_t SumOperations() {
  const char* text = std::getenv("HOTPATH_STRESS_OPERATIONS");
  return text == nullptr ? 10'000'000 : std::strtoull(text, nullptr, 10);
}

template <class K, class V, class Sync>
using Map = BasicStripedMap<K, V, absl::Hash<K>, std::equal_to<>, Sync>;

TEST(StripedMapStress, SumOfAllUpsertsIsExact) {
  const uint64_t each = SumOperations() / 4;
  Map<uint64_t, uint64_t, StdSync> map(4);
  {
    std::latch start(4);
    std::vector<std::jthread> threads;
    for (uint32_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        Rng rng(SeedFromEnvironment(), i);
        start.arrive_and_wait();
        for (uint64_t n = 0; n < each; ++n) {
          map.Upsert(rng.Below(1024), [] { return uint64_t{1}; }, [](uint64_t& count) { ++count; });
        }
      });
    }
  }
  uint64_t sum = 0;
  map.ForEach([&](uint64_t, uint64_t count) { sum += count; });
  EXPECT_EQ(sum, each * 4);
}

// Values that show a mixture: every word is the same, and says which key it belongs to.
struct Stamped {
  std::array<uint64_t, 4> words{};
  static Stamped Of(uint64_t key, uint64_t version) {
    Stamped s;
    s.words.fill(key << 40 | version);
    return s;
  }
  uint64_t version() const { return words[0] & ((uint64_t{1} << 40) - 1); }
  bool IsWholeFor(uint64_t key) const {
    for (const uint64_t word : words) {
      if (word != words[0] || word >> 40 != key) return false;
    }
    return true;
  }
};

// One writer a key bumps versions in place; others insert and erase around it, so that tables fill up, grow and reuse
// slots. Readers find every stable key, whole, and never an older version than before.
template <class Sync>
void ReadersSeeWholeValuesThatNeverGoBack() {
  constexpr uint64_t kStable = 8;
  Map<uint64_t, Stamped, Sync> map(2);
  for (uint64_t key = 0; key < kStable; ++key) map.Insert(key, Stamped::Of(key, 0));
  Storm storm;
  std::array<std::atomic<uint64_t>, kStable> written{};
  std::atomic<uint64_t> writer_id{0};
  storm.Crowd(2, [&, mine = UINT64_MAX, version = uint64_t{0}](Rng& rng) mutable {
    if (mine == UINT64_MAX) mine = writer_id.fetch_add(1);
    const uint64_t key = rng.Below(kStable / 2) * 2 + mine;  // each key has one writer
    version = written[key].load(std::memory_order::relaxed) + 1;
    if (rng.OneIn(2)) {
      map.InsertOrAssign(key, Stamped::Of(key, version));
    } else {
      ASSERT_TRUE(map.Mutate(key, [&](Stamped& s) { s = Stamped::Of(key, version); }));
    }
    written[key].store(version, std::memory_order::relaxed);
  });
  storm.Crowd(1, [&](Rng& rng) {
    const uint64_t key = kStable + rng.Below(400);
    if (rng.OneIn(2)) {
      map.Insert(key, Stamped::Of(key, 1));
    } else if (const auto erased = map.Erase(key)) {
      ASSERT_TRUE(erased->IsWholeFor(key));
    }
    if (rng.OneIn(4096)) map.EraseIf([&](uint64_t k, const Stamped&) { return k >= kStable; });
  });
  for (int reader = 0; reader < 2; ++reader) {
    storm.Crowd(1, [&, newest = std::array<uint64_t, kStable>{}](Rng& rng) mutable {
      const uint64_t key = rng.OneIn(4) ? kStable + rng.Below(400) : rng.Below(kStable);
      const std::optional<Stamped> seen = map.Find(key);
      if (key >= kStable) {
        ASSERT_TRUE(!seen || (seen->IsWholeFor(key) && seen->version() == 1)) << "a mixture, or another key's value";
        return;
      }
      ASSERT_TRUE(seen.has_value()) << "a key that is always there was missed";
      ASSERT_TRUE(seen->IsWholeFor(key)) << "a mixture, or another key's value";
      ASSERT_GE(seen->version(), newest[key]);
      if (seen->version() > newest[key]) storm.Collided();
      newest[key] = seen->version();
    });
  }
  storm.MustCollide("a reader saw a new version");
  storm.Run();
  for (uint64_t key = 0; key < kStable; ++key) EXPECT_EQ(map.Find(key)->version(), written[key].load());
}
TEST(StripedMapStress, ReadersSeeWholeValuesThatNeverGoBack) { ReadersSeeWholeValuesThatNeverGoBack<StdSync>(); }
TEST(StripedMapStress, ReadersSeeWholeValuesThatNeverGoBackUnderChaos) {
  ReadersSeeWholeValuesThatNeverGoBack<ChaosSync>();
}

// Money moves between accounts of one stripe and of others under no common lock, so each snapshot sees every single
// move whole or not at all only if it is one moment: a thread first takes, then gives, so the sum is short by what is
// under way, and never over.
template <class Sync>
void SnapshotIsOneMoment() {
  constexpr uint64_t kAccounts = 16, kMoney = 1000;
  constexpr int kMovers = 3;
  Map<uint64_t, uint64_t, Sync> map(8);
  for (uint64_t key = 0; key < kAccounts; ++key) map.Insert(key, kMoney);
  Storm storm;
  storm.Crowd(kMovers, [&](Rng& rng) {
    const uint64_t from = rng.Below(kAccounts), to = rng.Below(kAccounts);
    bool had = false;
    map.Mutate(from, [&](uint64_t& money) { had = money > 0 && (--money, true); });
    if (had) map.Mutate(to, [](uint64_t& money) { ++money; });
  });
  storm.Crowd(1, [&](Rng&) {
    uint64_t total = 0;
    for (const auto& [key, money] : map.Snapshot()) total += money;
    ASSERT_LE(total, kAccounts * kMoney);
    ASSERT_GE(total, kAccounts * kMoney - kMovers);
    if (total < kAccounts * kMoney) storm.Collided();
  });
  storm.MustCollide("a snapshot fell between taking and giving");
  storm.Run();
  uint64_t total = 0;
  map.ForEach([&](uint64_t, uint64_t money) { total += money; });
  EXPECT_EQ(total, kAccounts * kMoney);
}
TEST(StripedMapStress, SnapshotIsOneMoment) { SnapshotIsOneMoment<StdSync>(); }
TEST(StripedMapStress, SnapshotIsOneMomentUnderChaos) { SnapshotIsOneMoment<ChaosSync>(); }

// ---- Linearizable ----

template <class T>
T Wrap(uint64_t value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::to_string(value);
  } else {
    return value;
  }
}
template <class T>
std::optional<uint64_t> Unwrap(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  if constexpr (std::is_same_v<T, std::string>) {
    return std::stoull(*value);
  } else {
    return value;
  }
}
template <class V, class Sync>
void MapIsLinearizable() {
  using M = Map<uint64_t, V, Sync>;
  constexpr uint64_t kKeys = 32;
  ExpectLinearizable<MapSpec>(
      {.threads = 4, .operations = 100}, [] { return std::make_unique<M>(2); },
      [](M& map, Rng& rng, Recorder<MapSpec>& recorder) {
        const uint64_t key = rng.Below(kKeys), value = 1 + rng.Below(1000);
        switch (rng.Below(5)) {
          case 0:
            recorder({.kind = MapSpec::kInsert, .key = key, .value = value},
                     [&]() -> MapSpec::Result { return map.Insert(key, Wrap<V>(value)); });
            break;
          case 1:
            recorder({.kind = MapSpec::kAssign, .key = key, .value = value},
                     [&]() -> MapSpec::Result { return !map.InsertOrAssign(key, Wrap<V>(value)).has_value(); });
            break;
          case 2:
            recorder({.kind = MapSpec::kErase, .key = key},
                     [&]() -> MapSpec::Result { return map.Erase(key).has_value(); });
            break;
          default:
            recorder({.kind = MapSpec::kFind, .key = key}, [&] { return Unwrap(map.Find(key)); });
        }
      });
}
TEST(StripedMapStress, OptimisticMapIsLinearizableUnderChaos) { MapIsLinearizable<uint64_t, ChaosSync>(); }
TEST(StripedMapStress, LockedMapIsLinearizableUnderChaos) { MapIsLinearizable<std::string, ChaosSync>(); }

// A whole small map, so that operations on all of it are judged beside those on one key, with what each gives back.
struct WholeMapSpec {
  static constexpr uint64_t kKeys = 4;
  enum Kind { kFind, kInsert, kAssign, kErase, kMutate, kUpsert, kClear, kEraseOdd };
  struct Call {
    Kind kind;
    uint64_t key = 0;
    uint64_t value = 0;
  };
  // What was there: kFind, kAssign, kErase. Whether it was (kMutate), or was not (kInsert, kUpsert). kEraseOdd: how
  // many.
  using Result = std::optional<uint64_t>;
  using State = std::array<uint64_t, kKeys>;  // values are not 0
  static uint64_t Key(const Call&) { return 0; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    uint64_t& here = state[call.key];
    const uint64_t before = here;
    const Result was = before == 0 ? Result() : Result(before);
    const auto is = [&](Result expected) { return result == nullptr || *result == expected; };
    switch (call.kind) {
      case kFind:
        return is(was);
      case kInsert:
        if (before == 0) here = call.value;
        return is(before == 0);
      case kAssign:
        here = call.value;
        return is(was);
      case kErase:
        here = 0;
        return is(was);
      case kMutate:
        if (before != 0) here = before + call.value;
        return is(before != 0);
      case kUpsert:
        here = before + call.value;
        return is(before == 0);
      case kClear:
        state = {};
        return is(std::nullopt);
      case kEraseOdd:
        break;
    }
    uint64_t erased = 0;
    for (uint64_t& value : state) {
      if (value % 2 == 0) continue;
      value = 0;
      ++erased;
    }
    return is(erased);
  }
  static uint64_t Hash(const State& state) {
    uint64_t hash = 0;
    for (const uint64_t value : state) hash = linearizability_internal::Mix(hash ^ value);
    return hash;
  }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    constexpr const char* kNames[] = {"find", "insert", "assign", "erase", "mutate", "upsert", "clear", "erase odd"};
    out << kNames[call.kind] << "(" << call.key << ", " << call.value << ")";
    if (result != nullptr) out << " = " << (*result ? std::to_string(**result) : "nothing");
  }
};
// EraseIf is one moment of a stripe, so of a map that has one; Clear of any.
template <class V, class Sync>
void WholeMapIsLinearizable(size_t stripes) {
  using M = Map<uint64_t, V, Sync>;
  using Result = WholeMapSpec::Result;
  ExpectLinearizable<WholeMapSpec>(
      {.threads = 4, .operations = 60}, [stripes] { return std::make_unique<M>(stripes); },
      [alone = stripes == 1](M& map, Rng& rng, Recorder<WholeMapSpec>& recorder) {
        using Kind = WholeMapSpec::Kind;
        const uint64_t key = rng.Below(WholeMapSpec::kKeys), value = 1 + rng.Below(1000) * (alone ? 2 : 1);
        const uint64_t choice = rng.Below(16);
        // A stripe is mostly looked at while it is filled and erased at once.
        const Kind kind = choice < 8              ? static_cast<Kind>(choice)
                          : choice < 12           ? Kind::kFind
                          : choice == 12 && alone ? Kind::kEraseOdd
                                                  : Kind::kUpsert;
        const auto record = [&](auto f) { recorder({.kind = kind, .key = key, .value = value}, f); };
        const auto add = [&](V& v) { v = Wrap<V>(*Unwrap(std::optional<V>(v)) + value); };
        switch (kind) {
          case Kind::kFind:
            return record([&]() -> Result { return Unwrap(map.Find(key)); });
          case Kind::kInsert:
            return record([&]() -> Result { return map.Insert(key, Wrap<V>(value)); });
          case Kind::kAssign:
            return record([&]() -> Result { return Unwrap(map.InsertOrAssign(key, Wrap<V>(value))); });
          case Kind::kErase:
            return record([&]() -> Result { return Unwrap(map.Erase(key)); });
          case Kind::kMutate:
            return record([&]() -> Result { return map.Mutate(key, add); });
          case Kind::kUpsert:
            return record([&]() -> Result { return map.Upsert(key, [&] { return Wrap<V>(value); }, add); });
          case Kind::kEraseOdd:
            if (alone) {
              return record([&]() -> Result {
                return map.EraseIf([](uint64_t, const V& v) { return *Unwrap(std::optional<V>(v)) % 2 == 1; });
              });
            }
            return;
          case Kind::kClear:
            return record([&]() -> Result {
              map.Clear();
              return std::nullopt;
            });
        }
      });
}
TEST(StripedMapStress, WholeOptimisticStripeIsLinearizableUnderChaos) {
  WholeMapIsLinearizable<uint64_t, ChaosSync>(1);
}
TEST(StripedMapStress, WholeOptimisticMapIsLinearizableUnderChaos) { WholeMapIsLinearizable<uint64_t, ChaosSync>(8); }
TEST(StripedMapStress, WholeLockedStripeIsLinearizableUnderChaos) { WholeMapIsLinearizable<std::string, ChaosSync>(1); }
TEST(StripedMapStress, WholeLockedMapIsLinearizableUnderChaos) { WholeMapIsLinearizable<std::string, ChaosSync>(8); }

}  // namespace
}  // namespace hotpath::stress
