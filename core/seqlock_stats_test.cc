#include "hotpath/core/seqlock_stats.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

struct Counters {
  uint64_t hits = 0, misses = 0;
  bool operator==(const Counters&) const = default;
  void Hit() { ++hits; }
};

// ---- What may be instantiated, and what it costs ----

template <class T, uint32_t kSlots = 4>
concept HasStats = requires { typename SeqlockStats<T, SeqlockOptions{.slots = kSlots}>; };

struct WithVirtual {
  virtual ~WithVirtual() = default;
};
struct WithConstMember {
  const int fixed = 0;
};
static_assert(HasStats<Counters> && HasStats<Counters, 1>);
static_assert(HasStats<int> && HasStats<double*> && HasStats<std::array<char, 3>>);
static_assert(!HasStats<Counters, 0>, "a value needs a slot");
static_assert(!HasStats<std::string> && !HasStats<std::unique_ptr<int>> && !HasStats<WithVirtual>);
static_assert(!HasStats<int&> && !HasStats<const int> && !HasStats<int[3]> && !HasStats<WithConstMember>);

template <class T, auto kField>
concept HasAdd = requires(SeqlockStats<T> stats) { stats.template Add<kField>(1); };

struct Fields {
  uint32_t number = 0;
  bool flag = false;
  int* pointer = nullptr;
  double real = 0;
  enum class Color : uint8_t { kRed } color{};
};
static_assert(HasAdd<Fields, &Fields::number> && HasAdd<Fields, &Fields::real>);
static_assert(!HasAdd<Fields, &Fields::flag> && !HasAdd<Fields, &Fields::pointer> && !HasAdd<Fields, &Fields::color>);
static_assert(!HasAdd<Fields, &Counters::hits>, "a field of something else");
static_assert(!HasAdd<Counters, &Counters::Hit>, "a member function");

template <class Edit>
concept IsEdit = requires(SeqlockStats<Counters> stats, Edit edit) { stats.Write(edit); };
static_assert(IsEdit<void (*)(Counters&)> && IsEdit<void (*)(const Counters&)> && IsEdit<void (Counters::*)()>);
static_assert(!IsEdit<void (*)()> && !IsEdit<void (*)(Counters*)> && !IsEdit<void (*)(Counters&&)> && !IsEdit<int>);

struct NoDefault {
  explicit NoDefault(int v) : value(v) {}
  int value;
};
static_assert(std::default_initializable<SeqlockStats<Counters>>);
static_assert(!std::default_initializable<SeqlockStats<NoDefault>>);
static_assert(std::constructible_from<SeqlockStats<NoDefault>, NoDefault>);
static_assert(!std::convertible_to<Counters, SeqlockStats<Counters>>, "the constructor is explicit");
static_assert(!std::copyable<SeqlockStats<Counters>> && !std::movable<SeqlockStats<Counters>>);

using Stats = SeqlockStats<Counters>;
static_assert(noexcept(std::declval<Stats&>().Read()) && noexcept(std::declval<Stats&>().Store(Counters{})) &&
              noexcept(std::declval<Stats&>().Add<&Counters::hits>(1)));
static_assert(noexcept(std::declval<Stats&>().Write([](Counters&) noexcept {})));
static_assert(!noexcept(std::declval<Stats&>().Write([](Counters&) {})));

template <size_t kBytes, size_t kAlign = 1>
struct alignas(kAlign) Bytes {
  std::array<unsigned char, kBytes> b{};
  bool operator==(const Bytes&) const = default;
};

static_assert(sizeof(SeqlockStats<Bytes<64>, SeqlockOptions{.slots = 1}>) == 96);
static_assert(sizeof(SeqlockStats<Bytes<1>, SeqlockOptions{.slots = 1}>) == 32);
static_assert(sizeof(SeqlockStats<Bytes<64>, SeqlockOptions{.slots = 2}>) == 128 + 128 + 2 * 128);
static_assert(sizeof(SeqlockStats<Bytes<256>>) == 128 + 128 + 4 * 384);
static_assert(std::is_trivially_destructible_v<Stats>);
static_assert(std::is_same_v<Stats, SeqlockStats<Counters, SeqlockOptions{}, StdSync>>);

// Globals need no dynamic initialisation.
constinit SeqlockStats<Counters> g_zero;
constinit SeqlockStats<Counters, SeqlockOptions{.slots = 1}> g_preset(Counters{.hits = 3, .misses = 4});
constinit SeqlockStats<Bytes<9>> g_awkward(Bytes<9>{{1, 2, 3, 4, 5, 6, 7, 8, 9}});

TEST(SeqlockStatsTest, GlobalsHoldTheirConstant) {
  EXPECT_EQ(g_zero.Read(), Counters{});
  EXPECT_EQ(g_preset.Read(), (Counters{.hits = 3, .misses = 4}));
  EXPECT_EQ(g_awkward.Read(), (Bytes<9>{{1, 2, 3, 4, 5, 6, 7, 8, 9}}));
}

// ---- Every byte, for every size, alignment and number of slots ----

template <class T, uint32_t kSlots>
struct Case {
  using Value = T;
  static constexpr uint32_t kSlotCount = kSlots;
};

template <class C>
struct SeqlockStatsBytesTest : testing::Test {
  using T = typename C::Value;
  using Cell = SeqlockStats<T, SeqlockOptions{.slots = C::kSlotCount}>;

  static T Pattern(unsigned seed) {
    T value;
    for (size_t i = 0; i < value.b.size(); ++i) value.b[i] = static_cast<unsigned char>(i * 37 + seed * 101 + 1);
    return value;
  }
};

template <class... T>
using WithEverySlotCount = testing::Types<Case<T, 1>..., Case<T, 2>..., Case<T, 3>..., Case<T, 4>...>;
using Cases = WithEverySlotCount<Bytes<1>, Bytes<7>, Bytes<8>, Bytes<9>, Bytes<12, 4>, Bytes<16, 2>, Bytes<24, 8>,
                                 Bytes<63>, Bytes<64>, Bytes<65>, Bytes<256>, Bytes<64, 64>, Bytes<64, 256>>;
TYPED_TEST_SUITE(SeqlockStatsBytesTest, Cases);

TYPED_TEST(SeqlockStatsBytesTest, KeepsEveryByteOfTheInitialValue) {
  const typename TestFixture::Cell cell(this->Pattern(5));
  EXPECT_EQ(cell.Read(), this->Pattern(5));
}

TYPED_TEST(SeqlockStatsBytesTest, KeepsEveryByteThroughAllSlotsTwice) {
  typename TestFixture::Cell cell;
  EXPECT_EQ(cell.Read(), typename TestFixture::T{});
  for (unsigned version = 1; version <= 2 * TypeParam::kSlotCount + 1; ++version) {
    cell.Store(this->Pattern(version));
    EXPECT_EQ(cell.Read(), this->Pattern(version));
    cell.Write([&](auto& value) {
      EXPECT_EQ(value, this->Pattern(version)) << "the copy that an edit starts from";
      EXPECT_EQ(reinterpret_cast<uintptr_t>(&value) % alignof(typename TestFixture::T), 0u);
      value.b.back() = static_cast<unsigned char>(version);
    });
    auto expected = this->Pattern(version);
    expected.b.back() = static_cast<unsigned char>(version);
    typename TestFixture::T seen;
    ASSERT_TRUE(cell.TryRead(seen));
    EXPECT_EQ(seen, expected);
  }
}

TYPED_TEST(SeqlockStatsBytesTest, ReadsNothingFromBesideTheObject) {
  auto cell = std::make_unique<typename TestFixture::Cell>(this->Pattern(1));  // AddressSanitizer guards its ends
  cell->Store(this->Pattern(2));
  EXPECT_EQ(cell->Read(), this->Pattern(2));
}

// A base whose tail padding has a member of the object derived from it, and a member whose has its neighbour.
struct Base5 {
  Base5() {}
  uint32_t a = 0;
  uint8_t b = 0;
};
struct Derived : Base5 {
  uint8_t c = 0;
};
struct Neighbours {
  [[no_unique_address]] Base5 value;
  uint8_t c = 0;
};
static_assert(sizeof(Base5) == 8 && sizeof(Derived) == 8 && sizeof(Neighbours) == 8, "c is in the padding");

template <uint32_t kSlots>
void LeavesTailPaddingAlone() {
  SeqlockStats<Base5, SeqlockOptions{.slots = kSlots}> stats;
  Derived in;
  in.a = 1, in.b = 2, in.c = 3;
  stats.Store(in);
  Derived out;
  out.c = 7;
  ASSERT_TRUE(stats.TryRead(out));
  EXPECT_EQ(out.a, 1u);
  EXPECT_EQ(out.b, 2u);
  EXPECT_EQ(out.c, 7u);
  Neighbours neighbours;
  neighbours.c = 8;
  ASSERT_TRUE(stats.TryRead(neighbours.value));
  EXPECT_EQ(neighbours.value.a, 1u);
  EXPECT_EQ(neighbours.value.b, 2u);
  EXPECT_EQ(neighbours.c, 8u);
}
TEST(SeqlockStatsTest, WritesNothingIntoTheTailPaddingOfWhatItReadsInto) {
  LeavesTailPaddingAlone<1>();
  LeavesTailPaddingAlone<4>();
}

// ---- Write ----

TEST(SeqlockStatsTest, EditMayBeAnythingThatCanBeInvoked) {
  Stats stats;
  stats.Write(&Counters::Hit);
  auto owning = [step = std::make_unique<uint64_t>(10)](Counters& c) mutable { c.hits += *step; };
  stats.Write(owning);
  stats.Write(std::move(owning));
  const std::function<void(Counters&)> erased = [](Counters& c) { c.misses = 7; };
  stats.Write(erased);
  EXPECT_EQ(stats.Read(), (Counters{.hits = 21, .misses = 7}));
}

template <uint32_t kSlots>
void ThrowingEditPublishesNothing() {
  SeqlockStats<Counters, SeqlockOptions{.slots = kSlots}> stats(Counters{.hits = 1});
  for (int i = 0; i < 5; ++i) {
    EXPECT_THROW(stats.Write([](Counters& c) {
      c.hits = 99;
      throw std::runtime_error("no");
    }),
                 std::runtime_error);
    EXPECT_EQ(stats.Read(), Counters{.hits = 1});
  }
  std::thread([&] { stats.Write(&Counters::Hit); }).join();  // the writer lock is free, for any thread
  EXPECT_EQ(stats.Read(), Counters{.hits = 2});
}
TEST(SeqlockStatsTest, ThrowingEditPublishesNothingAndLetsOtherWritersIn) {
  ThrowingEditPublishesNothing<1>();
  ThrowingEditPublishesNothing<2>();
}

template <uint32_t kSlots>
void EditMayReadTheOldValueAndWriteOtherObjects() {
  SeqlockStats<Counters, SeqlockOptions{.slots = kSlots}> stats(Counters{.hits = 1}), other;
  stats.Write([&](Counters& c) {
    c.hits = 2;
    EXPECT_EQ(stats.Read().hits, 1u);
    other.Store(c);
  });
  EXPECT_EQ(stats.Read().hits, 2u);
  EXPECT_EQ(other.Read().hits, 2u);
}
TEST(SeqlockStatsTest, EditMayReadTheOldValueAndWriteOtherObjects) {
  EditMayReadTheOldValueAndWriteOtherObjects<1>();
  EditMayReadTheOldValueAndWriteOtherObjects<2>();
}

TEST(SeqlockStatsDeathTest, EditThatWritesItsOwnObjectIsACheckInEveryBuild) {
  Stats stats;
  EXPECT_DEATH(stats.Write([&](Counters&) { stats.Write(&Counters::Hit); }), "this thread is writing this object");
  EXPECT_DEATH(stats.Write([&](Counters&) { stats.Store(Counters{}); }), "this thread is writing this object");
  EXPECT_DEATH(stats.Write([&](Counters&) { stats.Add<&Counters::hits>(1); }), "this thread is writing this object");
}

// The death test forks while the other thread is inside its edit.
TEST(SeqlockStatsDeathTest, WriteAfterAForkThatLostTheWriterIsACheckAndNotADeadlock) {
  Stats stats;
  std::atomic<bool> inside{false}, leave{false};
  std::thread writer([&] {
    stats.Write([&](Counters&) {
      inside.store(true);
      SpinWait<> wait;
      while (!leave.load()) wait();
    });
  });
  SpinWait<> wait;
  while (!inside.load()) wait();
  EXPECT_DEATH(stats.Store(Counters{}), "did not survive fork");
  leave.store(true);
  writer.join();
}

TEST(SeqlockStatsTest, WriterWaitsForAnotherWriter) {
  Stats stats;
  std::atomic<bool> inside{false}, second_started{false};
  std::thread first([&] {
    stats.Write([&](Counters& c) {
      inside.store(true);
      SpinWait<> wait;
      while (!second_started.load()) wait();
      c.hits = c.hits * 2 + 1;
    });
  });
  SpinWait<> wait;
  while (!inside.load()) wait();
  second_started.store(true);
  stats.Write([](Counters& c) { c.hits = c.hits * 2; });
  first.join();
  EXPECT_EQ(stats.Read().hits, 2u) << "0, then 2 * 0 + 1, then 2 * 1";
}

TEST(SeqlockStatsTest, NeverAllocates) {
  Stats warm_up;
  warm_up.Store(Counters{});  // a thread's first write takes a ThreadIndex
  const bench::HeapMark mark;
  {
    Stats stats;
    stats.Store(Counters{.hits = 1});
    stats.Write(&Counters::Hit);
    stats.Add<&Counters::misses>(1);
    bench::Escape(stats.Read());
    bench::Escape(stats);
  }
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

// ---- Add ----

struct Base {
  int32_t inherited = 5;
};
struct AllKinds : Base {
  uint8_t u8 = 250;
  int8_t i8 = 127;
  uint16_t u16 = 0;
  int16_t i16 = std::numeric_limits<int16_t>::max();
  int32_t i32 = std::numeric_limits<int32_t>::max();
  int64_t i64 = std::numeric_limits<int64_t>::min();
  uint64_t u64 = 0;
  char text = 'a';
  float f = 0.5f;
  double d = 1e9;
  long double ld = 1;
};

template <uint32_t kSlots>
void AddKeepsNeighboursAndWraps() {
  SeqlockStats<AllKinds, SeqlockOptions{.slots = kSlots}> stats;
  stats.template Add<&AllKinds::u8>(10);
  stats.template Add<&AllKinds::i8>(1);
  stats.template Add<&AllKinds::u16>(static_cast<uint16_t>(-1));
  stats.template Add<&AllKinds::i16>(2);
  stats.template Add<&AllKinds::i32>(1);
  stats.template Add<&AllKinds::i64>(-1);
  stats.template Add<&AllKinds::u64>(-3);
  stats.template Add<&AllKinds::text>(2);
  stats.template Add<&AllKinds::f>(0.25f);
  stats.template Add<&AllKinds::d>(-0.5);
  stats.template Add<&AllKinds::ld>(2);
  stats.template Add<&AllKinds::inherited>(-7);
  const AllKinds end = stats.Read();
  EXPECT_EQ(end.u8, 4);
  EXPECT_EQ(end.i8, -128);
  EXPECT_EQ(end.u16, 65535);
  EXPECT_EQ(end.i16, std::numeric_limits<int16_t>::min() + 1);
  EXPECT_EQ(end.i32, std::numeric_limits<int32_t>::min());
  EXPECT_EQ(end.i64, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(end.u64, std::numeric_limits<uint64_t>::max() - 2);
  EXPECT_EQ(end.text, 'c');
  EXPECT_EQ(end.f, 0.75f);
  EXPECT_EQ(end.d, 999'999'999.5);
  EXPECT_EQ(end.ld, 3);
  EXPECT_EQ(end.inherited, -2);
}
TEST(SeqlockStatsTest, AddTakesEveryArithmeticTypeKeepsTheOtherFieldsAndWraps) {
  AddKeepsNeighboursAndWraps<1>();
  AddKeepsNeighboursAndWraps<4>();
}

// ---- The acceptance rule, step by step ----

// Runs a hook once, in the middle of a copy: after a reader took the words, or when a writer has stored half of them.
struct InterruptedSync : StdSync {
  static inline std::function<void()> after_load, amid_store;

  static void Run(std::function<void()>& hook) {
    if (hook) std::exchange(hook, nullptr)();
  }
  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    StdSync::CopyWords<kBytes>(to, from);
    Run(after_load);
  }
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>* to, const void* from) {
    StdSync::CopyWords<kBytes / 16 * 8>(to, from);
    Run(amid_store);
    StdSync::CopyWords<kBytes>(to, from);
  }
};

template <uint32_t kSlots>
using Interrupted = BasicSeqlockStats<Counters, SeqlockOptions{.slots = kSlots}, InterruptedSync>;

// With an even and with an odd version at the start: a reader is refused exactly if slots - 1 writes were published
// since it began, and another began.
template <uint32_t kSlots>
void ReaderIsAcceptedUntilItsSlotIsUsedAgain() {
  for (uint64_t before = 0; before <= 2 * kSlots; ++before) {
    for (uint64_t published = 0; published <= 2 * kSlots; ++published) {
      SCOPED_TRACE(testing::Message() << kSlots << " slots, " << before << " writes before, " << published << " amid");
      Interrupted<kSlots> stats;
      for (uint64_t i = 0; i < before; ++i) stats.Write([](Counters& c) { c = {c.hits + 1, c.misses + 1}; });
      InterruptedSync::after_load = [&] {
        for (uint64_t i = 0; i < published; ++i) stats.Store(Counters{100 + i, 100 + i});
      };
      Counters seen;
      EXPECT_EQ(stats.TryRead(seen), published < kSlots);
      if (published < kSlots) {
        EXPECT_EQ(seen, (Counters{before, before}));
      }
      EXPECT_EQ(stats.Read().hits, published == 0 ? before : 99 + published);
    }
  }
}
TEST(SeqlockStatsTest, ReaderIsAcceptedUntilItsSlotIsUsedAgain) {
  ReaderIsAcceptedUntilItsSlotIsUsedAgain<1>();
  ReaderIsAcceptedUntilItsSlotIsUsedAgain<2>();
  ReaderIsAcceptedUntilItsSlotIsUsedAgain<3>();
  ReaderIsAcceptedUntilItsSlotIsUsedAgain<4>();
}

// A writer stopped half way through its words: with one slot nobody can read, with more everybody reads the old value.
template <uint32_t kSlots>
void WriterStoppedHalfWay() {
  Interrupted<kSlots> stats(Counters{1, 1});
  for (uint64_t version = 2; version < 4 * kSlots; ++version) {
    bool ran = false;
    InterruptedSync::amid_store = [&] {
      ran = true;
      Counters seen;
      EXPECT_EQ(stats.TryRead(seen), kSlots > 1);
      if constexpr (kSlots > 1) {
        EXPECT_EQ(seen, (Counters{version - 1, version - 1}));
        EXPECT_EQ(stats.Read(), seen) << "Read does not wait for a stopped writer";
      }
    };
    stats.Store(Counters{version, version});
    EXPECT_TRUE(ran);
    EXPECT_EQ(stats.Read(), (Counters{version, version}));
  }
}
TEST(SeqlockStatsTest, WriterStoppedHalfWayStopsReadersOfASingleSlotOnly) {
  WriterStoppedHalfWay<1>();
  WriterStoppedHalfWay<2>();
  WriterStoppedHalfWay<3>();
  WriterStoppedHalfWay<4>();
}

// A reader that has begun, and stands on a slot that a stopped writer is filling, is refused, whatever the parity.
template <uint32_t kSlots>
void ReaderOfASlotThatIsBeingFilledIsRefused() {
  for (uint64_t before = 0; before < 2 * kSlots; ++before) {
    Interrupted<kSlots> stats;
    for (uint64_t i = 0; i < before; ++i) stats.Store(Counters{i, i});
    InterruptedSync::after_load = [&] {
      for (uint64_t i = 1; i < kSlots; ++i) stats.Store(Counters{100, 100});
      InterruptedSync::amid_store = [&] {
        Counters seen;
        EXPECT_EQ(stats.TryRead(seen), kSlots > 1)
            << "a reader that begins now has a whole slot, unless it is this one";
      };
      stats.Store(Counters{200, 200});
    };
    Counters seen{7, 8};
    EXPECT_FALSE(stats.TryRead(seen));
    EXPECT_EQ(seen, (Counters{7, 8})) << "it is left as it was";
  }
}
TEST(SeqlockStatsTest, ReaderOfASlotThatIsBeingFilledIsRefused) {
  ReaderOfASlotThatIsBeingFilledIsRefused<1>();
  ReaderOfASlotThatIsBeingFilledIsRefused<2>();
  ReaderOfASlotThatIsBeingFilledIsRefused<3>();
  ReaderOfASlotThatIsBeingFilledIsRefused<4>();
}

// The death test forks while another thread is half way through its words.
TEST(SeqlockStatsDeathTest, ReadOfASingleSlotAfterAForkThatLostTheWriterIsACheckAndNotADeadlock) {
  Interrupted<1> stats;
  std::atomic<bool> amid{false}, leave{false};
  InterruptedSync::amid_store = [&] {
    amid.store(true);
    for (SpinWait<> wait; !leave.load();) wait();
  };
  std::thread writer([&] { stats.Store(Counters{1, 1}); });
  for (SpinWait<> wait; !amid.load();) wait();
  EXPECT_DEATH(static_cast<void>(stats.Read()), "did not survive fork");
  leave.store(true);
  writer.join();
  EXPECT_EQ(stats.Read(), (Counters{1, 1}));
}

TEST(SeqlockStatsTest, RefusedReadTriesAgainAndReturnsTheNewValue) {
  Interrupted<2> stats(Counters{1, 1});
  InterruptedSync::after_load = [&] {
    stats.Store(Counters{2, 2});
    stats.Store(Counters{3, 3});
  };
  EXPECT_EQ(stats.Read(), (Counters{3, 3}));
}

// ---- The example of the header ----

TEST(SeqlockStatsTest, KeepsARunningMean) {
  struct Latency {
    uint64_t calls = 0, total_ns = 0;
  };
  SeqlockStats<Latency> latency;
  for (uint64_t ns : {10, 20, 60}) {
    latency.Write([&](Latency& l) {
      ++l.calls;
      l.total_ns += ns;
    });
  }
  const Latency now = latency.Read();  // both fields of one moment
  EXPECT_EQ(now.total_ns / now.calls, 30u);
}

}  // namespace
}  // namespace hotpath
