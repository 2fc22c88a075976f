#include "hotpath/core/rcu_cell.h"

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath {
namespace {

using bench::HeapCount;
using bench::HeapFailure;
using bench::HeapMark;

void WaitFor(const std::atomic<int>& step, int value) {
  for (SpinWait<> wait; step.load() < value;) wait();
}

// Counts the living.
struct Counted {
  explicit Counted(std::atomic<int>& alive, int number = 0) : alive(&alive), number(number) { alive.fetch_add(1); }
  Counted(Counted&& other) noexcept : Counted(*other.alive, std::exchange(other.number, -1)) {}
  ~Counted() { alive->fetch_sub(1); }
  std::atomic<int>* alive;
  int number;
};

// ---- What compiles ----

template <class T>
concept HasCell = requires { typename RcuCell<T>; };
static_assert(HasCell<int> && HasCell<std::string> && HasCell<std::unique_ptr<int>> && HasCell<Counted>);
static_assert(!HasCell<const int> && !HasCell<int&> && !HasCell<int[3]> && !HasCell<void> && !HasCell<void()>);
static_assert(!HasCell<std::atomic<int>>, "not movable");
static_assert(!std::copy_constructible<RcuCell<int>> && !std::movable<RcuCell<int>>);
static_assert(std::movable<RcuCell<int>::Snapshot> && !std::copy_constructible<RcuCell<int>::Snapshot>);
static_assert(std::same_as<decltype(*std::declval<RcuCell<int>::Snapshot>()), const int&>);

template <class F>
concept Updates = requires(RcuCell<std::string> cell, F f) { cell.Update(f); };
static_assert(Updates<std::string (*)(const std::string&)> && Updates<const char* (*)(std::string)>);
static_assert(!Updates<void (*)(const std::string&)> && !Updates<std::string (*)(std::string&)>);
static_assert(!Updates<std::string (*)()>);

// ---- Reads and writes ----

struct Config {
  std::string name;
  std::vector<int> limits;
};

TEST(RcuCellTest, ReadersSeeOneConfigurationWhileAnotherReplacesIt) {
  RcuCell<Config> config(Config{"first", {1, 2, 3}});
  const RcuCell<Config>::Snapshot snapshot = config.Load();
  std::thread([&] {
    config.Update([](const Config& old) {
      Config next = old;
      next.name = "second";
      next.limits.push_back(4);
      return next;
    });
  }).join();
  EXPECT_EQ(snapshot->name, "first");
  EXPECT_EQ(snapshot.get()->limits.size(), 3u);
  EXPECT_EQ((*config.Load()).name, "second");
  EXPECT_EQ(config.Read([](const Config& now) { return now.limits.size(); }), 4u);
}

template <size_t kBytes>
void KeepsEveryByte() {
  using Bytes = std::array<unsigned char, kBytes>;
  const auto bytes = [](unsigned char seed) {
    Bytes made;
    for (size_t i = 0; i < kBytes; ++i) made[i] = static_cast<unsigned char>(seed + i * 7);
    return made;
  };
  EpochDomain domain;
  RcuCell<Bytes> cell(bytes(1), domain);
  EXPECT_EQ(*cell.Load(), bytes(1));
  cell.Store(bytes(2));
  EXPECT_EQ(*cell.Load(), bytes(2));
  EXPECT_EQ(*cell.Exchange(bytes(3)), bytes(2));
  EXPECT_EQ(*cell.LoadShared(), bytes(3));
}
TEST(RcuCellTest, ValuesOfEverySizeKeepEveryByte) {
  KeepsEveryByte<1>();
  KeepsEveryByte<7>();
  KeepsEveryByte<8>();
  KeepsEveryByte<9>();
  KeepsEveryByte<12>();
  KeepsEveryByte<24>();
  KeepsEveryByte<63>();
  KeepsEveryByte<64>();
  KeepsEveryByte<65>();
  KeepsEveryByte<256>();
  KeepsEveryByte<4096>();
}

TEST(RcuCellTest, OverAlignedAndEmptyValuesLieWhereTheyMust) {
  struct alignas(256) Wide {
    char c = 'w';
  };
  struct Empty {};
  EpochDomain domain;
  RcuCell<Wide> wide(Wide{}, domain);
  for (int i = 0; i < 10; ++i) {
    wide.Store(Wide{});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(wide.Load().get()) % 256, 0u);
  }
  RcuCell<Empty> empty(Empty{}, domain);
  empty.Store(Empty{});
  EXPECT_NE(empty.Load().get(), nullptr);
}

TEST(RcuCellTest, MoveOnlyValuesAreMovedInAndNeverCopied) {
  EpochDomain domain;
  RcuCell<std::unique_ptr<int>> cell(std::make_unique<int>(1), domain);
  EXPECT_EQ(**cell.Load(), 1);
  cell.Store(std::make_unique<int>(2));
  cell.Update([](const std::unique_ptr<int>& old) { return std::make_unique<int>(*old + 1); });
  EXPECT_EQ(**cell.LoadShared(), 3);
  EXPECT_TRUE(cell.CompareAndStore(cell.Load(), nullptr));
  EXPECT_EQ(*cell.Load(), nullptr);
}

TEST(RcuCellTest, ReadReturnsWhatTheFunctionReturns) {
  EpochDomain domain;
  RcuCell<int> cell(7, domain);
  static int elsewhere = 5;
  static_assert(std::same_as<decltype(cell.Read([](const int&) -> int& { return elsewhere; })), int&>);
  EXPECT_EQ(&cell.Read([](const int&) -> int& { return elsewhere; }), &elsewhere);
  cell.Read([&](const int& value) {
    EXPECT_EQ(value, 7);
    EXPECT_TRUE(domain.IsPinned());
  });
  EXPECT_FALSE(domain.IsPinned());
  EXPECT_THROW(cell.Read([](const int&) -> int { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_FALSE(domain.IsPinned());
}

TEST(RcuCellTest, SelfReplacementAndReadsInsideUpdateWork) {
  EpochDomain domain;
  RcuCell<std::string> cell("a", domain);
  cell.Store(*cell.Load());
  EXPECT_EQ(*cell.Load(), "a");
  cell.Update([&](const std::string& old) { return old + *cell.Load() + *cell.LoadShared(); });
  EXPECT_EQ(*cell.Load(), "aaa");
}

TEST(RcuCellTest, CompareAndStoreReplacesOnlyWhatWasSeen) {
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  const auto seen = cell.Load();
  EXPECT_TRUE(cell.CompareAndStore(seen, 2));
  EXPECT_FALSE(cell.CompareAndStore(seen, 3)) << "1 is no more";
  EXPECT_EQ(*cell.Load(), 2);
  cell.Store(1);
  EXPECT_FALSE(cell.CompareAndStore(seen, 4)) << "an equal value is not the same one";
  EXPECT_EQ(*cell.Load(), 1);
  EXPECT_EQ(*seen, 1);
}

TEST(RcuCellTest, SnapshotsAreMovedAndAssigned) {
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  auto a = cell.Load();
  cell.Store(2);
  auto b = cell.Load();
  b = std::move(a);
  EXPECT_EQ(*b, 1);
  a = cell.Load();
  EXPECT_EQ(*a, 2);
  EXPECT_TRUE(domain.IsPinned());
}

// ---- Exceptions ----

TEST(RcuCellTest, UpdateThatThrowsReplacesNothingAndLetsTheNextIn) {
  std::atomic<int> alive{0};
  EpochDomain domain;
  RcuCell<Counted> cell(Counted(alive, 1), domain);
  EXPECT_THROW(cell.Update([](const Counted&) -> Counted { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_EQ(cell.Load()->number, 1);
  EXPECT_EQ(alive.load(), 1);
  cell.Update([&](const Counted& old) { return Counted(alive, old.number + 1); });
  EXPECT_EQ(cell.Load()->number, 2);
}

TEST(RcuCellTest, ValueWhoseMoveThrowsLeavesTheOldOne) {
  struct Throws {
    explicit Throws(bool armed) : armed(armed) {}
    Throws(Throws&& other) : armed(false) {  // NOLINT(performance-noexcept-move-constructor)
      if (other.armed) throw std::runtime_error("move");
    }
    bool armed;
  };
  EpochDomain domain;
  RcuCell<Throws> cell(Throws(false), domain);
  const Throws* before = cell.Load().get();
  EXPECT_THROW(cell.Store(Throws(true)), std::runtime_error);
  EXPECT_THROW(cell.Exchange(Throws(true)), std::runtime_error);
  EXPECT_THROW(cell.CompareAndStore(cell.Load(), Throws(true)), std::runtime_error);
  EXPECT_EQ(cell.Load().get(), before);
  EXPECT_THROW(RcuCell<Throws>(Throws(true), domain), std::runtime_error);
}

TEST(RcuCellTest, WriteWithoutMemoryChangesNothing) {
  if (!HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  for (uint64_t successes = 0; successes < 2; ++successes) {
    const HeapFailure failure(successes);
    EXPECT_THROW(cell.Store(2), std::bad_alloc);
    if (successes == 0) continue;
    EXPECT_THROW(static_cast<void>(cell.Update([](int) { return 2; })), std::bad_alloc);
  }
  EXPECT_EQ(*cell.Load(), 1);
  cell.Store(3);
  EXPECT_EQ(*cell.Load(), 3);
}

// ---- What it costs ----

TEST(RcuCellTest, ReadsAllocateNothingAndWritesOnce) {
  EpochDomain domain;
  RcuCell<uint64_t> cell(1, domain);
  cell.Store(2);
  domain.TryReclaim();
  {
    const HeapMark mark;
    const uint64_t sum = *cell.Load() + cell.Read([](uint64_t value) { return value; }) + *cell.LoadShared();
    const HeapCount count = mark.Since();
    EXPECT_EQ(count, HeapCount{});
    EXPECT_EQ(sum, 6u);
  }
  const HeapMark mark;
  cell.Store(3);
  domain.TryReclaim();
  const HeapCount count = mark.Since();
  EXPECT_EQ(count.allocations, 1u);
  EXPECT_EQ(count.frees, 1u);
}

TEST(RcuCellTest, ReadsTouchNoReferenceCount) {
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  const std::shared_ptr<const int> shared = cell.LoadShared();
  const auto count = shared.use_count();
  {
    const auto a = cell.Load(), b = cell.Load();
    EXPECT_EQ(shared.use_count(), count);
    const auto another = cell.LoadShared();
    EXPECT_EQ(shared.use_count(), count + 1);
    EXPECT_EQ(another.get(), a.get()) << "the value itself, not a copy";
  }
}

// ---- Life ----

TEST(RcuCellTest, EveryValueEndsOnceAndInItsTime) {
  std::atomic<int> alive{0};
  {
    EpochDomain domain;
    {
      RcuCell<Counted> cell(Counted(alive, 0), domain);
      for (int i = 1; i <= 100; ++i) cell.Store(Counted(alive, i));
      domain.TryReclaim();
      EXPECT_EQ(alive.load(), 1);
      const auto snapshot = cell.Load();
      cell.Store(Counted(alive, 101));
      domain.TryReclaim();
      EXPECT_EQ(alive.load(), 2) << "the Snapshot keeps one";
      EXPECT_EQ(snapshot->number, 100);
    }
    domain.TryReclaim();
    EXPECT_EQ(alive.load(), 0);
    const RcuCell<Counted> unused(Counted(alive, 7), domain);
  }
  EXPECT_EQ(alive.load(), 0);
}

TEST(RcuCellTest, SharedValuesOutliveCellDomainAndThreads) {
  std::atomic<int> alive{0};
  std::shared_ptr<const Counted> first, second, third;
  {
    EpochDomain domain;
    RcuCell<Counted> cell(Counted(alive, 1), domain);
    std::thread([&] { first = cell.LoadShared(); }).join();
    second = cell.Exchange(Counted(alive, 2));
    cell.Store(Counted(alive, 3));
    third = cell.LoadShared();
    domain.TryReclaim();
    EXPECT_EQ(first.get(), second.get());
  }
  EXPECT_EQ(alive.load(), 2);
  EXPECT_EQ(first->number, 1);
  EXPECT_EQ(third->number, 3);
  first.reset();
  EXPECT_EQ(alive.load(), 2);
  second.reset();
  third.reset();
  EXPECT_EQ(alive.load(), 0);
}

TEST(RcuCellTest, SnapshotOutlivesItsCell) {
  std::atomic<int> alive{0};
  EpochDomain domain;
  std::optional<RcuCell<Counted>> cell(std::in_place, Counted(alive, 5), domain);
  {
    const auto snapshot = cell->Load();
    cell.reset();
    domain.TryReclaim();
    EXPECT_EQ(snapshot->number, 5);
  }
  domain.TryReclaim();
  EXPECT_EQ(alive.load(), 0);
}

TEST(RcuCellTest, CellsOfTheDefaultDomainNeedNoOther) {
  RcuCell<std::string> cell("x");
  cell.Store("y");
  EXPECT_EQ(*cell.Load(), "y");
  EXPECT_GE(EpochDomain::Default().Stats().pending + EpochDomain::Default().Stats().reclaimed, 1u);
}

// ---- Mistakes of the caller ----

TEST(RcuCellDeathTest, WritingTheCellInsideItsUpdateIsACheck) {
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  EXPECT_DEATH(cell.Update([&](int old) {
    cell.Store(2);
    return old;
  }),
               "this thread holds this lock already");
}

// The death test forks while the other thread is in its make.
TEST(RcuCellDeathTest, WritingAfterAForkAmidAnothersWriteIsACheck) {
  EpochDomain domain;
  RcuCell<int> cell(1, domain);
  std::atomic<int> step{0};
  std::thread writer([&] {
    cell.Update([&](int old) {
      step.store(1);
      WaitFor(step, 2);
      return old + 1;
    });
  });
  WaitFor(step, 1);
  EXPECT_EQ(*cell.Load(), 1);
  EXPECT_DEATH(cell.Store(3), "did not survive fork");
  step.store(2);
  writer.join();
  EXPECT_EQ(*cell.Load(), 2);
}

TEST(RcuCellTest, AnotherCellMayBeWrittenInsideAnUpdate) {
  EpochDomain domain;
  RcuCell<int> a(1, domain), b(1, domain);
  a.Update([&](int old) {
    b.Store(old + 1);
    return old + 2;
  });
  EXPECT_EQ(*a.Load(), 3);
  EXPECT_EQ(*b.Load(), 2);
}

// ---- A domain that is full ----

// The other thread is pinned and waits for the lock of `a`: what is retired under that lock must not wait for it.
TEST(RcuCellTest, AnUpdateThatWritesAnotherCellWaitsForNobodyWhoWaitsForIt) {
  EpochDomain domain(EpochOptions{.max_pending = 1});
  RcuCell<int> a(1, domain), b(1, domain);
  std::atomic<int> step{0};
  std::thread pinned([&] {
    const auto seen = a.Load();
    step.store(1);
    WaitFor(step, 2);
    a.CompareAndStore(seen, 10);
  });
  WaitFor(step, 1);
  a.Update([&](int old) {
    step.store(2);
    for (int i = 0; i < 8; ++i) b.Store(i);
    return old + 1;
  });
  pinned.join();
  EXPECT_EQ(*b.Load(), 7);
  domain.Synchronize();
  EXPECT_EQ(domain.Stats().pending, 0u);
}

TEST(RcuCellTest, GarbageIsBoundedWhileAReaderIsStalledThroughout) {
  constexpr size_t kMaxPending = 16;
  std::atomic<int> alive{0};
  EpochDomain domain(EpochOptions{.max_pending = kMaxPending});
  RcuCell<Counted> cell(Counted(alive, 0), domain);
  std::optional stalled = cell.Load();
  std::thread writer([&] {
    for (int i = 1; i <= 1'000; ++i) cell.Store(Counted(alive, i));
  });
  for (SpinWait<> wait; domain.Stats().waits == 0;) wait();
  EXPECT_EQ(domain.Stats().pending, kMaxPending);
  EXPECT_LE(alive.load(), static_cast<int>(kMaxPending) + 3) << "and the value, the one it replaced, the argument";
  EXPECT_EQ((*stalled)->number, 0);
  EXPECT_EQ(cell.Load()->number, static_cast<int>(kMaxPending) + 1) << "readers go on";
  EXPECT_TRUE(cell.CompareAndStore(cell.Load(), Counted(alive, 2'000))) << "and so do writers who are pinned";
  EXPECT_GE(domain.Stats().over_limit, 1u);
  stalled.reset();
  writer.join();
  EXPECT_EQ(cell.Load()->number, 1'000);
  domain.Synchronize();
  EXPECT_EQ(alive.load(), 1);
}

}  // namespace
}  // namespace hotpath
