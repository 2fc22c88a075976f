#include "hotpath/core/adaptive_lock.h"

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

// ---- What becomes an atomic, what may be instantiated ----

enum class Color : uint8_t { kRed, kBlue };
struct Padded4 {
  uint8_t low = 0;
  uint16_t high = 0;
};
struct Padded8 {
  uint32_t number = 0;
  uint8_t tag = 0;
};
struct Three {
  std::array<uint8_t, 3> bytes{};
};
struct Sixteen {
  uint64_t left = 0, right = 0;
};
struct WithDestructor {
  ~WithDestructor() {}
  int value = 0;
};
struct WithConstMember {
  const int fixed = 0;
};

static_assert(AdaptiveLock<uint8_t>::kIsAtomic && AdaptiveLock<int16_t>::kIsAtomic &&
              AdaptiveLock<char32_t>::kIsAtomic);
static_assert(AdaptiveLock<uint64_t>::kIsAtomic && AdaptiveLock<bool>::kIsAtomic && AdaptiveLock<Color>::kIsAtomic);
static_assert(AdaptiveLock<float>::kIsAtomic && AdaptiveLock<double>::kIsAtomic && AdaptiveLock<int*>::kIsAtomic);
static_assert(AdaptiveLock<Padded4>::kIsAtomic && AdaptiveLock<Padded8>::kIsAtomic);
static_assert(AdaptiveLock<std::array<char, 8>>::kIsAtomic && AdaptiveLock<void (*)()>::kIsAtomic);
static_assert(!AdaptiveLock<Three>::kIsAtomic && !AdaptiveLock<Sixteen>::kIsAtomic &&
              !AdaptiveLock<long double>::kIsAtomic);
static_assert(!AdaptiveLock<WithDestructor>::kIsAtomic && !AdaptiveLock<std::string>::kIsAtomic);
static_assert(!AdaptiveLock<WithConstMember>::kIsAtomic && !AdaptiveLock<std::unique_ptr<int>>::kIsAtomic);
static_assert(sizeof(AdaptiveLock<uint8_t>) == 1 && sizeof(AdaptiveLock<Padded8>) == 8);
static_assert(sizeof(AdaptiveLock<Sixteen>) == 24 && sizeof(AdaptiveLock<Three>) == 12);

template <class T>
concept Instantiates = requires { AdaptiveLock<T>::kIsAtomic; };
static_assert(Instantiates<int> && Instantiates<std::string>);
static_assert(!Instantiates<int&> && !Instantiates<const int> && !Instantiates<int[2]> && !Instantiates<void>);

template <class T>
concept HasFetch = requires(AdaptiveLock<T> lock, T value) {
  lock.FetchAdd(value);
  lock.FetchSub(value);
  lock.FetchOr(value);
  lock.FetchAnd(value);
};
template <class T>
concept HasCompareExchange = requires(AdaptiveLock<T> lock, T value) { lock.CompareExchange(value, value); };
static_assert(HasFetch<int> && HasFetch<uint8_t> && HasFetch<char16_t>);
static_assert(!HasFetch<bool> && !HasFetch<double> && !HasFetch<int*> && !HasFetch<Color> && !HasFetch<Sixteen>);
static_assert(HasCompareExchange<int> && HasCompareExchange<bool>);
static_assert(!HasCompareExchange<double> && !HasCompareExchange<Padded4> && !HasCompareExchange<Sixteen>);

template <class T>
concept HasLoad = requires(const AdaptiveLock<T> lock) { lock.Load(); };
static_assert(HasLoad<std::string> && !HasLoad<std::unique_ptr<int>>);
static_assert(!std::copyable<AdaptiveLock<int>> && !std::movable<AdaptiveLock<Sixteen>>);
static_assert(!std::convertible_to<int, AdaptiveLock<int>>, "the constructor is explicit");
static_assert(std::is_trivially_destructible_v<AdaptiveLock<Sixteen>>);

// Globals need no dynamic initialisation.
constinit AdaptiveLock<uint64_t> g_number(7);
constinit AdaptiveLock<int*> g_pointer;
constinit AdaptiveLock<Sixteen> g_wide(Sixteen{3, 4});

TEST(AdaptiveLockTest, GlobalsHoldTheirConstantAndDescribeTellsWhatTheyAre) {
  EXPECT_EQ(g_number.Load(), 7u);
  EXPECT_EQ(g_wide.Load().right, 4u);
  EXPECT_EQ(g_pointer.Load(), nullptr);
  EXPECT_EQ(g_number.Describe(), std::string_view("atomic, 8 bytes"));
  EXPECT_EQ(AdaptiveLock<Padded4>::Describe(), std::string_view("atomic, 4 bytes"));
  EXPECT_EQ(g_wide.Describe(), std::string_view("lock, 8 bytes: spins, then parks on a futex"));
}

// ---- Numbers ----

template <class T>
struct AdaptiveLockNumberTest : testing::Test {};
using Numbers = testing::Types<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t, char>;
TYPED_TEST_SUITE(AdaptiveLockNumberTest, Numbers);

TYPED_TEST(AdaptiveLockNumberTest, OperationsReturnTheValueBeforeAndWrap) {
  using T = TypeParam;
  constexpr T kMax = std::numeric_limits<T>::max(), kMin = std::numeric_limits<T>::min();
  AdaptiveLock<T> lock(kMax);
  EXPECT_EQ(lock.FetchAdd(1), kMax);
  EXPECT_EQ(lock.Load(), kMin);
  EXPECT_EQ(lock.FetchSub(1), kMin);
  EXPECT_EQ(lock.FetchAnd(0x5c), kMax);
  EXPECT_EQ(lock.FetchOr(0x03), T{0x5c});
  T expected = 1;
  EXPECT_FALSE(lock.CompareExchange(expected, 2));
  EXPECT_EQ(expected, T{0x5f});
  EXPECT_TRUE(lock.CompareExchange(expected, 2));
  EXPECT_EQ(expected, T{0x5f});
  EXPECT_EQ(lock.Load(), T{2});
  lock.Store(kMin);
  EXPECT_EQ(lock.With([](T& value) { return std::exchange(value, T{9}); }), kMin);
  EXPECT_EQ(lock.Load(), T{9});
}

TEST(AdaptiveLockTest, BoolsEnumsAndPointersAreAtomic) {
  AdaptiveLock<bool> flag;
  bool expected = false;
  EXPECT_TRUE(flag.CompareExchange(expected, true));
  EXPECT_TRUE(flag.Load());
  AdaptiveLock<Color> color(Color::kBlue);
  color.With([](Color& c) { c = Color::kRed; });
  EXPECT_EQ(color.Load(), Color::kRed);
  int target = 0;
  AdaptiveLock<int*> pointer;
  EXPECT_EQ(pointer.Load(), nullptr);
  pointer.Store(&target);
  EXPECT_EQ(pointer.Load(), &target);
}

// ---- Values that equal others in some sense, but are not the same bytes ----

template <class T>
uint64_t BytesOf(const T& value) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, &value, sizeof(T));
  return bytes;
}

template <class F>
void EveryZeroAndNanIsKept() {
  const F values[] = {F{0},
                      -F{0},
                      std::numeric_limits<F>::quiet_NaN(),
                      -std::numeric_limits<F>::quiet_NaN(),
                      static_cast<F>(std::nan("0x123")),
                      std::numeric_limits<F>::infinity(),
                      std::numeric_limits<F>::denorm_min()};
  for (const F from : values) {
    for (const F to : values) {
      AdaptiveLock<F> lock(from);
      EXPECT_EQ(BytesOf(lock.Load()), BytesOf(from));
      int runs = 0;
      lock.With([&](F& value) {
        ++runs;
        EXPECT_EQ(BytesOf(value), BytesOf(from));
        value = to;
      });
      EXPECT_EQ(runs, 1);
      EXPECT_EQ(BytesOf(lock.Load()), BytesOf(to));
    }
  }
}
TEST(AdaptiveLockTest, NegativeZeroAndEveryNanAreKeptAndUpdatedAtTheFirstAttempt) {
  EveryZeroAndNanIsKept<float>();
  EveryZeroAndNanIsKept<double>();
}

// The same members, other padding: a comparison of values or of a value's bytes would go on for ever.
template <class T>
T WithPadding(unsigned char fill, T value) {
  alignas(T) unsigned char bytes[sizeof(T)];
  std::memset(bytes, fill, sizeof(T));
  T* object = new (bytes) T;  // default-initialised members below; padding stays as it may
  *object = value;
  T copy;
  std::memcpy(static_cast<void*>(&copy), bytes, sizeof(T));
  return copy;
}
TEST(AdaptiveLockTest, PaddingNeverMakesAnUpdateFail) {
  for (const unsigned char fill : {0x00, 0xff, 0xa5}) {
    AdaptiveLock<Padded8> lock(WithPadding<Padded8>(fill, {1, 2}));
    for (int i = 0; i < 100; ++i) {
      int runs = 0;
      lock.With([&](Padded8& value) {
        ++runs;
        value = WithPadding<Padded8>(static_cast<unsigned char>(fill + i), {value.number + 1, value.tag});
      });
      EXPECT_EQ(runs, 1);
    }
    EXPECT_EQ(lock.Load().number, 101u);
    EXPECT_EQ(lock.Load().tag, 2);
    AdaptiveLock<Padded4> small(WithPadding<Padded4>(fill, {1, 2}));
    small.With([](Padded4& value) { ++value.high; });
    EXPECT_EQ(small.Load().high, 3);
    EXPECT_EQ(small.Load().low, 1);
  }
}

// ---- With ----

TEST(AdaptiveLockTest, WithReturnsWhatItsFunctionReturnsByValue) {
  AdaptiveLock<int> atomic(3);
  EXPECT_EQ(atomic.With([](int& v) { return std::to_string(v++); }), "3");
  static_assert(std::same_as<decltype(atomic.With([](int& v) -> int& { return v; })), int>);
  static_assert(std::same_as<decltype(atomic.With([](int&) {})), void>);
  AdaptiveLock<std::string> locked("abc");
  EXPECT_EQ(locked.With([](std::string& s) { return s.append("d").size(); }), 4u);
  EXPECT_EQ(locked.With(&std::string::size), 4u);
  static_assert(std::same_as<decltype(locked.With([](std::string& s) -> std::string& { return s; })), std::string>,
                "no reference escapes the lock");
  auto owning = [p = std::make_unique<int>(1)](std::string& s) { s += std::to_string(*p); };
  locked.With(owning);
  EXPECT_EQ(locked.Load(), "abcd1");
}

// What the function promises does not cover the copy of what it returns.
TEST(AdaptiveLockTest, ResultThatThrowsWhenCopiedThrowsOutOfWith) {
  struct Result {
    Result() = default;
    Result(const Result&) { throw 1; }
  } result;
  AdaptiveLock<int> atomic(3);
  AdaptiveLock<std::string> locked("abc");
  const auto refers = [&](auto&) noexcept -> Result& { return result; };
  EXPECT_THROW(static_cast<void>(atomic.With(refers)), int);
  EXPECT_THROW(static_cast<void>(locked.With(refers)), int);
  EXPECT_EQ(locked.Load(), "abc") << "and the lock is free";
}

struct OnlyOnce {
  void operator()(int&) && {}
};
template <class F>
concept CanRunWith = requires(AdaptiveLock<int> lock, F f) { lock.With(std::move(f)); };
static_assert(CanRunWith<void (*)(int&)> && !CanRunWith<OnlyOnce>, "With may run it again");

struct Immovable {
  Immovable() = default;
  Immovable(Immovable&&) = delete;
  int value = 7;
};
TEST(AdaptiveLockTest, KeepsATypeThatCannotMove) {
  AdaptiveLock<Immovable> lock;
  EXPECT_EQ(lock.With([](Immovable& immovable) { return ++immovable.value; }), 8);
}

TEST(AdaptiveLockTest, AtomicWithThatThrowsChangesNothing) {
  AdaptiveLock<int> lock(3);
  EXPECT_THROW(lock.With([](int& v) {
    v = 9;
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(lock.Load(), 3);
}

TEST(AdaptiveLockTest, LockedWithThatThrowsLeavesTheValueAsItWasLeftAndTheLockFree) {
  AdaptiveLock<std::string> lock("a");
  EXPECT_THROW(lock.With([](std::string& s) {
    s = "half";
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  std::thread([&] { EXPECT_EQ(lock.Load(), "half"); }).join();
}

// StdSync whose weak exchanges fail for no reason every other time.
struct FlakySync : StdSync {
  template <class T>
  class Atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) noexcept {
      static int calls = 0;
      if (++calls % 2 == 1) return false;
      return std::atomic<T>::compare_exchange_weak(expected, desired, success, failure);
    }
  };
};
TEST(AdaptiveLockTest, AtomicWithRunsAgainOnAFreshCopyAfterAFailedExchange) {
  BasicAdaptiveLock<uint32_t, FlakySync> lock(10);
  int runs = 0;
  EXPECT_EQ(lock.With([&](uint32_t& v) {
    ++runs;
    return v++;
  }),
            10u);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(lock.Load(), 11u);
}

TEST(AdaptiveLockDeathTest, UsingALockedValueInsideItsWithIsACheckInEveryBuild) {
  AdaptiveLock<std::string> lock("a"), other("b");
  EXPECT_DEATH(lock.With([&](std::string&) { static_cast<void>(lock.Load()); }), "this thread holds this lock already");
  EXPECT_DEATH(lock.With([&](std::string&) { lock.Store("c"); }), "this thread holds this lock already");
  EXPECT_DEATH(lock.With([&](std::string&) { lock.With([](std::string&) {}); }), "this thread holds this lock already");
  lock.With([&](std::string& s) { s += other.Load(); });
  EXPECT_EQ(lock.Load(), "ab");
}

// ---- Types that are hard to hold ----

TEST(AdaptiveLockTest, MoveOnlyValuesMayBeStoredAndTakenOut) {
  AdaptiveLock<std::unique_ptr<int>> lock(std::make_unique<int>(1));
  lock.Store(std::make_unique<int>(2));
  const std::unique_ptr<int> taken = lock.With([](std::unique_ptr<int>& p) { return std::move(p); });
  EXPECT_EQ(*taken, 2);
  EXPECT_TRUE(lock.With([](std::unique_ptr<int>& p) { return p == nullptr; }));
}

struct NoDefault {
  explicit NoDefault(int v) : value(v) {}
  int value;
};
static_assert(std::default_initializable<AdaptiveLock<Sixteen>> && std::default_initializable<AdaptiveLock<int>>);
static_assert(!std::default_initializable<AdaptiveLock<NoDefault>>);
TEST(AdaptiveLockTest, ValuesNeedNoDefault) {
  AdaptiveLock<NoDefault> lock(NoDefault(4));
  EXPECT_EQ(lock.Load().value, 4);
}

struct ThrowsWhenCopied {
  ThrowsWhenCopied() = default;
  ThrowsWhenCopied(const ThrowsWhenCopied&) { throw std::runtime_error("copy"); }
  ThrowsWhenCopied(ThrowsWhenCopied&&) = default;
  ThrowsWhenCopied& operator=(ThrowsWhenCopied&&) = default;
};
TEST(AdaptiveLockTest, LoadThatThrowsLeavesTheLockFree) {
  AdaptiveLock<ThrowsWhenCopied> lock;
  EXPECT_THROW(static_cast<void>(lock.Load()), std::runtime_error);
  lock.Store(ThrowsWhenCopied());
  lock.With([](ThrowsWhenCopied&) {});
}

// Its destructor uses the lock that holds it.
struct LooksBack {
  AdaptiveLock<std::shared_ptr<LooksBack>>* home;
  int* destroyed;
  ~LooksBack() {
    home->With([](auto&) {});
    ++*destroyed;
  }
};
TEST(AdaptiveLockTest, StoreDestroysTheOldValueAfterTheLockIsFree) {
  AdaptiveLock<std::shared_ptr<LooksBack>> lock;
  int destroyed = 0;
  lock.Store(std::shared_ptr<LooksBack>(new LooksBack{&lock, &destroyed}));
  lock.Store(nullptr);
  EXPECT_EQ(destroyed, 1);
}

TEST(AdaptiveLockTest, NeverAllocates) {
  AdaptiveLock<Sixteen> warm_up;
  warm_up.Store({});  // a thread's first use takes a ThreadIndex
  const bench::HeapMark mark;
  {
    AdaptiveLock<Sixteen> locked;
    AdaptiveLock<uint64_t> atomic;
    locked.Store({1, 2});
    locked.With([](Sixteen& s) { ++s.left; });
    atomic.FetchAdd(locked.Load().left);
    bench::Escape(locked);
    bench::Escape(atomic);
  }
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

// ---- Counts ----

TEST(AdaptiveLockTest, UncontendedCostsAreAsPromised) {
  BasicAdaptiveLock<uint64_t, CountingSync<>> atomic;
  BasicAdaptiveLock<Sixteen, CountingSync<>> locked;
  const auto cost = [](auto f) {
    const SyncCounts counts = CountingSync<>::CountsOf(f);
    return std::pair(counts.rmws, counts.stores);
  };
  using Cost = std::pair<uint64_t, uint64_t>;
  EXPECT_EQ(cost([&] { static_cast<void>(atomic.Load()); }), Cost(0, 0));
  EXPECT_EQ(cost([&] { atomic.Store(1); }), Cost(0, 1));
  EXPECT_EQ(cost([&] { atomic.FetchAdd(1); }), Cost(1, 0));
  EXPECT_EQ(cost([&] { atomic.With([](uint64_t& v) { ++v; }); }), Cost(1, 0));
  EXPECT_EQ(cost([&] { static_cast<void>(locked.Load()); }), Cost(2, 2)) << "lock, unlock; the owner's mark, twice";
  EXPECT_EQ(cost([&] { locked.With([](Sixteen& s) { ++s.left; }); }), Cost(2, 2));
}

// ---- The example of the header ----

TEST(AdaptiveLockTest, KeepsAQueueAndItsLength) {
  AdaptiveLock<std::deque<int>> jobs;  // a lock
  AdaptiveLock<uint32_t> waiting;      // an atomic
  std::thread producer([&] {
    for (int i = 0; i < 100; ++i) {
      jobs.With([&](std::deque<int>& q) { q.push_back(i); });
      waiting.FetchAdd(1);
    }
  });
  producer.join();
  EXPECT_EQ(waiting.Load(), jobs.With(&std::deque<int>::size));
}

}  // namespace
}  // namespace hotpath
