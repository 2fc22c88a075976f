#include "stress/base/chaos_sync.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/seqlock_stats.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

using std::memory_order;

// Which of 1000 exchanges of this thread fail for no reason.
std::vector<bool> Misfortunes(uint64_t seed) {
  thread_rng = Rng(seed);
  ChaosSync::Atomic<int> atomic{0};
  std::vector<bool> failed;
  for (int i = 0; i < 1000; ++i) {
    int expected = i;
    const bool done = atomic.compare_exchange_weak(expected, i + 1, memory_order::acq_rel, memory_order::acquire);
    EXPECT_EQ(expected, i);
    failed.push_back(!done);
    atomic.store(i + 1, memory_order::relaxed);
  }
  return failed;
}

TEST(ChaosSyncTest, ASeedReplaysEveryMisfortune) {
  const std::vector<bool> once = Misfortunes(1);
  const auto count = std::count(once.begin(), once.end(), true);
  EXPECT_GT(count, 20);
  EXPECT_LT(count, 150);
  EXPECT_EQ(once, Misfortunes(1));
  EXPECT_NE(once, Misfortunes(2));
}

TEST(ChaosSyncTest, AStrongExchangeNeverFailsForNoReason) {
  ChaosSync::Atomic<int> atomic{0};
  for (int i = 0; i < 10'000; ++i) {
    int expected = i;
    ASSERT_TRUE(atomic.compare_exchange_strong(expected, i + 1, memory_order::acq_rel, memory_order::acquire));
  }
}

TEST(ChaosSyncTest, OperationsDoWhatStdSyncDoes) {
  ChaosSync::Atomic<uint32_t> atomic;
  EXPECT_EQ(atomic.load(memory_order::acquire), 0u);
  EXPECT_EQ(atomic.exchange(8, memory_order::acq_rel), 0u);
  EXPECT_EQ(atomic.fetch_add(3, memory_order::relaxed), 8u);
  EXPECT_EQ(atomic.fetch_sub(1, memory_order::relaxed), 11u);
  EXPECT_EQ(atomic.fetch_and(6u, memory_order::relaxed), 10u);
  EXPECT_EQ(atomic.fetch_or(5u, memory_order::relaxed), 2u);
  EXPECT_EQ(atomic.fetch_xor(2u, memory_order::relaxed), 7u);
  EXPECT_EQ(atomic.load(memory_order::relaxed), 5u);
  EXPECT_TRUE(ChaosSync::Park(atomic, 4));                       // does not hold 4
  while (ChaosSync::Park(atomic, 5, Deadline::min())) continue;  // spurious wake-ups, then the deadline
  EXPECT_EQ(ChaosSync::ThreadIndex(), StdSync::ThreadIndex());
  int* number = ChaosSync::New<int>(7);
  EXPECT_EQ(*number, 7);
  ChaosSync::Delete(number);

  ChaosSync::Atomic<uint64_t> words[2];
  const char text[] = "eleven bytes";
  ChaosSync::CopyWords<11>(words, text);
  char copy[12] = {};
  ChaosSync::CopyWords<11>(copy, words);
  EXPECT_STREQ(copy, "eleven byte");
}

// A counter that loads and stores. Threads that never met inside would lose nothing.
TEST(ChaosSyncTest, ThreadsMeetInsideCriticalWindows) {
  ChaosSync::Atomic<uint64_t> counter{0};
  Storm storm;
  storm.Crowd(2, [&](Rng&) { counter.store(counter.load(memory_order::relaxed) + 1, memory_order::relaxed); });
  const uint64_t steps = storm.Run();
  EXPECT_LT(counter.load(memory_order::relaxed), steps);
}

TEST(ChaosSyncTest, AMutexStillExcludes) {
  ChaosSync::Mutex mu;
  uint64_t counter = 0, successes[2] = {};
  Storm storm;
  for (uint64_t& mine : successes) {
    storm.Crowd(1, [&](Rng&) {
      if (!mu.TryLock()) return storm.Collided();
      ++counter, ++mine;
      mu.Unlock();
    });
  }
  storm.MustCollide("a try-lock failed");
  storm.Run();
  EXPECT_EQ(counter, successes[0] + successes[1]);
}

// The shipped header, with the threads meeting inside it.
TEST(ChaosSyncTest, APrimitiveRunsUnderIt) {
  struct Pair {
    uint64_t left = 0, right = 0;
  };
  BasicSeqlockStats<Pair, SeqlockOptions{.slots = 1}, ChaosSync> stats;
  Storm storm;
  storm.Crowd(1, [&](Rng&) { stats.Write([](Pair& pair) { ++pair.left, ++pair.right; }); });
  storm.Crowd(1, [&](Rng&) {
    Pair seen;
    if (!stats.TryRead(seen)) return storm.Collided();
    EXPECT_EQ(seen.left, seen.right);
  });
  storm.MustCollide("a reader was refused");
  storm.Run();
}

}  // namespace
}  // namespace hotpath::stress
