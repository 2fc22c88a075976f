#include "hotpath/core/rcu_map.h"

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath {
namespace {

using Strings = RcuMap<std::string, int, absl::Hash<std::string_view>>;

template <class Map>
std::map<int, int> ContentsOf(const Map& map) {
  std::map<int, int> contents;
  map.ForEach(
      [&](int key, int value) { EXPECT_TRUE(contents.emplace(key, value).second) << key << " was seen twice"; });
  return contents;
}

TEST(RcuMapTest, ReadmeExample) {
  RcuMap<uint64_t, std::string> names;
  names.Insert(1, "init");
  if (const auto name = names.Find(1)) {
    EXPECT_EQ(*name, "init");
  }
  EXPECT_EQ(names.Get(2), std::nullopt);
}

TEST(RcuMapTest, InsertKeepsTheFirstValueAndInsertOrAssignTheLast) {
  RcuMap<int, int> map;
  EXPECT_TRUE(map.Insert(1, 10));
  EXPECT_FALSE(map.Insert(1, 11));
  EXPECT_EQ(map.Get(1), 10);
  EXPECT_FALSE(map.InsertOrAssign(1, 12));
  EXPECT_EQ(map.Get(1), 12);
  EXPECT_TRUE(map.InsertOrAssign(2, 20));
  EXPECT_EQ(map.size(), 2u);
  EXPECT_EQ(ContentsOf(map), (std::map<int, int>{{1, 12}, {2, 20}}));
}

TEST(RcuMapTest, EraseTellsWhetherTheKeyWasThere) {
  RcuMap<int, int> map;
  EXPECT_FALSE(map.Erase(1));
  map.Insert(1, 10);
  EXPECT_TRUE(map.Erase(1));
  EXPECT_FALSE(map.Contains(1));
  EXPECT_FALSE(map.Erase(1));
  EXPECT_EQ(map.size(), 0u);
  EXPECT_TRUE(map.Insert(1, 11));
  EXPECT_EQ(map.Get(1), 11);
}

TEST(RcuMapTest, AnEmptyMapAnswers) {
  const RcuMap<std::string, std::string> map;
  const auto found = map.Find("");
  EXPECT_FALSE(found);
  EXPECT_EQ(found.get(), nullptr);
  EXPECT_EQ(map.size(), 0u);
  map.ForEach([](const std::string&, const std::string&) { ADD_FAILURE(); });
}

TEST(RcuMapTest, IsAskedForWhateverHashAndEqTake) {
  Strings map;
  map.Insert(std::string(100, 'a'), 1);
  const std::string text = "x" + std::string(100, 'a');
  EXPECT_EQ(map.Get(std::string_view(text).substr(1)), 1);
  EXPECT_TRUE(map.Contains(text.c_str() + 1));
  EXPECT_TRUE(map.Erase(std::string_view(text).substr(1)));
  static_assert(Strings::kIsQuery<std::string_view> && Strings::kIsQuery<const char*>);
  static_assert(!Strings::kIsQuery<int>);
}

// Every key has one home and one tag: all searches go the whole way.
struct Same {
  size_t operator()(int) const { return 7; }
};

template <class Map>
void DoesWhatAMapDoes(uint64_t seed, int keys, int steps) {
  Map map;
  std::map<int, int> expected;
  for (int step = 0; step < steps; ++step) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const int key = static_cast<int>(seed >> 33) % keys;
    switch (seed >> 60) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        ASSERT_EQ(map.Insert(key, step), expected.emplace(key, step).second);
        break;
      case 5:
      case 6:
        ASSERT_EQ(map.InsertOrAssign(key, step), expected.insert_or_assign(key, step).second);
        break;
      case 7:
        map.Trim();
        break;
      default:
        ASSERT_EQ(map.Erase(key), expected.erase(key) == 1);
    }
    ASSERT_EQ(map.size(), expected.size());
    const auto entry = expected.find(key);
    ASSERT_EQ(map.Get(key), entry == expected.end() ? std::nullopt : std::optional(entry->second));
  }
  EXPECT_EQ(ContentsOf(map), expected);
}

TEST(RcuMapTest, DoesWhatAMapDoes) { DoesWhatAMapDoes<RcuMap<int, int>>(1, 200, 20'000); }
TEST(RcuMapTest, DoesWhatAMapDoesWithOneHashForAll) { DoesWhatAMapDoes<RcuMap<int, int, Same>>(2, 20, 5'000); }
TEST(RcuMapTest, DoesWhatAMapDoesWithFewKeys) { DoesWhatAMapDoes<RcuMap<int, int>>(3, 3, 5'000); }

TEST(RcuMapTest, InsertionsDoWorkInProportion) {
  // Counted, not timed: what a table of n entries has cost in slots copied and made.
  for (const size_t n : {size_t{1'000}, size_t{10'000}, size_t{100'000}}) {
    RcuMap<uint64_t, uint64_t> map;
    uint64_t slots = 4;
    size_t capacity = 4;
    for (uint64_t i = 0; i < n; ++i) {
      ASSERT_TRUE(map.Insert(i, i));
      if ((i & (i + 1)) == 0 || i % 64 == 0) {  // often enough to see every table
        const RcuMapStats stats = map.Stats();
        if (stats.capacity != capacity) slots += capacity = stats.capacity;
      }
    }
    EXPECT_LE(slots, 16 * n) << n;
    EXPECT_LE(map.Stats().rebuilds, 17u);
    EXPECT_LE(map.Stats().capacity, 8 * n);
  }
}

TEST(RcuMapTest, ATableThatIsOutgrownIsDoubled) {
  RcuMap<int, int> map;
  size_t capacity = map.Stats().capacity;
  for (size_t n = 1; n <= 5'000; ++n) {
    ASSERT_TRUE(map.Insert(static_cast<int>(n), 0));
    const size_t now = map.Stats().capacity;
    ASSERT_LE(now, 4 * n + 4);
    ASSERT_TRUE(now == capacity || now == 2 * capacity) << capacity << " became " << now;
    capacity = now;
  }
}

TEST(RcuMapTest, ComingAndGoingDoesNotFillTheTable) {
  RcuMap<int, int> map;
  for (int i = 0; i < 100; ++i) map.Insert(i, i);
  const size_t capacity = map.Stats().capacity;
  const uint64_t rebuilds = map.Stats().rebuilds;
  for (int i = 100; i < 20'000; ++i) {
    ASSERT_TRUE(map.Insert(i, i));
    ASSERT_TRUE(map.Erase(i - 100));
  }
  const RcuMapStats stats = map.Stats();
  EXPECT_EQ(stats.size, 100u);
  EXPECT_LE(stats.capacity, 2 * capacity);
  EXPECT_LE(stats.erased, stats.capacity / 2);
  EXPECT_LE(stats.rebuilds - rebuilds, 19'900u / 64);
}

TEST(RcuMapTest, TrimGivesMemoryBack) {
  RcuMap<int, int> map;
  for (int i = 0; i < 1'000; ++i) map.Insert(i, i);
  for (int i = 3; i < 1'000; ++i) map.Erase(i);
  EXPECT_GE(map.Stats().capacity, 2'000u);
  map.Trim();
  EXPECT_EQ(map.Stats().capacity, 16u);
  EXPECT_EQ(map.Stats().erased, 0u);
  EXPECT_EQ(ContentsOf(map), (std::map<int, int>{{0, 0}, {1, 1}, {2, 2}}));
}

TEST(RcuMapTest, TrimDoesNothingToATableThatIsSmallEnough) {
  RcuMap<int, int> map;
  for (int i = 0; i < 4; ++i) map.Insert(i, i);
  for (int size = 4; size >= 0; --size) {
    const RcuMapStats before = map.Stats();
    map.Trim();
    map.Trim();
    const RcuMapStats after = map.Stats();
    EXPECT_LE(after.rebuilds, before.rebuilds + 1);
    EXPECT_LE(after.capacity, before.capacity) << "Trim never makes a table larger";
    map.Erase(size - 1);
  }
  EXPECT_EQ(map.Stats().capacity, 4u);
}

TEST(RcuMapTest, ARefKeepsItsValueWhateverHappensToTheKey) {
  EpochDomain domain;
  RcuMap<int, std::string> map(domain);
  map.Insert(1, "one");
  {
    const auto found = map.Find(1);
    map.InsertOrAssign(1, "two");
    map.Erase(1);
    for (int i = 2; i < 100; ++i) map.Insert(i, "many");
    domain.TryReclaim();
    EXPECT_EQ(*found, "one");
    EXPECT_EQ(found.key(), 1);
    EXPECT_EQ(found->size(), 3u);
  }
  domain.Synchronize();
  EXPECT_EQ(domain.Stats().pending, 0u);
}

TEST(RcuMapTest, ARefIsMovedAndLeavesNothingBehind) {
  EpochDomain domain;
  RcuMap<int, int> map(domain);
  map.Insert(1, 10);
  map.Insert(2, 20);
  {
    auto a = map.Find(1);
    auto b = std::move(a);
    EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): empty, as documented
    EXPECT_EQ(a.get(), nullptr);
    EXPECT_EQ(*b, 10);
    a = map.Find(2);
    b = std::move(a);
    EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(*b, 20);
    EXPECT_TRUE(domain.IsPinned());
  }
  EXPECT_FALSE(domain.IsPinned());
}

TEST(RcuMapTest, ValuesMayHideTheirAddress) {
  struct Shy {
    int number;
    void operator&() const = delete;
  };
  RcuMap<int, Shy> map;
  map.Insert(1, Shy{10});
  const auto found = map.Find(1);
  EXPECT_EQ(found->number, 10);
  EXPECT_EQ(found.get()->number, 10);
}

TEST(RcuMapTest, MayBeWrittenFromWithinForEachAndUnderARef) {
  RcuMap<int, int> map;
  for (int i = 0; i < 10; ++i) map.Insert(i, i);
  map.ForEach([&](int key, int) {
    if (key < 10) EXPECT_TRUE(map.Erase(key));
  });
  EXPECT_EQ(map.size(), 0u);
}

// Counts its instances.
struct Counted {
  static inline std::atomic<int> alive{0};
  explicit Counted(int n) : number(n) { alive.fetch_add(1); }
  Counted(Counted&& other) noexcept : number(other.number) { alive.fetch_add(1); }
  ~Counted() { alive.fetch_sub(1); }
  int number;
};

TEST(RcuMapTest, EveryEntryIsDestroyedOnceAlsoThoseThatAreLeft) {
  EpochDomain domain;
  {
    RcuMap<int, Counted> map(domain);  // move-only values
    for (int i = 0; i < 100; ++i) map.Insert(i, Counted(i));
    for (int i = 0; i < 50; ++i) map.InsertOrAssign(i, Counted(-i));
    for (int i = 25; i < 75; ++i) map.Erase(i);
    domain.Synchronize();
    EXPECT_EQ(Counted::alive.load(), 50);
  }
  EXPECT_EQ(Counted::alive.load(), 0);
}

// Does something when it ends, if it was not moved from.
struct AtEnd {
  explicit AtEnd(std::function<void()> f) : run(std::move(f)) {}
  AtEnd(AtEnd&& other) noexcept : run(std::exchange(other.run, nullptr)) {}
  ~AtEnd() {
    if (run) run();
  }
  std::function<void()> run;
};

TEST(RcuMapTest, ValuesThatEraseThemselvesOrOthersAsTheMapEndsEndOnce) {
  constexpr int kKeys = 8;
  EpochDomain domain;
  int ends[kKeys] = {};
  bool is_there = true;
  {
    RcuMap<int, AtEnd, Same> map(domain);
    for (int key = 0; key < kKeys; ++key) {
      map.Insert(key, AtEnd([&, key] {
                   ++ends[key];
                   if (!is_there) return;  // it was erased by another one, and ends with the domain
                   EXPECT_FALSE(map.Contains(key));
                   EXPECT_FALSE(map.Erase(key));
                   map.Erase(key ^ 4);
                 }));
    }
  }
  is_there = false;
  domain.Synchronize();
  for (const int count : ends) EXPECT_EQ(count, 1);
}

TEST(RcuMapTest, KeysMayBeMoveOnly) {
  struct PointeeHash {
    size_t operator()(const std::unique_ptr<int>& key) const { return absl::Hash<int>()(*key); }
    size_t operator()(int key) const { return absl::Hash<int>()(key); }
  };
  struct PointeeEq {
    bool operator()(const std::unique_ptr<int>& a, const std::unique_ptr<int>& b) const { return *a == *b; }
    bool operator()(const std::unique_ptr<int>& a, int b) const { return *a == b; }
  };
  RcuMap<std::unique_ptr<int>, int, PointeeHash, PointeeEq> map;
  EXPECT_TRUE(map.Insert(std::make_unique<int>(3), 30));
  EXPECT_FALSE(map.Insert(std::make_unique<int>(3), 31));
  EXPECT_EQ(map.Get(3), 30);
}

struct alignas(64) Wide {
  int value = 0;
};

TEST(RcuMapTest, ValuesKeepTheirAlignment) {
  RcuMap<int, Wide> map;
  for (int i = 0; i < 20; ++i) map.Insert(i, Wide{i});
  for (int i = 0; i < 20; ++i) {
    const auto found = map.Find(i);
    EXPECT_EQ(std::bit_cast<uintptr_t>(found.get()) % 64, 0u);
    EXPECT_EQ(found->value, i);
  }
}

struct Thrower {
  static inline int moves_left = -1;  // -1: never throws
  explicit Thrower(int n) : number(n) {}
  Thrower(Thrower&& other) : number(other.number) {  // NOLINT(performance-noexcept-move-constructor)
    if (moves_left == 0) throw number;
    if (moves_left > 0) --moves_left;
  }
  int number;
};

TEST(RcuMapTest, AWriteThatThrowsChangesNothing) {
  RcuMap<int, Thrower> map;
  map.Insert(1, Thrower(10));
  for (int moves = 0; moves < 4; ++moves) {
    Thrower::moves_left = moves;
    bool threw = false;
    try {
      map.InsertOrAssign(1, Thrower(11));
    } catch (int) {
      threw = true;
    }
    Thrower::moves_left = -1;
    EXPECT_EQ(map.size(), 1u);
    EXPECT_EQ(map.Find(1)->number, threw ? 10 : 11);
    map.InsertOrAssign(1, Thrower(10));
  }
}

struct ThrowingEq {
  static inline bool armed = false;
  bool operator()(int a, int b) const {
    if (armed) throw 1;
    return a == b;
  }
};

TEST(RcuMapTest, AComparisonThatThrowsReleasesTheLock) {
  RcuMap<int, int, absl::Hash<int>, ThrowingEq> map;
  map.Insert(1, 10);
  ThrowingEq::armed = true;
  EXPECT_THROW(map.Insert(1, 11), int);
  EXPECT_THROW(map.Erase(1), int);
  EXPECT_THROW(static_cast<void>(map.Get(1)), int);
  ThrowingEq::armed = false;
  EXPECT_EQ(map.Get(1), 10);
  EXPECT_TRUE(map.Erase(1));
}

struct EqThatThrowsOnce {
  static inline int calls_left = -1;  // -1: never throws
  bool operator()(int a, int b) const {
    if (calls_left == 0) throw 1;
    if (calls_left > 0) --calls_left;
    return a == b;
  }
};

TEST(RcuMapTest, AComparisonThatThrowsAtAnyCallChangesNothingAndLeaksNothing) {
  const bench::HeapMark heap;
  {
    EpochDomain domain;
    RcuMap<int, int, Same, EqThatThrowsOnce> map(domain);
    for (int key = 0; key < 20; ++key) {  // the table grows three times
      for (int calls = 0;; ++calls) {
        EqThatThrowsOnce::calls_left = calls;
        bool threw = false;
        try {
          map.Insert(key, key);
        } catch (int) {
          threw = true;
        }
        EqThatThrowsOnce::calls_left = -1;
        ASSERT_EQ(map.size(), static_cast<size_t>(threw ? key : key + 1));
        if (!threw) break;
        ASSERT_FALSE(map.Contains(key));
        ASSERT_LE(calls, key) << "once for each entry";
      }
    }
    EXPECT_EQ(ContentsOf(map).size(), 20u);
  }
  const bench::HeapCount count = heap.Since();
  EXPECT_EQ(count.allocations, count.frees);
}

TEST(RcuMapTest, GarbageIsBoundedWhileAReaderIsStalledThroughout) {
  constexpr size_t kMaxPending = 16;
  EpochDomain domain(EpochOptions{.max_pending = kMaxPending});
  RcuMap<int, Counted> map(domain);
  map.Insert(1, Counted(0));
  std::optional stalled = map.Find(1);
  std::thread writer([&] {
    for (int i = 1; i <= 1'000; ++i) map.InsertOrAssign(1, Counted(i));
  });
  for (SpinWait<> wait; domain.Stats().waits == 0;) wait();
  EXPECT_EQ(domain.Stats().pending, kMaxPending);
  EXPECT_LE(Counted::alive.load(), static_cast<int>(kMaxPending) + 5) << "and what the writer has in hand";
  EXPECT_EQ((*stalled)->number, 0);
  EXPECT_EQ(map.Find(1)->number, static_cast<int>(kMaxPending) + 1) << "readers go on";
  EXPECT_TRUE(map.Insert(2, Counted(0))) << "and so do writers who are pinned";
  EXPECT_TRUE(map.Erase(2));
  EXPECT_GE(domain.Stats().over_limit, 1u);
  stalled.reset();
  writer.join();
  EXPECT_EQ(map.Find(1)->number, 1'000);
  domain.Synchronize();
  EXPECT_EQ(Counted::alive.load(), 1);
}

// The death test forks while the other thread compares under the lock.
struct EqThatStops {
  static inline std::atomic<int> step{0};
  bool operator()(int a, int b) const {
    if (step.load() == 1) {
      step.store(2);
      for (SpinWait<> wait; step.load() < 3;) wait();
    }
    return a == b;
  }
};

TEST(RcuMapDeathTest, WritingAfterAForkAmidAnothersWriteIsACheck) {
  RcuMap<int, int, absl::Hash<int>, EqThatStops> map;
  map.Insert(1, 10);
  EqThatStops::step.store(1);
  std::thread writer([&] { map.InsertOrAssign(1, 11); });
  for (SpinWait<> wait; EqThatStops::step.load() < 2;) wait();
  EXPECT_EQ(map.Get(1), 10);
  EXPECT_DEATH(map.Insert(2, 20), "did not survive fork");
  EqThatStops::step.store(3);
  writer.join();
  EXPECT_EQ(map.Get(1), 11);
}

TEST(RcuMapTest, ReadingAllocatesNothingAndAWriteOneNode) {
  EpochDomain domain;
  RcuMap<uint64_t, uint64_t> map(domain);
  for (uint64_t i = 0; i < 1'000; ++i) map.Insert(i, i);
  static_cast<void>(map.Contains(0));
  {
    const bench::HeapMark heap;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 2'000; ++i) sum += map.Get(i).value_or(0);
    map.ForEach([&](uint64_t, uint64_t value) { sum += value; });
    EXPECT_EQ(sum, 999u * 1'000);
    EXPECT_EQ(heap.Since().allocations, 0u);
  }
  {
    const bench::HeapMark heap;
    for (uint64_t i = 0; i < 100; ++i) map.InsertOrAssign(i, i + 1);
    EXPECT_EQ(heap.Since().allocations, 100u);
  }
  {
    const bench::HeapMark heap;
    for (uint64_t i = 0; i < 100; ++i) map.Erase(i);
    EXPECT_EQ(heap.Since().allocations, 0u);
  }
}

TEST(RcuMapTest, AWriteWithoutMemoryChangesNothing) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  EpochDomain domain;
  RcuMap<int, int> map(domain);
  std::map<int, int> expected;
  for (int i = 0; i < 40; ++i) {  // the table is replaced several times
    for (uint64_t successes = 0;; ++successes) {
      bool failed = false;
      {
        const bench::HeapFailure failure(successes);
        try {
          map.Insert(i, i);
        } catch (const std::bad_alloc&) {
          failed = true;
        }
      }
      if (!failed) break;
      ASSERT_EQ(map.size(), expected.size());
      ASSERT_FALSE(map.Contains(i));
    }
    expected.emplace(i, i);
    ASSERT_EQ(ContentsOf(map), expected);
  }
  for (int i = 8; i < 40; ++i) {
    map.Erase(i);
    expected.erase(i);
  }
  {
    const bench::HeapFailure failure;
    EXPECT_THROW(map.Trim(), std::bad_alloc);
    EXPECT_THROW(map.InsertOrAssign(1, 2), std::bad_alloc);
    EXPECT_TRUE(map.Erase(7));
  }
  expected.erase(7);
  EXPECT_EQ(ContentsOf(map), expected);
}

template <class K, class Hash>
concept CanBeAMap = requires { typename BasicRcuMap<K, int, Hash>; };
template <class Map>
concept CanBeCopiedOutOf = requires(const Map& map) { map.Get(1); };

TEST(RcuMapTest, WhatCannotBeAMapDoesNotCompile) {
  struct Plain {};
  static_assert(CanBeAMap<int, absl::Hash<int>>);
  static_assert(!CanBeAMap<Plain, absl::Hash<int>>);
  static_assert(CanBeCopiedOutOf<RcuMap<int, int>>);
  static_assert(!CanBeCopiedOutOf<RcuMap<int, std::unique_ptr<int>>>);
  static_assert(!std::is_copy_constructible_v<RcuMap<int, int>> && !std::is_move_constructible_v<RcuMap<int, int>>);
}

}  // namespace
}  // namespace hotpath
