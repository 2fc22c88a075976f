#include "hotpath/core/striped_counter.h"

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <limits>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// ---- What may be instantiated, and what it costs ----

template <uint32_t kInline>
concept HasCounter = requires { typename BasicStripedCounter<StripedCounterOptions{.inline_cells = kInline}>; };
static_assert(HasCounter<1> && HasCounter<8> && HasCounter<64>);
static_assert(!HasCounter<0> && !HasCounter<3>, "a power of two");

static_assert(std::is_nothrow_default_constructible_v<StripedCounter>);
static_assert(!std::copyable<StripedCounter> && !std::movable<StripedCounter>);
static_assert(noexcept(std::declval<StripedCounter&>().Add(1)) &&
              noexcept(std::declval<const StripedCounter&>().ApproximateTotal()) &&
              noexcept(std::declval<const StripedCounter&>().ExactTotal()));
static_assert(sizeof(StripedCounter) == 9 * kCacheLineSize);
static_assert(alignof(StripedCounter) == kCacheLineSize);

// Needs no dynamic initialisation.
constinit StripedCounter g_counter;

TEST(StripedCounterTest, AGlobalStartsAtZero) {
  EXPECT_EQ(g_counter.ApproximateTotal(), 0);
  EXPECT_EQ(g_counter.ExactTotal(), 0);
}

TEST(StripedCounterTest, CountsUpAndDown) {
  StripedCounter counter;
  counter.Add(5);
  counter.Add(-7);
  counter.Add(0);
  EXPECT_EQ(counter.ApproximateTotal(), -2);
  EXPECT_EQ(counter.ExactTotal(), -2);
}

TEST(StripedCounterTest, WrapsModulo2To64) {
  StripedCounter counter;
  counter.Add(kMax);
  counter.Add(1);
  EXPECT_EQ(counter.ExactTotal(), kMin);
  counter.Add(kMin);
  EXPECT_EQ(counter.ExactTotal(), 0);
  std::thread([&] { counter.Add(kMin); }).join();
  counter.Add(-1);
  EXPECT_EQ(counter.ExactTotal(), kMax) << "across cells, too";
}

TEST(StripedCounterTest, CountsWhatManyThreadsDo) {
  StripedCounter requests;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10'000; ++i) requests.Add(1);
      });
    }
  }
  EXPECT_EQ(requests.ExactTotal(), 40'000);
}

// ---- Threads that come and go ----

TEST(StripedCounterTest, WhatAThreadAddedStaysWhenItEnds) {
  StripedCounter counter;
  for (int i = 1; i <= 200; ++i) {
    std::thread([&] { counter.Add(1); }).join();
    ASSERT_EQ(counter.ExactTotal(), i);
  }
}

// Runs f on `n` threads, all of which live at once.
template <class F>
void OnThreadsAtOnce(int n, F f) {
  std::latch all_live(n);
  std::vector<std::jthread> threads;
  for (int t = 0; t < n; ++t) {
    threads.emplace_back([&, t] {
      static_cast<void>(StdSync::ThreadIndex());
      all_live.arrive_and_wait();
      f(t);
    });
  }
}

TEST(StripedCounterTest, HasACellForEachOfManyThreads) {
  for (const int n : {1, 7, 8, 9, 15, 16, 17, 33, 64, 65, 150}) {
    StripedCounter counter;
    OnThreadsAtOnce(n, [&](int t) {
      for (int i = 0; i < 100; ++i) counter.Add(t);
    });
    EXPECT_EQ(counter.ApproximateTotal(), int64_t{100} * n * (n - 1) / 2) << n;
    EXPECT_EQ(counter.ExactTotal(), int64_t{100} * n * (n - 1) / 2) << n;
  }
}

// A cell that two threads wrote would lose Adds: this has every thread add alone to what must be its own.
TEST(StripedCounterTest, NoTwoLivingThreadsShareACell) {
  StripedCounter counter;
  std::atomic<int> turn{0};
  OnThreadsAtOnce(40, [&](int t) {
    for (SpinWait<> wait; turn.load() != t;) wait();
    const int64_t before = counter.ExactTotal();
    for (int i = 0; i < 10; ++i) counter.Add(1);
    EXPECT_EQ(counter.ExactTotal(), before + 10);
    turn.store(t + 1);
  });
  EXPECT_EQ(counter.ExactTotal(), 400);
}

struct AtTeardown {
  ~AtTeardown() {
    if (counter != nullptr) counter->Add(1);
  }
  StripedCounter* counter = nullptr;
};

TEST(StripedCounterTest, AddsDuringThreadTeardownCount) {
  StripedCounter counter;
  std::thread([&] {
    thread_local AtTeardown last;
    last.counter = &counter;
    counter.Add(1);
  }).join();
  EXPECT_EQ(counter.ExactTotal(), 2);
}

// ---- Memory ----

TEST(StripedCounterTest, AllocatesNothingForTheThreadsWithACellInTheObject) {
  ASSERT_LT(StdSync::ThreadIndex(), 8u);
  const bench::HeapMark mark;
  {
    StripedCounter counter;
    counter.Add(1);
    bench::Escape(counter.ExactTotal());
  }
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

TEST(StripedCounterTest, MemoryIsAtMostTwoLinesForEachThreadThatLivedAtOnce) {
  constexpr int kThreads = 100;
  const bench::HeapCount before = bench::HeapCount::NowOfAllThreads();
  uint64_t bytes = 0;
  {
    StripedCounter counter;
    std::atomic<int> turn{0};
    OnThreadsAtOnce(kThreads, [&](int t) {
      for (SpinWait<> wait; turn.load() != t;) wait();
      const bench::HeapMark mark;
      counter.Add(1);
      counter.Add(1);
      bytes += mark.Since().bytes;
      turn.store(t + 1);
    });
    // The test's own thread has an index, too.
    EXPECT_LE(bytes, (kThreads + 1) * 2 * kCacheLineSize + 8 * kCacheLineSize);
    EXPECT_GT(bytes, 0u);
    EXPECT_EQ(counter.ExactTotal(), 2 * kThreads);
  }
  const bench::HeapCount all = bench::HeapCount::NowOfAllThreads() - before;
  EXPECT_EQ(all.allocations, all.frees) << "the cells go with the counter";
}

TEST(StripedCounterTest, WithoutMemoryItCountsAllTheSameAndAsksAgain) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  BasicStripedCounter<StripedCounterOptions{.inline_cells = 1}> counter;
  ASSERT_EQ(StdSync::ThreadIndex(), 0u) << "this thread has the cell in the object";
  counter.Add(1);
  std::thread([&] {
    static_cast<void>(StdSync::ThreadIndex());
    {
      const bench::HeapFailure no_memory;
      counter.Add(10);
      counter.Add(10);
    }
    EXPECT_EQ(counter.ExactTotal(), 21);
    const bench::HeapMark mark;
    counter.Add(100);
    EXPECT_EQ(mark.Since().allocations, 1u) << "there is memory now";
    counter.Add(100);
    EXPECT_EQ(mark.Since().allocations, 1u);
  }).join();
  EXPECT_EQ(counter.ApproximateTotal(), 221);
  EXPECT_EQ(counter.ExactTotal(), 221);
}

TEST(StripedCounterDeathTest, TheChildOfAForkKeepsTheTotalAndCountsOn) {
  StripedCounter counter;
  counter.Add(1);
  std::atomic<bool> added{false}, end{false};
  std::thread other([&] {  // does not survive into the child
    counter.Add(10);
    added.store(true);
    for (SpinWait<> wait; !end.load();) wait();
  });
  for (SpinWait<> wait; !added.load();) wait();
  EXPECT_EXIT(
      {
        counter.Add(2);
        _exit(static_cast<int>(counter.ExactTotal()));
      },
      testing::ExitedWithCode(13), "");
  end.store(true);
  other.join();
  EXPECT_EQ(counter.ExactTotal(), 11) << "the child's cells are its own";
}

TEST(StripedCounterDeathTest, ThreadsOfTheChildOfAForkCountToo) {
  StripedCounter counter;
  std::thread([&] { counter.Add(1); }).join();
  EXPECT_EXIT(
      {
        std::thread([&] { counter.Add(20); }).join();
        _exit(static_cast<int>(counter.ExactTotal()));
      },
      testing::ExitedWithCode(21), "");
  EXPECT_EQ(counter.ExactTotal(), 1);
}

TEST(StripedCounterDeathTest, AGlobalThatLastsMayBeAddedToWhileTheProcessExits) {
  EXPECT_EXIT(
      {
        static auto& counter = *new StripedCounter;
        std::latch adding(12);
        for (int i = 0; i < 12; ++i) {
          std::thread([&adding] {
            static_cast<void>(StdSync::ThreadIndex());
            counter.Add(1);
            adding.count_down();
            for (SpinWait<> wait;; wait()) counter.Add(1);
          }).detach();
        }
        adding.wait();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

// ---- What it costs, counted ----

using Counting = CountingSync<>;

TEST(StripedCounterCostTest, AnAddIsOneLoadAndOneStoreAndNoRmw) {
  BasicStripedCounter<StripedCounterOptions{}, Counting> counter;
  EXPECT_EQ(Counting::CountsOf([&] { counter.Add(1); }), (SyncCounts{.loads = 1, .stores = 1}));
  EXPECT_EQ(Counting::CountsOf([&] { counter.Add(-1); }), (SyncCounts{.loads = 1, .stores = 1}));
}

TEST(StripedCounterCostTest, ATotalReadsEveryCellThatWasMadeOnceAndWritesNothing) {
  BasicStripedCounter<StripedCounterOptions{}, Counting> counter;
  counter.Add(1);
  const SyncCounts few{.loads = 8 + 2};  // cells; whether there are more; and the cell that is shared without memory
  EXPECT_EQ(Counting::CountsOf([&] { static_cast<void>(counter.ApproximateTotal()); }), few);
  EXPECT_EQ(Counting::CountsOf([&] { static_cast<void>(counter.ExactTotal()); }), few);
  OnThreadsAtOnce(12, [&](int) { counter.Add(1); });
  const SyncCounts more{.loads = 16 + 3};
  EXPECT_EQ(Counting::CountsOf([&] { EXPECT_EQ(counter.ApproximateTotal(), 13); }), more);
  EXPECT_EQ(Counting::CountsOf([&] { EXPECT_EQ(counter.ExactTotal(), 13); }), more);
}

}  // namespace
}  // namespace hotpath
