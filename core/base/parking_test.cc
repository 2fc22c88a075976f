#include "hotpath/core/base/parking.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

static_assert(sizeof(ParkingLock) == 4);
static_assert(sizeof(BasicOwnedLock<>) == 8);
constinit ParkingLock g_lock;  // globals need no dynamic initialisation

// The analysis cannot follow what these tests do; ExcludesWithMutexLock and the users show that it can be followed.
template <class L>
void Lock(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  lock.Lock();
}
template <class L>
void Unlock(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  lock.Unlock();
}
template <class L>
bool TryLock(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  return lock.TryLock();
}

// ---- Counts ----

TEST(ParkingLockTest, UncontendedIsOneExchangeToLockAndOneToUnlock) {
  using Counting = CountingSync<>;
  BasicParkingLock<ParkingOptions{}, Counting> lock;
  BasicOwnedLock<Counting> owned;
  static_cast<void>(Counting::ThreadIndex());
  const SyncCounts& counts = Counting::counts;
  const bench::HeapMark mark;
  for (int i = 0; i < 10; ++i) {
    Counting::counts = {};
    Lock(lock);
    EXPECT_EQ(counts.rmws, 1u);
    Unlock(lock);
    EXPECT_EQ(counts.rmws, 2u);
    EXPECT_TRUE(TryLock(lock));
    EXPECT_EQ(counts.rmws, 3u);
    Unlock(lock);
    Lock(owned);
    EXPECT_EQ(counts.rmws, 5u);
    Unlock(owned);
    EXPECT_EQ(counts.rmws, 6u);
    EXPECT_EQ(counts.sleeps + counts.wakes, 0u);
  }
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

TEST(ParkingLockTest, TryLockFailsWhileTheLockIsHeld) {
  ASSERT_TRUE(TryLock(g_lock));
  EXPECT_FALSE(TryLock(g_lock));
  std::thread([] { EXPECT_FALSE(TryLock(g_lock)); }).join();
  Unlock(g_lock);
  std::thread([] {
    const bool locked = TryLock(g_lock);
    EXPECT_TRUE(locked);
    if (locked) Unlock(g_lock);
  }).join();
}

TEST(ParkingLockTest, ExcludesWithMutexLock) {
  struct Account {
    ParkingLock mu;
    uint64_t total HOTPATH_GUARDED_BY(mu) = 0;
  } account;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20'000; ++n) {
        MutexLock lock(account.mu);
        ++account.total;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(account.mu);
  EXPECT_EQ(account.total, 80'000u);
}

// ---- Fairness, in counts ----

// A thread that parks stays parked until the gate opens, whoever wakes it: the scheduler at its worst.
struct GatedSync : StdSync {
  static inline std::atomic<uint32_t> asleep{0};
  static inline std::atomic<bool> open{false};
  static inline thread_local std::function<void()> once_waiting;  // runs once, in a Lock that found the lock held

  static uint32_t ThreadIndex() noexcept {
    if (once_waiting) std::exchange(once_waiting, nullptr)();
    return StdSync::ThreadIndex();
  }
  [[nodiscard]] static bool Park(Atomic<uint32_t>&, uint32_t, Deadline = kNoDeadline) noexcept {
    asleep.fetch_add(1);
    SpinWait<> wait;
    while (!open.load()) wait();
    return true;
  }
  static void Wake(Atomic<uint32_t>&, uint32_t) noexcept {}
};
static_assert(SyncPolicy<GatedSync>);

void WaitUntilAsleep(uint32_t threads) {
  SpinWait<> wait;
  while (GatedSync::asleep.load() < threads) wait();
}

template <class L>
bool Passes(L& lock) {
  if (!TryLock(lock)) return false;
  Unlock(lock);
  return true;
}

TEST(ParkingLockTest, QueuedThreadIsPassedAtMostMaxBargesTimesHoweverLongItSleeps) {
  constexpr uint32_t kMaxBarges = 5;
  for (uint32_t waiters = 1; waiters <= 3; ++waiters) {
    GatedSync::asleep = 0;
    GatedSync::open = false;
    BasicParkingLock<ParkingOptions{.max_barges = kMaxBarges}, GatedSync> lock;
    Lock(lock);
    std::vector<uint32_t> order;  // guarded by the lock
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < waiters; ++i) {
      threads.emplace_back([&, i] {
        Lock(lock);
        order.push_back(i);
        Unlock(lock);
      });
      WaitUntilAsleep(i + 1);
    }
    Unlock(lock);
    for (uint32_t i = 0; i < kMaxBarges; ++i) EXPECT_TRUE(Passes(lock)) << "barge " << i;
    const bool is_kept = !Passes(lock);
    EXPECT_TRUE(is_kept) << "free, but kept for the first in the queue";
    std::thread late([&] {
      Lock(lock);
      order.push_back(waiters);
      Unlock(lock);
    });
    if (is_kept) WaitUntilAsleep(waiters + 1);  // it, too, cannot pass
    GatedSync::open = true;
    for (std::thread& thread : threads) thread.join();
    late.join();
    ASSERT_EQ(order.size(), waiters + 1);
    EXPECT_EQ(order[0], 0u) << "the first in the queue";
    EXPECT_TRUE(Passes(lock)) << "the count starts anew";
  }
}

// A Lock that finds the lock held may find it free as it spins, or when it would join the queue: then it passes, too.
template <uint32_t kSpins>
void WhoPassesInLockIsCounted() {
  constexpr uint32_t kMaxBarges = 5;
  GatedSync::asleep = 0;
  GatedSync::open = false;
  BasicParkingLock<ParkingOptions{.max_barges = kMaxBarges, .min_spin = kSpins, .max_spin = kSpins}, GatedSync> lock;
  Lock(lock);
  std::thread first([&] {
    Lock(lock);
    Unlock(lock);
  });
  WaitUntilAsleep(1);
  for (uint32_t i = 0; i < kMaxBarges; ++i) {
    GatedSync::once_waiting = [&] { Unlock(lock); };
    Lock(lock);
  }
  Unlock(lock);
  EXPECT_FALSE(Passes(lock)) << "free, but kept for the first in the queue";
  GatedSync::open = true;
  first.join();
  EXPECT_TRUE(Passes(lock)) << "the count starts anew";
}
TEST(ParkingLockTest, WhoPassesTheQueueAsItSpinsIsCounted) { WhoPassesInLockIsCounted<2>(); }
TEST(ParkingLockTest, WhoPassesTheQueueInsteadOfJoiningItIsCounted) { WhoPassesInLockIsCounted<0>(); }

TEST(ParkingLockTest, BargesAreCountedOnlyWhileSomebodyIsQueued) {
  BasicParkingLock<ParkingOptions{.max_barges = 0}> fair;  // nobody passes a queue
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(TryLock(fair));
    Unlock(fair);
    Lock(fair);
    Unlock(fair);
  }
}

TEST(ParkingLockTest, LockThatLetsNobodyPassIsFirstInFirstOut) {
  GatedSync::asleep = 0;
  GatedSync::open = false;
  BasicParkingLock<ParkingOptions{.max_barges = 0}, GatedSync> lock;
  Lock(lock);
  std::vector<uint32_t> order, expected;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      Lock(lock);
      order.push_back(i);
      Unlock(lock);
    });
    WaitUntilAsleep(i + 1);
    expected.push_back(i);
  }
  GatedSync::open = true;
  Unlock(lock);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, expected);
}

// ---- Sleeping ----

// StdSync that counts who sleeps.
struct AsleepSync : StdSync {
  static inline std::atomic<uint32_t> asleep{0};

  [[nodiscard]] static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) noexcept {
    asleep.fetch_add(1);
    return StdSync::Park(word, expected, deadline);
  }
};
static_assert(SyncPolicy<AsleepSync>);

TEST(ParkingLockTest, WaitingThreadSleepsAndIsWokenOnce) {
  using Counting = CountingSync<AsleepSync>;
  BasicParkingLock<ParkingOptions{}, Counting> lock;
  AsleepSync::asleep = 0;
  Lock(lock);
  std::thread waiter([&] {
    Lock(lock);
    Unlock(lock);
    EXPECT_GE(Counting::counts.sleeps, 1u);
  });
  SpinWait<> wait;
  while (AsleepSync::asleep.load() == 0) wait();
  EXPECT_EQ(Counting::CountsOf([&] { Unlock(lock); }).wakes, 1u);
  waiter.join();
  const SyncCounts alone = Counting::CountsOf([&] {
    Lock(lock);
    Unlock(lock);
  });
  EXPECT_EQ(alone.wakes, 0u) << "nobody sleeps: no system call";
}

TEST(ParkingLockTest, LockMayBeDestroyedByTheNextOwner) {
  for (int i = 0; i < 2'000; ++i) {
    auto* lock = new ParkingLock;  // AddressSanitizer watches its end
    Lock(*lock);
    std::thread other([lock] {
      Lock(*lock);
      Unlock(*lock);
      delete lock;
    });
    if (i % 2 == 0) StdSync::Yield();
    Unlock(*lock);
    other.join();
  }
}

TEST(ParkingLockTest, ThreadsMayWaitForOneLockWhileTheyHoldAnother) {
  ParkingLock first, second;
  uint64_t in_both = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 5'000; ++n) {
        MutexLock outer(first);
        MutexLock inner(second);
        ++in_both;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(in_both, 20'000u);
}

// ---- Misuse ----

TEST(OwnedLockDeathTest, TakingItTwiceIsACheckInEveryBuild) {
  BasicOwnedLock<> lock;
  Lock(lock);
  EXPECT_DEATH(Lock(lock), "this thread holds this lock already");
  Unlock(lock);
}

// Lets the next owner in as soon as the lock is free, before Unlock returns. Who would sleep fails.
struct NextOwnerSync : StdSync {
  static inline std::function<void()> once_free;

  template <class T>
  class Atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) noexcept {
      if (!std::atomic<T>::compare_exchange_weak(expected, desired, success, failure)) return false;
      if (once_free) std::exchange(once_free, nullptr)();
      return true;
    }
  };
  [[nodiscard]] static bool Park(Atomic<uint32_t>&, uint32_t, Deadline = kNoDeadline) noexcept { std::abort(); }
  static void Wake(Atomic<uint32_t>&, uint32_t) noexcept {}
};
static_assert(SyncPolicy<NextOwnerSync>);

TEST(OwnedLockDeathTest, UnlockLeavesTheMarkOfTheNextOwner) {
  BasicOwnedLock<NextOwnerSync> lock;
  Lock(lock);
  NextOwnerSync::once_free = [&] { Lock(lock); };
  Unlock(lock);
  EXPECT_DEATH(Lock(lock), "this thread holds this lock already");
  Unlock(lock);
}

// The death test forks while this thread holds the lock and others sleep in its queue.
TEST(ParkingLockDeathTest, ChildOfAForkForgetsWhoWaitedInTheParent) {
  for (uint32_t waiting = 1; waiting <= 2; ++waiting) {
    AsleepSync::asleep = 0;
    BasicParkingLock<ParkingOptions{.max_barges = 4, .min_spin = 0, .max_spin = 0}, AsleepSync> lock;
    uint64_t total = 0;  // guarded by the lock
    const auto add = [&] {
      for (int i = 0; i < 5'000; ++i) {
        Lock(lock);
        ++total;
        Unlock(lock);
      }
    };
    Lock(lock);
    std::vector<std::thread> waiters;
    for (uint32_t i = 0; i < waiting; ++i) {
      waiters.emplace_back([&] {
        Lock(lock);
        Unlock(lock);
      });
      SpinWait<> wait;
      while (AsleepSync::asleep.load() <= i) wait();
    }
    EXPECT_EXIT(
        {
          Unlock(lock);
          add();
          std::thread other(add);
          add();
          other.join();
          std::_Exit(total == 15'000 && TryLock(lock) ? 0 : 1);
        },
        testing::ExitedWithCode(0), "");
    Unlock(lock);
    for (std::thread& thread : waiters) thread.join();
  }
}

// The death test forks while the other thread holds the lock.
TEST(OwnedLockDeathTest, WaitingForAThreadThatDidNotSurviveForkIsACheck) {
  BasicOwnedLock<> lock;
  std::atomic<bool> inside{false}, leave{false};
  std::thread owner([&] {
    MutexLock hold(lock);
    inside.store(true);
    SpinWait<> wait;
    while (!leave.load()) wait();
  });
  SpinWait<> wait;
  while (!inside.load()) wait();
  EXPECT_DEATH(Lock(lock), "did not survive fork");
  leave.store(true);
  owner.join();
}

TEST(CallbackScopeTest, ScopesNestAndEndWithTheirBlockOfTheirThread) {
  int a = 0, b = 0;
  EXPECT_EQ(CallbackScope<>::Inside(&a), nullptr);
  {
    const CallbackScope<> outer(&a, "outer");
    {
      const CallbackScope<> inner(&b, "inner");
      EXPECT_STREQ(CallbackScope<>::Inside(&a), "outer");
      EXPECT_STREQ(CallbackScope<>::Inside(&b), "inner");
      std::thread([&] { EXPECT_EQ(CallbackScope<>::Inside(&a), nullptr); }).join();
    }
    EXPECT_EQ(CallbackScope<>::Inside(&b), nullptr);
  }
  EXPECT_EQ(CallbackScope<>::Inside(&a), nullptr);
}

}  // namespace
}  // namespace hotpath
