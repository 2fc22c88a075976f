#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/adaptive_lock.h"
#include "hotpath/core/base/parking.h"
#include "hotpath/core/base/sync.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Operations of the exact sums: HOTPATH_STRESS_OPERATIONS, 10^7 unless set; 10^9 for a long night.
uint64_t SumOperations() {
  const char* text = std::getenv("HOTPATH_STRESS_OPERATIONS");
  return text == nullptr ? 10'000'000 : std::strtoull(text, nullptr, 10);
}

struct Wide {
  uint64_t left = 0, right = 0, entries = 0;
};

// Runs step(thread, n) for n below `each` on each of four threads that start together.
template <class Step>
void OnFourThreads(uint64_t each, Step step) {
  std::latch start(4);
  std::vector<std::jthread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      thread_rng = Rng(SeedFromEnvironment(), i);
      start.arrive_and_wait();
      for (uint64_t n = 0; n < each; ++n) step(i, n);
    });
  }
}

// ---- Exact sums ----

TEST(AdaptiveLockStress, AtomicSumIsExact) {
  const uint64_t each = SumOperations() / 4;
  AdaptiveLock<uint64_t> sum;
  OnFourThreads(each, [&](uint32_t thread, uint64_t n) {
    if (n % 16 == 0 && thread % 2 == 0) {
      sum.With([](uint64_t& value) { value += 3; });
    } else {
      sum.FetchAdd(3);
    }
  });
  EXPECT_EQ(sum.Load(), each * 4 * 3);
}

// Each value was there once, so each is returned once; and a thread sees its own in order.
TEST(AdaptiveLockStress, PreviousValuesAreExact) {
  const uint64_t each = SumOperations() / 4, all = each * 4;
  AdaptiveLock<uint64_t> number;
  AdaptiveLock<uint64_t> sum_of_seen;
  std::array<uint64_t, 4> last{}, seen{};
  OnFourThreads(each, [&](uint32_t thread, uint64_t n) {
    const uint64_t before = thread % 2 == 0 ? number.FetchAdd(1) : number.FetchSub(UINT64_MAX);
    ASSERT_TRUE(n == 0 || before > last[thread]);
    last[thread] = before;
    seen[thread] += before;
    if (n + 1 == each) sum_of_seen.FetchAdd(seen[thread]);
  });
  EXPECT_EQ(number.Load(), all);
  EXPECT_EQ(sum_of_seen.Load(), all * (all - 1) / 2);
}

TEST(AdaptiveLockStress, LockedSumIsExact) {
  const uint64_t each = SumOperations() / 4;
  AdaptiveLock<Wide> sum;
  OnFourThreads(each, [&](uint32_t thread, uint64_t) {
    sum.With([&](Wide& wide) {
      wide.left += thread;
      wide.right += thread;
      ++wide.entries;
    });
  });
  const Wide end = sum.Load();
  EXPECT_EQ(end.entries, each * 4);
  EXPECT_EQ(end.left, each * (0 + 1 + 2 + 3));
  EXPECT_EQ(end.right, end.left);
}

// ---- Exclusion, with bad luck ----

template <class Sync>
void ExcludesWithBadLuck() {
  BasicAdaptiveLock<Wide, Sync> lock;
  std::atomic<uint64_t> entries{0};
  std::atomic<int> inside{0}, waiting{0};
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    const uint64_t amount = rng.Below(1000);
    waiting.fetch_add(1, std::memory_order::relaxed);
    lock.With([&](Wide& wide) {
      if (waiting.fetch_sub(1, std::memory_order::relaxed) > 1) storm.Collided();
      ASSERT_EQ(inside.fetch_add(1, std::memory_order::relaxed), 0) << "two inside at once";
      wide.left += amount;
      if (rng.OneIn(16)) StdSync::Yield();
      wide.right += amount;
      ++wide.entries;
      inside.fetch_sub(1, std::memory_order::relaxed);
    });
    entries.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(1, [&](Rng&) {
    const Wide seen = lock.Load();
    ASSERT_EQ(seen.left, seen.right);
  });
  storm.Crowd(1, [&](Rng&) {
    try {
      lock.With([&](Wide&) { throw 1; });
    } catch (int) {
    }
  });
  storm.MustCollide("a thread waited while another was inside");
  storm.Run();
  EXPECT_EQ(lock.Load().entries, entries.load());
}
TEST(AdaptiveLockStress, LockExcludesAndLosesNothing) { ExcludesWithBadLuck<StdSync>(); }
TEST(AdaptiveLockStress, LockExcludesAndLosesNothingUnderChaos) { ExcludesWithBadLuck<ChaosSync>(); }

// ---- Nobody starves: counts, never times ----

// StdSync that tells when this thread first sleeps while it waits for the lock. By then it has joined the queue, so
// from then on the bound of the contract holds.
struct WatchedSync : StdSync {
  static inline std::atomic<uint64_t> taken{0};        // how often the lock was taken
  static inline thread_local bool slept = false;       // in this wait
  static inline thread_local uint64_t taken_then = 0;  // when it first slept
  static inline std::atomic<uint64_t> sleeps{0};

  [[nodiscard]] static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) noexcept {
    sleeps.fetch_add(1, std::memory_order::relaxed);
    if (!slept) taken_then = taken.load(std::memory_order::relaxed);
    slept = true;
    return StdSync::Park(word, expected, deadline);
  }
};

template <uint32_t kMaxBarges>
void NobodyIsPassedMoreOftenThanPromised() {
  constexpr uint32_t kThreads = 6;
  constexpr uint64_t kBound = uint64_t{kThreads} * (kMaxBarges + 1);
  BasicParkingLock<ParkingOptions{.max_barges = kMaxBarges, .min_spin = 0, .max_spin = 2}, WatchedSync> lock;
  WatchedSync::taken = 0;
  WatchedSync::sleeps = 0;
  std::atomic<uint64_t> longest{0}, total{0};
  uint64_t plain = 0;  // guarded by the lock
  Storm storm;
  storm.Crowd(kThreads, [&](Rng& rng) {
    WatchedSync::slept = false;
    {
      MutexLock hold(lock);
      ++plain;
      const uint64_t now = WatchedSync::taken.fetch_add(1, std::memory_order::relaxed);
      if (WatchedSync::slept) {
        storm.Collided();
        const uint64_t passed = now - WatchedSync::taken_then;
        if (passed > longest.load(std::memory_order::relaxed)) longest.store(passed, std::memory_order::relaxed);
      }
      if (rng.OneIn(64)) StdSync::Yield();  // so that others find it held
    }
    total.fetch_add(1, std::memory_order::relaxed);
  });
  storm.MustCollide("a thread slept in the queue");
  storm.Run();
  EXPECT_EQ(plain, total.load());
  EXPECT_LE(longest.load(), kBound) << "a sleeping thread was passed more often than the contract says";
}
TEST(AdaptiveLockStress, NobodyIsPassedMoreOftenThanPromisedWithoutBarges) { NobodyIsPassedMoreOftenThanPromised<0>(); }
TEST(AdaptiveLockStress, NobodyIsPassedMoreOftenThanPromisedWithFewBarges) { NobodyIsPassedMoreOftenThanPromised<8>(); }
TEST(AdaptiveLockStress, NobodyIsPassedMoreOftenThanPromisedWithTheShippedBarges) {
  NobodyIsPassedMoreOftenThanPromised<ParkingOptions{}.max_barges>();
}

// All go on until each has had its turns: a thread that starves makes this test run for ever.
TEST(AdaptiveLockStress, EveryThreadHasItsTurnsWhileAllOthersGoOn) {
  constexpr uint32_t kThreads = 6;
  constexpr uint64_t kTurns = 500;
  AdaptiveLock<std::array<uint64_t, kThreads>> turns;
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      while (turns.With([i](std::array<uint64_t, kThreads>& all) {
        ++all[i];
        return *std::ranges::min_element(all) < kTurns;
      })) {
      }
    });
  }
  threads.clear();
  EXPECT_GE(std::ranges::min(turns.Load()), kTurns);
}

// ---- Many locks, few records: queues of different locks do not get mixed up ----

template <class Sync>
void QueuesOfManyLocksStayApart() {
  struct Account {
    BasicParkingLock<ParkingOptions{.max_barges = 4, .min_spin = 0, .max_spin = 1}, Sync> mu;
    int64_t money HOTPATH_GUARDED_BY(mu) = 1000;
  };
  std::array<Account, 3> accounts;
  std::array<std::atomic<int>, 3> wanted{};
  Storm storm;
  storm.Crowd(5, [&](Rng& rng) {
    const size_t a = rng.Below(3), b = (a + 1 + rng.Below(2)) % 3;
    Account &first = accounts[std::min(a, b)], &second = accounts[std::max(a, b)];
    std::atomic<int>& crowd = wanted[std::min(a, b)];
    crowd.fetch_add(1, std::memory_order::relaxed);
    MutexLock one(first.mu);
    if (crowd.fetch_sub(1, std::memory_order::relaxed) > 1) storm.Collided();
    MutexLock two(second.mu);
    if (rng.OneIn(32)) StdSync::Yield();
    const int64_t amount = static_cast<int64_t>(rng.Below(100));
    first.money -= amount;
    second.money += amount;
  });
  storm.MustCollide("a thread wanted a lock that another held");
  storm.Run();
  int64_t total = 0;
  for (Account& account : accounts) {
    MutexLock lock(account.mu);
    total += account.money;
  }
  EXPECT_EQ(total, 3000);
}
TEST(AdaptiveLockStress, QueuesOfManyLocksStayApart) { QueuesOfManyLocksStayApart<StdSync>(); }
TEST(AdaptiveLockStress, QueuesOfManyLocksStayApartUnderChaos) { QueuesOfManyLocksStayApart<ChaosSync>(); }

// ---- Linearizable ----

template <class Cell>
uint64_t StepOfRegister(Cell& cell, Rng& rng, Recorder<RegisterSpec>& recorder) {
  const uint64_t value = 1 + rng.Below(3);
  switch (rng.Below(3)) {
    case 0:
      return recorder({.kind = RegisterSpec::kRead}, [&] { return cell.Load().value; });
    case 1:
      return recorder({.kind = RegisterSpec::kWrite, .value = value}, [&] {
        cell.Store({value});
        // A release store may stay in this core's store buffer for a while; see HistoryClock. The clock asks when
        // others can see it.
        std::atomic_thread_fence(std::memory_order::seq_cst);
        return uint64_t{0};
      });
    default: {
      const uint64_t expected = rng.Below(4);
      return recorder({.kind = RegisterSpec::kCompareExchange, .value = value, .expected = expected}, [&] {
        return cell.With([&](auto& now) {
          if (now.value != expected) return uint64_t{0};
          now.value = value;
          return uint64_t{1};
        });
      });
    }
  }
}
struct Small {
  uint64_t value = 0;
};
struct Large {
  uint64_t value = 0, more = 0;
};
template <class T, class Sync>
void RegisterIsLinearizable() {
  static_assert(BasicAdaptiveLock<T, Sync>::kIsAtomic == (sizeof(T) == 8));
  ExpectLinearizable<RegisterSpec>(
      {.threads = 3, .operations = 60}, [] { return std::make_unique<BasicAdaptiveLock<T, Sync>>(); },
      [](auto& cell, Rng& rng, Recorder<RegisterSpec>& recorder) { StepOfRegister(cell, rng, recorder); });
}
TEST(AdaptiveLockStress, AtomicIsLinearizableUnderChaos) { RegisterIsLinearizable<Small, ChaosSync>(); }
TEST(AdaptiveLockStress, LockedIsLinearizableUnderChaos) { RegisterIsLinearizable<Large, ChaosSync>(); }

}  // namespace
}  // namespace hotpath::stress
