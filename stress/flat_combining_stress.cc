#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/flat_combining.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/linearizability.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

template <class Policy, uint32_t kSpins, uint32_t kYields, uint32_t kBudget>
struct Case {
  using Sync = Policy;
  static constexpr FlatCombinerOptions kOptions{kSpins, kYields, kBudget};
  template <class Seq>
  using Combiner = BasicFlatCombiner<Seq, kOptions, Policy>;
  using Counter = flat_combining_internal::Counter<kOptions, Policy>;
};

template <class C>
struct FlatCombiningStress : testing::Test {};
using Cases = testing::Types<Case<StdSync, 64, 2, 64>, Case<ChaosSync, 4, 1, 64>, Case<ChaosSync, 0, 0, 1>>;
TYPED_TEST_SUITE(FlatCombiningStress, Cases);

// A sequential object that only works if it is alone.
struct Ledger {
  std::map<uint64_t, uint64_t> entries;
  uint64_t sum = 0, operations = 0;
};

TYPED_TEST(FlatCombiningStress, EachOperationRunsOnceAloneAndAnswersItsOwnCaller) {
  typename TypeParam::template Combiner<Ledger> combiner;
  std::atomic<uint64_t> calls{0}, added{0}, thrown{0};
  std::atomic<int> inside{0};

  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    const uint64_t key = rng.Below(50), amount = rng.Below(1000);
    const bool throws = rng.OneIn(8), yields = rng.OneIn(16);
    calls.fetch_add(1, std::memory_order::relaxed);
    // The result is a string made of what only this call knows, and long enough to be on the heap.
    const std::string mine = std::to_string(key) + " gets " + std::to_string(amount) + ", says its own caller";
    try {
      const auto answer = combiner.Apply([&](Ledger& ledger) {
        EXPECT_EQ(inside.fetch_add(1, std::memory_order::relaxed), 0) << "two operations at once";
        ++ledger.operations;
        if (yields) StdSync::Yield();
        ledger.entries[key] += amount;
        ledger.sum += amount;
        inside.fetch_sub(1, std::memory_order::relaxed);
        if (throws) throw std::runtime_error(mine);
        return std::make_unique<std::string>(mine);
      });
      ASSERT_FALSE(throws) << "an exception was swallowed";
      ASSERT_EQ(*answer, mine);
    } catch (const std::runtime_error& e) {
      ASSERT_TRUE(throws) << "another caller's exception";
      ASSERT_EQ(e.what(), mine);
      thrown.fetch_add(1, std::memory_order::relaxed);
    }
    added.fetch_add(amount, std::memory_order::relaxed);
  });
  storm.MustHappen("two callers met", [&] { return combiner.Stats().combined != 0; });
  storm.MustHappen("an operation threw", [&] { return thrown.load() != 0; });
  storm.Run();

  const FlatCombiningStats stats = combiner.Stats();
  EXPECT_EQ(stats.combined + stats.direct, calls.load());
  combiner.Apply([&](Ledger& ledger) {
    EXPECT_EQ(ledger.operations, calls.load());
    EXPECT_EQ(ledger.sum, added.load());
    uint64_t sum = 0;
    for (const auto& [key, amount] : ledger.entries) sum += amount;
    EXPECT_EQ(sum, added.load());
  });
}

// Threads that end at once after their only call, so that requests and indexes are used again all the time.
TYPED_TEST(FlatCombiningStress, ThreadsMayEndWithTheirCall) {
  typename TypeParam::template Combiner<uint64_t> combiner;
  std::atomic<uint64_t> calls{0};

  Storm storm;
  storm.Crowd(2, [&](Rng& rng) {
    std::array<std::thread, 3> shortlived;
    for (std::thread& thread : shortlived) {
      const bool yields = rng.OneIn(2);  // so that others call meanwhile, on a machine with few cores
      thread = std::thread([&combiner, yields] {
        combiner.Apply([yields](uint64_t& n) {
          if (yields) StdSync::Yield();
          ++n;
        });
      });
    }
    for (std::thread& thread : shortlived) thread.join();
    calls.fetch_add(shortlived.size(), std::memory_order::relaxed);
  });
  storm.MustHappen("two callers met", [&] { return combiner.Stats().combined != 0; });
  storm.Run();
  EXPECT_EQ(combiner.Apply([](uint64_t& n) { return n; }), calls.load());
}

TYPED_TEST(FlatCombiningStress, MapOperationsAreLinearizable) {
  using Map = std::map<uint64_t, uint64_t>;
  ExpectLinearizable<MapSpec>(
      {.threads = 4, .operations = 200}, [] { return std::make_unique<typename TypeParam::template Combiner<Map>>(); },
      [](auto& combiner, Rng& rng, auto& record) {
        const MapSpec::Call call{static_cast<MapSpec::Kind>(rng.Below(4)), rng.Below(8), rng.Below(100)};
        const bool yields = rng.OneIn(8);  // so that others call meanwhile, on a machine with few cores
        record(call, [&]() -> MapSpec::Result {
          return combiner.Apply([&](Map& map) -> MapSpec::Result {
            if (yields) StdSync::Yield();
            const auto at = map.find(call.key);
            switch (call.kind) {
              case MapSpec::kFind:
                return at == map.end() ? std::nullopt : std::optional(at->second);
              case MapSpec::kInsert:
                return map.emplace(call.key, call.value).second;
              case MapSpec::kAssign:
                return map.insert_or_assign(call.key, call.value).second;
              default:
                return map.erase(call.key);
            }
          });
        });
      });
}

// ---- The counter ----

enum class Mode { kDirect, kCombining, kSwitching };

// With chaos only: hardware additions are too short to overlap by themselves where cores are few.
template <class C>
struct FlatCombiningCounterHistory : testing::Test {};
using ChaosCases = testing::Types<Case<ChaosSync, 4, 1, 64>, Case<ChaosSync, 0, 0, 1>>;
TYPED_TEST_SUITE(FlatCombiningCounterHistory, ChaosCases);

template <class Counter>
void ExpectCounterIsLinearizable(Mode mode) {
  ExpectLinearizable<CounterSpec>(
      {.threads = 4, .operations = 100},
      [mode] {
        auto counter = std::make_unique<Counter>();
        counter->SetCombining(mode == Mode::kCombining);
        return counter;
      },
      [mode](Counter& counter, Rng& rng, auto& record) {
        if (mode == Mode::kSwitching && rng.OneIn(8)) counter.SetCombining(rng.OneIn(2));
        const uint64_t delta = rng.Below(5);
        if (delta == 0) {
          record({0}, [&] { return counter.Load(); });
        } else if (rng.OneIn(8)) {
          record({delta, true}, [&] {
            counter.Store(delta);
            return uint64_t{0};
          });
        } else if (rng.OneIn(2)) {
          record({-delta}, [&] { return counter.FetchSub(delta); });
        } else {
          record({delta}, [&] { return counter.FetchAdd(delta); });
        }
      });
}

TYPED_TEST(FlatCombiningCounterHistory, HardwareAdditionsAreLinearizable) {
  ExpectCounterIsLinearizable<typename TypeParam::Counter>(Mode::kDirect);
}
TYPED_TEST(FlatCombiningCounterHistory, CombinedAdditionsAreLinearizable) {
  ExpectCounterIsLinearizable<typename TypeParam::Counter>(Mode::kCombining);
}
TYPED_TEST(FlatCombiningCounterHistory, AdditionsOfBothKindsAreLinearizableTogether) {
  ExpectCounterIsLinearizable<typename TypeParam::Counter>(Mode::kSwitching);
}

// HOTPATH_STRESS_OPERATIONS: 1'000'000'000 at night.
uint64_t OperationsFromEnvironment(uint64_t otherwise) {
  const char* text = std::getenv("HOTPATH_STRESS_OPERATIONS");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Every previous value must be given out once. Too many to keep: each thread adds up what it is told, and their
// squares.
void ExpectEveryTicketOnce(Mode mode, uint64_t operations) {
  constexpr uint64_t kThreads = 4;
  const uint64_t each = operations / kThreads, all = each * kThreads;
  FlatCombiningCounter counter;
  counter.SetCombining(mode == Mode::kCombining);
  std::atomic<uint64_t> sum{0}, squares{0}, xored{0};
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        uint64_t my_sum = 0, my_squares = 0, my_xor = 0, last = 0;
        for (uint64_t i = 0; i < each; ++i) {
          const uint64_t ticket = counter.FetchAdd(1);
          ASSERT_TRUE(i == 0 || ticket > last) << "a thread's tickets went back";
          last = ticket;
          my_sum += ticket;
          my_squares += ticket * ticket;
          my_xor ^= linearizability_internal::Mix(ticket);
          if (mode == Mode::kSwitching && i % 1024 == 0) counter.SetCombining(i / 1024 % 4 == t);
        }
        sum.fetch_add(my_sum);
        squares.fetch_add(my_squares);
        xored.fetch_xor(my_xor);
      });
    }
  }
  uint64_t expected_sum = 0, expected_squares = 0, expected_xor = 0;
  for (uint64_t ticket = 0; ticket < all; ++ticket) {
    expected_sum += ticket;
    expected_squares += ticket * ticket;
    expected_xor ^= linearizability_internal::Mix(ticket);
  }
  EXPECT_EQ(counter.Load(), all);
  EXPECT_EQ(sum.load(), expected_sum);
  EXPECT_EQ(squares.load(), expected_squares);
  EXPECT_EQ(xored.load(), expected_xor);
  if (mode == Mode::kCombining) {
    EXPECT_EQ(counter.Stats().combined + counter.Stats().direct, all);
    EXPECT_GT(counter.Stats().combined, 0u) << "no two callers met: nothing was tested";
  }
}

TEST(FlatCombiningCounterStress, TenMillionTicketsAreGivenOutOnceEach) {
  ExpectEveryTicketOnce(Mode::kDirect, OperationsFromEnvironment(10'000'000));
}
TEST(FlatCombiningCounterStress, TenMillionCombinedTicketsAreGivenOutOnceEach) {
  ExpectEveryTicketOnce(Mode::kCombining, OperationsFromEnvironment(10'000'000));
}
TEST(FlatCombiningCounterStress, TenMillionTicketsAreGivenOutOnceEachWhileTheWayChanges) {
  ExpectEveryTicketOnce(Mode::kSwitching, OperationsFromEnvironment(10'000'000));
}

}  // namespace
}  // namespace hotpath::stress
