#include "hotpath/core/striped_map.h"

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"
#include "hotpath/core/inline_string.h"

namespace hotpath {
namespace {

using Numbers = StripedMap<uint64_t, uint64_t>;
using Texts = StripedMap<std::string, std::string>;

// ---- What may be instantiated ----

struct ThrowsWhenMoved {
  ThrowsWhenMoved() = default;
  ThrowsWhenMoved(const ThrowsWhenMoved&) {}
};
template <class K, class V>
concept Instantiates = requires { typename StripedMap<K, V>; };
static_assert(Instantiates<int, int> && Instantiates<std::string, std::unique_ptr<int>>);
static_assert(!Instantiates<const int, int> && !Instantiates<int, int&> && !Instantiates<int, ThrowsWhenMoved>);
static_assert(Numbers::kOptimistic && StripedMap<char, std::array<char, 9>>::kOptimistic);
static_assert(!Texts::kOptimistic && !StripedMap<int, std::string>::kOptimistic);
struct OnlyMoves {  // trivially copyable, for its move is trivial
  explicit OnlyMoves(int v) : value(v) {}
  OnlyMoves(OnlyMoves&&) = default;
  OnlyMoves& operator=(OnlyMoves&&) = default;
  int value;
};
static_assert(std::is_trivially_copyable_v<OnlyMoves> && !StripedMap<int, OnlyMoves>::kOptimistic);
template <class M, class P>
concept ErasesIf = requires(M& map, P pred) { map.EraseIf(pred); };
static_assert(ErasesIf<Numbers, bool (*)(const uint64_t&, uint64_t&)> &&
              ErasesIf<Numbers, bool (*)(uint64_t, uint64_t)>);
static_assert(!ErasesIf<Numbers, bool (*)(uint64_t&, uint64_t&)>, "keys stay as they are");
template <class M>
concept HasFind = requires(const M& map) { map.Find(1); };
static_assert(HasFind<Numbers> && !HasFind<StripedMap<int, std::unique_ptr<int>>>, "a find copies the value");
static_assert(!std::copyable<Numbers> && !std::movable<Numbers>);

TEST(StripedMapTest, StripesAreRoundedUpToAPowerOfTwoAndDescribeTellsHowReadsWork) {
  EXPECT_EQ(Numbers().stripes(), 32u);
  EXPECT_EQ(Numbers(0).stripes(), 1u);
  EXPECT_EQ(Numbers(1).stripes(), 1u);
  EXPECT_EQ(Numbers(3).stripes(), 4u);
  EXPECT_EQ(Numbers(1000).stripes(), 1024u);
  EXPECT_NE(std::string_view(Numbers::Describe()).find("optimistic"), std::string_view::npos);
  EXPECT_NE(std::string_view(Texts::Describe()).find("stripe's lock"), std::string_view::npos);
}

// ---- Every operation, for every kind of table ----

template <class T>
T Make(uint64_t n) {
  if constexpr (std::same_as<T, std::string>) {
    return "a string that is not short: " + std::to_string(n);
  } else if constexpr (std::same_as<T, std::array<uint8_t, 33>>) {
    T array;
    for (size_t i = 0; i < array.size(); ++i) array[i] = static_cast<uint8_t>(n * 31 + i);
    return array;
  } else {
    return static_cast<T>(n);
  }
}
template <class Key, class Value, size_t kStripes>
struct Case {
  using K = Key;
  using V = Value;
  using Map = StripedMap<K, V>;
  static constexpr size_t stripes = kStripes;
};
template <class C>
struct StripedMapKindTest : testing::Test {
  using K = typename C::K;
  using V = typename C::V;
  typename C::Map map{C::stripes};
  static K Key(uint64_t n) { return Make<K>(n); }
  static V Value(uint64_t n) { return Make<V>(n); }
};
using Cases = testing::Types<Case<uint64_t, uint64_t, 32>, Case<uint64_t, uint64_t, 1>, Case<uint16_t, uint8_t, 4>,
                             Case<uint32_t, std::array<uint8_t, 33>, 2>, Case<std::string, std::string, 8>,
                             Case<std::string, std::string, 1>, Case<int, std::string, 1024>>;
TYPED_TEST_SUITE(StripedMapKindTest, Cases);

TYPED_TEST(StripedMapKindTest, InsertFindAssignMutateUpsertEraseThroughGrowth) {
  auto& map = this->map;
  constexpr uint64_t kCount = 3000;
  for (uint64_t n = 0; n < kCount; ++n) {
    EXPECT_FALSE(map.Contains(this->Key(n)));
    EXPECT_TRUE(map.Insert(this->Key(n), this->Value(n)));
    EXPECT_FALSE(map.Insert(this->Key(n), this->Value(n + 1)));
  }
  EXPECT_EQ(map.size(), kCount);
  for (uint64_t n = 0; n < kCount; ++n) {
    EXPECT_EQ(map.Find(this->Key(n)), this->Value(n));
    EXPECT_EQ(map.InsertOrAssign(this->Key(n), this->Value(n + 5)), this->Value(n));
    EXPECT_TRUE(map.Mutate(this->Key(n), [&](auto& v) {
      EXPECT_EQ(v, this->Value(n + 5));
      v = this->Value(n + 6);
    }));
    EXPECT_TRUE(map.Visit(this->Key(n), [&](const auto& v) { EXPECT_EQ(v, this->Value(n + 6)); }));
    EXPECT_FALSE(map.Upsert(this->Key(n), [&] { return this->Value(0); }, [&](auto& v) { v = this->Value(n + 7); }));
  }
  const auto absent = this->Key(kCount);
  EXPECT_EQ(map.Find(absent), std::nullopt);
  EXPECT_EQ(map.Erase(absent), std::nullopt);
  EXPECT_FALSE(map.Mutate(absent, [](auto&) { FAIL(); }));
  EXPECT_FALSE(map.Visit(absent, [](const auto&) { FAIL(); }));
  EXPECT_EQ(map.InsertOrAssign(absent, this->Value(1)), std::nullopt);
  EXPECT_EQ(map.Erase(absent), this->Value(1));
  EXPECT_TRUE(map.Upsert(absent, [&] { return this->Value(2); }, [](auto&) { FAIL(); }));
  EXPECT_EQ(map.Erase(absent), this->Value(2));
  for (uint64_t n = 0; n < kCount; n += 2) EXPECT_EQ(map.Erase(this->Key(n)), this->Value(n + 7));
  EXPECT_EQ(map.size(), kCount / 2);
  for (uint64_t n = 0; n < kCount; ++n) EXPECT_EQ(map.Contains(this->Key(n)), n % 2 == 1);
  EXPECT_EQ(map.EraseIf([&](const auto& k, const auto&) { return k == this->Key(1) || k == this->Key(3); }), 2u);
  EXPECT_EQ(map.size(), kCount / 2 - 2);
}

TYPED_TEST(StripedMapKindTest, EraseIfKeepsWhatItChangedWithoutErasingIt) {
  auto& map = this->map;
  for (uint64_t n = 0; n < 60; ++n) map.Insert(this->Key(n), this->Value(n));
  EXPECT_EQ(map.EraseIf([&](const auto& key, auto& value) {
    if (key == this->Key(5)) value = this->Value(200);
    return key == this->Key(6) || key == this->Key(7);
  }),
            2u);
  EXPECT_EQ(map.size(), 58u);
  for (uint64_t n = 0; n < 60; ++n) {
    if (n == 6 || n == 7) continue;
    EXPECT_EQ(map.Find(this->Key(n)), this->Value(n == 5 ? 200 : n));
  }
}

TYPED_TEST(StripedMapKindTest, SnapshotForEachAndClear) {
  auto& map = this->map;
  std::map<typename TestFixture::K, typename TestFixture::V> expected;
  for (uint64_t n = 0; n < 500; ++n) {
    map.Insert(this->Key(n), this->Value(n));
    expected.emplace(this->Key(n), this->Value(n));
  }
  const auto all = map.Snapshot();
  EXPECT_EQ(all.size(), expected.size());
  EXPECT_EQ((std::map(all.begin(), all.end())), expected);
  size_t seen = 0;
  map.ForEach([&](const auto& key, const auto& value) {
    ++seen;
    EXPECT_EQ(expected.at(key), value);
  });
  EXPECT_EQ(seen, expected.size());
  const size_t capacity = map.Stats().capacity;
  map.Clear();
  EXPECT_EQ(map.size(), 0u);
  EXPECT_TRUE(map.Snapshot().empty());
  EXPECT_FALSE(map.Contains(this->Key(1)));
  EXPECT_EQ(map.Stats().capacity, capacity) << "keeps the memory";
  EXPECT_TRUE(map.Insert(this->Key(1), this->Value(2)));
  EXPECT_EQ(map.Find(this->Key(1)), this->Value(2));
}

// ---- Tables ----

// Every key in one group of one stripe: the whole table is one chain.
struct SameHash {
  uint64_t operator()(uint64_t) const { return 0; }
};
TEST(StripedMapTest, KeysThatAllHashAlikeAreStillKeptApart) {
  StripedMap<uint64_t, uint64_t, SameHash> map;
  for (uint64_t n = 0; n < 300; ++n) ASSERT_TRUE(map.Insert(n, n + 1));
  for (uint64_t n = 0; n < 300; n += 3) ASSERT_EQ(map.Erase(n), n + 1);
  for (uint64_t n = 0; n < 300; ++n) ASSERT_EQ(map.Contains(n), n % 3 != 0);
  for (uint64_t n = 0; n < 300; n += 3) ASSERT_TRUE(map.Insert(n, n + 2));
  for (uint64_t n = 0; n < 300; ++n) ASSERT_EQ(map.Find(n), n % 3 == 0 ? n + 2 : n + 1);
}

TEST(StripedMapTest, ComingAndGoingNeverGrowsTheTable) {
  Numbers map(1);
  for (uint64_t n = 0; n < 100; ++n) map.Insert(n, n);
  const StripedMapStats before = map.Stats();
  for (uint64_t n = 0; n < 100'000; ++n) {
    ASSERT_EQ(map.Erase(n), n);
    ASSERT_TRUE(map.Insert(n + 100, n + 100));
  }
  EXPECT_EQ(map.Stats().bytes, before.bytes) << "no tombstones, no rehash";
}

TEST(StripedMapTest, RetainedTablesAreAtMostHalfOfTheMemoryAndTrimFreesThem) {
  Numbers map(4);
  for (uint64_t n = 0; n < 20'000; ++n) {
    map.Insert(n, n);
    if (n % 1000 != 0) continue;
    const StripedMapStats stats = map.Stats();
    EXPECT_LT(stats.retained_bytes * 2, stats.bytes);
    EXPECT_EQ(stats.entries, n + 1);
  }
  EXPECT_GT(map.Stats().retained_bytes, 0u);
  const size_t before = map.Stats().bytes;
  map.Trim();
  EXPECT_EQ(map.Stats().retained_bytes, 0u);
  EXPECT_LT(map.Stats().bytes, before);
  for (uint64_t n = 0; n < 20'000; ++n) ASSERT_EQ(map.Find(n), n);
}

TEST(StripedMapTest, ReservedRoomIsFilledWithoutAllocation) {
  Numbers map(4);
  map.Reserve(4000);
  map.Insert(0, 0);
  const bench::HeapMark mark;
  for (uint64_t n = 1; n < 3000; ++n) map.Insert(n, n);
  for (uint64_t n = 1; n < 3000; ++n) bench::Escape(map.Find(n));
  for (uint64_t n = 1; n < 3000; ++n) map.Erase(n);
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
  Numbers grown(4);
  grown.Reserve(0);
  EXPECT_EQ(grown.size(), 0u);
}

TEST(StripedMapTest, InsertThatRunsOutOfMemoryChangesNothing) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  Numbers map(1);
  for (uint64_t n = 0; n < 6; ++n) map.Insert(n, n);
  for (uint64_t successes = 0; successes < 2; ++successes) {
    const bench::HeapFailure failure(successes);
    EXPECT_THROW(map.Insert(6, 6), std::bad_alloc);
  }
  EXPECT_EQ(map.size(), 6u);
  EXPECT_FALSE(map.Contains(6));
  EXPECT_TRUE(map.Insert(6, 6));
  for (uint64_t n = 0; n < 7; ++n) EXPECT_EQ(map.Find(n), n);
}

// ---- One hash per operation, heterogeneous lookup ----

struct CountingHash {
  using is_transparent = void;
  static inline int calls = 0;
  uint64_t operator()(std::string_view text) const {
    ++calls;
    return std::hash<std::string_view>()(text);
  }
};
TEST(StripedMapTest, EveryOperationHashesOnceAndLooksUpViewsWithoutAString) {
  StripedMap<std::string, int, CountingHash> map;
  const auto hashes = [](auto&& f) {
    CountingHash::calls = 0;
    f();
    return CountingHash::calls;
  };
  const std::string_view key = "a key that does not fit into the string itself";
  map.Insert(std::string(key), 0);
  EXPECT_EQ(hashes([&] { map.Insert(std::string(key), 1); }), 1);
  EXPECT_EQ(hashes([&] { map.InsertOrAssign(std::string(key), 1); }), 1);
  const bench::HeapMark mark;
  EXPECT_EQ(hashes([&] { bench::Escape(map.Find(key)); }), 1);
  EXPECT_EQ(hashes([&] { bench::Escape(map.Contains(key)); }), 1);
  EXPECT_EQ(hashes([&] { map.Visit(key, [](int) {}); }), 1);
  EXPECT_EQ(hashes([&] { map.Mutate(key, [](int& v) { ++v; }); }), 1);
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
  EXPECT_EQ(hashes([&] { map.Erase(key); }), 1);

  Texts texts;  // the default hash of a string hashes what can be seen as text
  texts.Insert("one", "1");
  EXPECT_EQ(texts.Find(std::string_view("one")), "1");
  EXPECT_EQ(texts.Find("one"), "1");
  EXPECT_EQ(texts.Find(std::string("one")), "1");
}

// A hash that is the key: sequential keys must not end in one stripe or one group.
struct Identity {
  uint64_t operator()(uint64_t key) const { return key; }
};
TEST(StripedMapTest, WeakHashesAreSpreadOverStripesAndGroups) {
  for (const uint64_t step : {uint64_t{1}, uint64_t{64}, uint64_t{4096}, uint64_t{1} << 32, uint64_t{1} << 48}) {
    StripedMap<uint64_t, uint64_t, Identity> map;
    for (uint64_t n = 0; n < 10'000; ++n) map.Insert(n * step, n);
    EXPECT_LE(map.Stats().capacity, 40'000u) << "step " << step << ": some stripe got most";
    for (uint64_t n = 0; n < 10'000; ++n) ASSERT_EQ(map.Find(n * step), n);
  }
}

// Keys that differ in their high bits only end in groups and tags of their own: a search compares the key it looks for.
struct CountingEq {
  static inline uint64_t calls = 0;
  bool operator()(uint64_t a, uint64_t b) const {
    ++calls;
    return a == b;
  }
};
TEST(StripedMapTest, SearchesCompareFewKeysWhateverBitsTheyDifferIn) {
  for (const int shift : {0, 12, 32, 44, 48}) {
    for (const size_t stripes : {size_t{1}, size_t{4096}}) {
      StripedMap<uint64_t, uint64_t, Identity, CountingEq> map(stripes);
      constexpr uint64_t kCount = 10'000;
      for (uint64_t n = 0; n < kCount; ++n) map.Insert(n << shift, n);
      CountingEq::calls = 0;
      for (uint64_t n = 0; n < kCount; ++n) ASSERT_EQ(map.Find(n << shift), n);
      EXPECT_LE(CountingEq::calls, kCount * 5 / 4) << "keys n << " << shift << ", stripes: " << stripes;
    }
  }
}

// A key that converts to text, but is not its text: upper and lower case are the same.
struct CiName {
  std::string text;
  operator std::string_view() const { return text; }
  static char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c; }
  friend bool operator==(const CiName& a, const CiName& b) {
    return std::equal(a.text.begin(), a.text.end(), b.text.begin(), b.text.end(),
                      [](char x, char y) { return Lower(x) == Lower(y); });
  }
  template <class H>
  friend H AbslHashValue(H state, const CiName& name) {
    for (const char c : name.text) state = H::combine(std::move(state), Lower(c));
    return H::combine(std::move(state), name.text.size());
  }
};
TEST(StripedMapTest, AKeyThatConvertsToTextIsHashedAsItsTypeSays) {
  StripedMap<CiName, int> names;
  EXPECT_TRUE(names.Insert(CiName{"Init"}, 1));
  EXPECT_FALSE(names.Insert(CiName{"INIT"}, 2));
  EXPECT_EQ(names.Find(CiName{"init"}), 1);
  StripedMap<const char*, int> pointers;  // compared as pointers, and so hashed as such
  EXPECT_TRUE(pointers.Insert(nullptr, 3));
  EXPECT_EQ(pointers.Find(static_cast<const char*>(nullptr)), 3);
  EXPECT_FALSE(pointers.Contains("text"));
}
TEST(StripedMapTest, AnInlineStringIsFoundByItsText) {
  StripedMap<InlineString, int> map;
  map.Insert("one", 1);
  EXPECT_EQ(map.Find(std::string_view("one")), 1);
  EXPECT_EQ(map.Find(InlineString("one")), 1);
  EXPECT_EQ(map.Find(std::string("one")), 1);
}

TEST(StripedMapDeathTest, MoreThanAnAddressSpaceHoldsIsACheck) {
  EXPECT_DEATH(Numbers map(SIZE_MAX), "no address space");
  for (const size_t stripes : {1, 32}) {
    Numbers map(stripes);
    EXPECT_DEATH(map.Reserve(SIZE_MAX), "no address space");
  }
}

// ---- Values that are hard to hold ----

TEST(StripedMapTest, TriviallyCopyableValuesThatOnlyMoveGoInAndOut) {
  StripedMap<int, OnlyMoves> map(1);
  EXPECT_TRUE(map.Insert(1, OnlyMoves(5)));
  EXPECT_TRUE(map.Visit(1, [](const OnlyMoves& v) { EXPECT_EQ(v.value, 5); }));
  EXPECT_EQ(map.InsertOrAssign(1, OnlyMoves(6))->value, 5);
  EXPECT_EQ(map.Erase(1)->value, 6);
}

TEST(StripedMapTest, MoveOnlyValuesGoInAndOut) {
  StripedMap<int, std::unique_ptr<int>> map(2);
  for (int n = 0; n < 100; ++n) EXPECT_TRUE(map.Insert(n, std::make_unique<int>(n)));
  EXPECT_TRUE(map.Mutate(5, [](std::unique_ptr<int>& p) { *p = 50; }));
  std::optional<std::unique_ptr<int>> old = map.InsertOrAssign(5, std::make_unique<int>(51));
  EXPECT_EQ(**old, 50);
  EXPECT_EQ(**map.Erase(5), 51);
  EXPECT_TRUE(map.Visit(6, [](const std::unique_ptr<int>& p) { EXPECT_EQ(*p, 6); }));
}

struct Counted {
  static inline int alive = 0;
  explicit Counted(int v) : value(v) { ++alive; }
  Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive; }
  ~Counted() { --alive; }
  int value;
};
TEST(StripedMapTest, EveryValueIsDestroyedOnce) {
  {
    StripedMap<int, Counted> map(4);
    for (int n = 0; n < 1000; ++n) map.Insert(n, Counted(n));
    EXPECT_EQ(Counted::alive, 1000);
    for (int n = 0; n < 100; ++n) map.Erase(n);
    EXPECT_EQ(Counted::alive, 900);
    for (int n = 100; n < 200; ++n) map.InsertOrAssign(n, Counted(-n));
    EXPECT_EQ(Counted::alive, 900);
    EXPECT_EQ(map.EraseIf([](int, const Counted& c) { return c.value < 0; }), 100u);
    EXPECT_EQ(Counted::alive, 800);
    map.Clear();
    EXPECT_EQ(Counted::alive, 0);
    for (int n = 0; n < 50; ++n) map.Insert(n, Counted(n));
  }
  EXPECT_EQ(Counted::alive, 0);
}

// ---- Callbacks that throw ----

template <class V>
void CallbacksThatThrowLeaveTheMapConsistent(const V& value, const V& other) {
  StripedMap<int, V> map(1);
  for (int n = 0; n < 20; ++n) map.Insert(n, value);
  const std::runtime_error no("no");
  EXPECT_THROW(map.Visit(1, [&](const V&) { throw no; }), std::runtime_error);
  EXPECT_THROW(map.Mutate(1, [&](V&) { throw no; }), std::runtime_error);
  EXPECT_THROW(map.Upsert(1, [&] { return other; }, [&](V&) { throw no; }), std::runtime_error);
  EXPECT_THROW(map.Upsert(99, [&]() -> V { throw no; }, [](V&) {}), std::runtime_error);
  EXPECT_THROW(map.ForEach([&](int, const V&) { throw no; }), std::runtime_error);
  int calls = 0;
  EXPECT_THROW(map.EraseIf([&](int, const V&) {
    if (++calls == 8) throw no;
    return true;
  }),
               std::runtime_error);
  EXPECT_EQ(map.size(), 13u) << "what was erased before the throw stays erased";
  EXPECT_EQ(map.Snapshot().size(), 13u);
  EXPECT_FALSE(map.Contains(99));
  for (const auto& [key, v] : map.Snapshot()) EXPECT_EQ(v, value);
  std::thread([&] { EXPECT_TRUE(map.Insert(99, other)); }).join();  // no lock was left behind
  EXPECT_EQ(map.Find(99), other);
}
TEST(StripedMapTest, CallbacksThatThrowLeaveTheMapConsistent) {
  CallbacksThatThrowLeaveTheMapConsistent<uint64_t>(1, 2);
  CallbacksThatThrowLeaveTheMapConsistent<std::string>("1", "2");
}

// ---- Callbacks that call the map ----

// Every operation, from inside a callback of any other, whatever stripe it means, in every build.
template <class V>
void CallingTheSameMapFromACallbackIsACheck(V value) {
  StripedMap<int, V> map(8), other(8);
  for (int n = 0; n < 10; ++n) map.Insert(n, value);
  const std::vector<std::pair<const char*, std::function<void(int)>>> inner = {
      {"Find", [&](int k) { static_cast<void>(map.Find(k)); }},
      {"Contains", [&](int k) { static_cast<void>(map.Contains(k)); }},
      {"Visit", [&](int k) { map.Visit(k, [](const V&) {}); }},
      {"Insert", [&](int k) { map.Insert(k, value); }},
      {"InsertOrAssign", [&](int k) { map.InsertOrAssign(k, value); }},
      {"Erase", [&](int k) { map.Erase(k); }},
      {"EraseIf", [&](int) { map.EraseIf([](int, const V&) { return false; }); }},
      {"Mutate", [&](int k) { map.Mutate(k, [](V&) {}); }},
      {"Upsert", [&](int k) { map.Upsert(k, [&] { return value; }, [](V&) {}); }},
      {"ForEach", [&](int) { map.ForEach([](int, const V&) {}); }},
      {"Snapshot", [&](int) { static_cast<void>(map.Snapshot()); }},
      {"Clear", [&](int) { map.Clear(); }},
      {"Reserve", [&](int) { map.Reserve(100); }},
  };
  for (const auto& [name, call] : inner) {
    const std::string message = std::string("StripedMap::") + name + ".*inside a callback of the same map";
    EXPECT_DEATH(map.Mutate(1, [&](V&) { call(1); }), message);
    EXPECT_DEATH(map.Mutate(1, [&](V&) { call(2); }), message) << "another stripe";
  }
  const auto find = [&] { static_cast<void>(map.Find(3)); };
  EXPECT_DEATH(map.Visit(1, [&](const V&) { find(); }), "inside a callback");
  EXPECT_DEATH(map.Upsert(
                   50,
                   [&] {
                     find();
                     return value;
                   },
                   [](V&) {}),
               "inside a callback");
  EXPECT_DEATH(map.Upsert(1, [&] { return value; }, [&](V&) { find(); }), "inside a callback");
  EXPECT_DEATH(map.ForEach([&](int, const V&) { find(); }), "inside a callback");
  EXPECT_DEATH(map.EraseIf([&](int, const V&) {
    find();
    return false;
  }),
               "inside a callback");
  // Another map is another matter, and so is the same map afterwards; size takes no lock.
  map.Mutate(1, [&](V&) {
    other.Insert(1, value);
    other.Mutate(1, [&](V&) { EXPECT_EQ(map.size(), 10u); });
  });
  EXPECT_TRUE(map.Contains(1));
}
TEST(StripedMapDeathTest, CallingTheSameMapFromACallbackIsACheck) {
  CallingTheSameMapFromACallbackIsACheck<uint64_t>(1);
}
TEST(StripedMapDeathTest, CallingTheSameMapFromACallbackUnderTheLockIsACheck) {
  CallingTheSameMapFromACallbackIsACheck<std::string>("1");
}

// The death test forks while the other thread is inside its callback.
TEST(StripedMapDeathTest, WriteAfterAForkThatLostAWriterIsACheck) {
  Numbers map(1);
  map.Insert(1, 1);
  std::atomic<bool> inside{false}, leave{false};
  std::thread writer([&] {
    map.Mutate(1, [&](uint64_t&) {
      inside.store(true);
      SpinWait<> wait;
      while (!leave.load()) wait();
    });
  });
  SpinWait<> wait;
  while (!inside.load()) wait();
  EXPECT_DEATH(map.Insert(2, 2), "did not survive fork");
  EXPECT_EQ(map.Find(1), 1u) << "readers do not mind";
  leave.store(true);
  writer.join();
}

// ---- Reads that are overtaken, step by step ----

// Runs a hook after a reader took an entry.
struct InterruptedSync : StdSync {
  static inline std::function<void()> after_copy;

  using StdSync::CopyWords;
  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    StdSync::CopyWords<kBytes>(to, from);
    if (after_copy) std::exchange(after_copy, nullptr)();
  }
};
template <class Sync>
using MapWith = BasicStripedMap<uint64_t, uint64_t, absl::Hash<uint64_t>, std::equal_to<>, Sync>;
using Interrupted = MapWith<InterruptedSync>;

TEST(StripedMapTest, ReadsWriteNothingShared) {
  using Counting = CountingSync<>;
  MapWith<Counting> map(4);
  const auto writes = [](auto f) {
    const SyncCounts counts = Counting::CountsOf(f);
    return counts.stores + counts.rmws;
  };
  for (uint64_t n = 0; n < 1000; ++n) map.Insert(n, n);
  EXPECT_EQ(writes([&] {
              for (uint64_t n = 0; n < 2000; ++n) {
                EXPECT_EQ(map.Find(n).has_value(), n < 1000);
                EXPECT_EQ(map.Contains(n), n < 1000);
              }
              EXPECT_EQ(map.size(), 1000u);
            }),
            0u);
  EXPECT_EQ(writes([&] { map.Insert(0, 5); }), 4u)
      << "a failed insert: lock, unlock, and the owner's mark twice; no version";
}

// A group counts the entries that passed it, and a search goes on while there are any: what goes is to be uncounted.
TEST(StripedMapTest, WhatGoesLeavesNothingThatSearchesWouldPass) {
  using Counting = CountingSync<>;
  MapWith<Counting> map(1);
  map.Reserve(100);
  const size_t capacity = map.Stats().capacity;
  const auto loads_of_misses = [&] {
    return Counting::CountsOf([&] {
             for (uint64_t n = 0; n < 1000; ++n) EXPECT_FALSE(map.Contains(n));
           })
        .loads;
  };
  const uint64_t at_first = loads_of_misses();
  const auto fill = [&] {
    for (uint64_t n = 0; n < capacity; ++n) map.Insert(n, n);
  };
  fill();
  for (uint64_t n = 0; n < 10'000; ++n) {  // others come, through full groups
    map.Erase(n);
    map.Insert(n + capacity, n);
  }
  for (uint64_t n = 10'000; n < 10'000 + capacity; ++n) map.Erase(n);
  EXPECT_EQ(loads_of_misses(), at_first) << "erased one by one";
  fill();
  EXPECT_EQ(map.EraseIf([](uint64_t, uint64_t) { return true; }), capacity);
  EXPECT_EQ(loads_of_misses(), at_first) << "erased by EraseIf";
  fill();
  map.Clear();
  EXPECT_EQ(loads_of_misses(), at_first) << "cleared";
  EXPECT_EQ(map.Stats().capacity, capacity);
}

TEST(StripedMapTest, ReadThatIsOvertakenTriesAgainAndSeesTheNewState) {
  Interrupted map(1);
  map.Insert(1, 10);
  InterruptedSync::after_copy = [&] { map.InsertOrAssign(1, 11); };
  EXPECT_EQ(map.Find(1), 11u);
  InterruptedSync::after_copy = [&] { map.Erase(1); };
  EXPECT_EQ(map.Find(1), std::nullopt);
  map.Insert(1, 12);
  InterruptedSync::after_copy = [&] {  // grown under the reader's feet: it finishes in the old table, or starts anew
    for (uint64_t n = 100; n < 200; ++n) map.Insert(n, n);
    map.InsertOrAssign(1, 13);
  };
  EXPECT_EQ(map.Find(1), 13u);
}

TEST(StripedMapTest, ReadThatIsSpoiltAgainAndAgainTakesTheLockAndReturns) {
  Interrupted map(1);
  map.Insert(1, 0);
  int spoilt = 0;
  std::function<void()> spoil = [&] {
    if (++spoilt > 3) return;  // the fourth copy is under the lock
    map.InsertOrAssign(1, static_cast<uint64_t>(spoilt));
    InterruptedSync::after_copy = spoil;
  };
  InterruptedSync::after_copy = spoil;
  EXPECT_EQ(map.Find(1), 3u);
  EXPECT_EQ(spoilt, 4);
  InterruptedSync::after_copy = nullptr;
}

// ---- The example of the header ----

TEST(StripedMapTest, CountsWords) {
  StripedMap<std::string, int> counts;
  for (const char* word : {"the", "cat", "the", "dog", "the"}) {
    counts.Upsert(word, [] { return 1; }, [](int& n) { ++n; });
  }
  EXPECT_EQ(counts.Find("the"), 3);
  EXPECT_EQ(counts.Snapshot().size(), 3u);
}

}  // namespace
}  // namespace hotpath
