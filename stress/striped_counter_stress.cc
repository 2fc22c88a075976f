#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/striped_counter.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

template <class Policy, uint32_t kInline>
struct Case {
  using Sync = Policy;
  using Counter = BasicStripedCounter<StripedCounterOptions{.inline_cells = kInline}, Policy>;
};

template <class C>
struct StripedCounterStress : testing::Test {};
using Cases = testing::Types<Case<StdSync, 8>, Case<StdSync, 1>, Case<ChaosSync, 8>, Case<ChaosSync, 1>>;
TYPED_TEST_SUITE(StripedCounterStress, Cases);

// Writers say what they are going to add before and what they have added after; a total lies between the two, as both
// were before and after it.
TYPED_TEST(StripedCounterStress, ATotalHasWhatWasAddedBeforeAndNothingTwice) {
  typename TypeParam::Counter counter;
  std::atomic<int64_t> started{0}, finished{0};

  Storm storm;
  storm.Crowd(3, [&](Rng& rng) {
    const auto amount = static_cast<int64_t>(rng.Below(1000));
    started.fetch_add(amount, std::memory_order::seq_cst);
    counter.Add(amount);
    finished.fetch_add(amount, std::memory_order::release);
  });
  storm.Crowd(2, [&](Rng& rng) {
    const int64_t at_least = finished.load(std::memory_order::acquire);
    const bool exact = rng.OneIn(2);
    const int64_t total = exact ? counter.ExactTotal() : counter.ApproximateTotal();
    const int64_t at_most = started.load(std::memory_order::seq_cst);
    ASSERT_GE(total, at_least) << "an Add that happened before is missing";
    // From an approximate total it does not follow that what preceded the Adds in it is visible.
    if (exact) ASSERT_LE(total, at_most) << "an Add was counted twice";
    if (total > at_least || total < at_most) storm.Collided();
  });
  storm.MustCollide("a total was taken amid an Add");
  storm.Run();
  EXPECT_EQ(counter.ExactTotal(), finished.load());
  EXPECT_EQ(counter.ApproximateTotal(), finished.load());
}

// Threads come and go while others add, so that cells change hands and new ones are made all the time.
TYPED_TEST(StripedCounterStress, NothingIsLostWhenThreadsEnd) {
  Storm storm;
  storm.Crowd(2, [&](Rng& rng) {
    typename TypeParam::Counter counter;  // new each time: so are its cells
    std::array<std::atomic<uint32_t>, 2> first{};
    int64_t expected = 0;
    for (int generation = 0; generation < 2; ++generation) {
      std::vector<std::jthread> threads;
      const auto n = static_cast<int64_t>(1 + rng.Below(4));
      for (int64_t t = 0; t < n; ++t) {
        threads.emplace_back([&counter, &first, generation] {
          first[static_cast<size_t>(generation)].fetch_or(1u << TypeParam::Sync::ThreadIndex() % 32);
          for (int i = 0; i < 50; ++i) counter.Add(1);
        });
      }
      expected += 50 * n;
    }
    ASSERT_EQ(counter.ExactTotal(), expected);
    if ((first[0].load() & first[1].load()) != 0) storm.Collided();
  });
  storm.MustCollide("a cell went to another thread");
  storm.Run();
}

// What was done before an Add is seen by who sees it counted: each writer fills in its page before it counts it.
TYPED_TEST(StripedCounterStress, AnExactTotalAcquiresWhatItCounts) {
  static constexpr size_t kWriters = 3;
  std::atomic<uint64_t> rounds{0};
  Storm storm;
  storm.Crowd(1, [&](Rng&) {
    typename TypeParam::Counter counter;
    std::array<uint64_t, kWriters> pages{};  // not atomic: only the total orders them
    std::vector<std::jthread> writers;
    for (size_t w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        pages[w] = w + 1;
        counter.Add(1);
      });
    }
    SpinWait<> wait;
    while (counter.ExactTotal() != int64_t{kWriters}) {
      storm.Collided();
      wait();
    }
    for (size_t w = 0; w < kWriters; ++w) ASSERT_EQ(pages[w], w + 1);
    rounds.fetch_add(1, std::memory_order::relaxed);
  });
  storm.MustCollide("a total was taken before the writers were done");
  storm.Run();
  EXPECT_GT(rounds.load(), 0u);
}

// HOTPATH_STRESS_OPERATIONS: 1'000'000'000 at night.
TEST(StripedCounterConservationStress, TenMillionAddsAreAllCounted) {
  const char* text = std::getenv("HOTPATH_STRESS_OPERATIONS");
  const int64_t operations = text == nullptr ? 10'000'000 : std::strtoll(text, nullptr, 10);
  constexpr int64_t kThreads = 4;
  StripedCounter counter;
  {
    std::vector<std::jthread> threads;
    for (int64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int64_t i = 0; i < operations / kThreads; ++i) counter.Add(i % 7 - 2);
      });
    }
  }
  int64_t expected = 0;
  for (int64_t i = 0; i < operations / kThreads; ++i) expected += i % 7 - 2;
  EXPECT_EQ(counter.ExactTotal(), kThreads * expected);
}

}  // namespace
}  // namespace hotpath::stress
