#include "stress/base/storm.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace hotpath::stress {
namespace {

TEST(StormTest, EveryThreadRunsItsStepAtLeastOnceAndAllStepsAreCounted) {
  std::atomic<uint64_t> left{0}, right{0};
  std::atomic<int> streams{0};
  Storm storm;
  storm.Crowd(3, [&](Rng&) {
    thread_local const bool counted = (streams.fetch_add(1), true);
    static_cast<void>(counted);
    left.fetch_add(1);
  });
  storm.Crowd(1, [&](Rng&) { right.fetch_add(1); });
  const uint64_t steps = storm.Run();
  EXPECT_EQ(streams.load(), 3);
  EXPECT_GT(right.load(), 0u);
  EXPECT_EQ(steps, left.load() + right.load());
}

TEST(StormTest, AStormWhoseThreadsNeverCollideFails) {
  EXPECT_NONFATAL_FAILURE(
      {
        Storm storm;
        storm.Crowd(2, [](Rng&) {});
        storm.MustCollide("a reader met a writer", std::chrono::milliseconds(20));
        storm.Run();
      },
      "nothing was tested: expected that a reader met a writer");
}

TEST(StormTest, AStormWhoseThreadsCollidePasses) {
  Storm storm;
  storm.Crowd(2, [&](Rng&) { storm.Collided(); });
  storm.MustCollide("the threads met");
  EXPECT_GE(storm.Run(), 2u);
}

TEST(StormTest, ThreadsThatHaveNotMetInTimeGoOnUntilTheyDo) {
  setenv("HOTPATH_STRESS_MS", "0", 1);
  Storm storm;
  storm.Crowd(2, [&, steps = 0](Rng&) mutable {
    if (++steps == 100'000) storm.Collided();
  });
  storm.MustCollide("a thread took 100,000 steps");
  storm.Run();
  unsetenv("HOTPATH_STRESS_MS");
}

TEST(StormTest, EveryDemandIsWaitedForAndAsked) {
  setenv("HOTPATH_STRESS_MS", "0", 1);
  std::atomic<uint64_t> steps{0};
  Storm storm;
  storm.Crowd(2, [&](Rng&) { steps.fetch_add(1); });
  storm.MustHappen("the threads took 200,000 steps", [&] { return steps.load() >= 200'000; });
  storm.MustHappen("a thread took a step", [&] { return steps.load() != 0; });
  EXPECT_GE(storm.Run(), 200'000u);
  EXPECT_NONFATAL_FAILURE(
      {
        Storm idle;
        idle.Crowd(1, [](Rng&) {});
        idle.MustHappen("a thread took a step", [&] { return steps.load() != 0; });
        idle.MustHappen("the impossible", [] { return false; }, std::chrono::milliseconds(20));
        idle.Run();
      },
      "nothing was tested: expected that the impossible");
  unsetenv("HOTPATH_STRESS_MS");
}

TEST(StormTest, AnotherRoundIsDueUntilTheBudgetIsSpentAndLongerIfNothingHappened) {
  setenv("HOTPATH_STRESS_MS", "100000", 1);
  const auto now = std::chrono::steady_clock::now();
  EXPECT_TRUE(AnotherRound(now, true));
  EXPECT_FALSE(AnotherRound(now - std::chrono::milliseconds(100'000), true));
  EXPECT_TRUE(AnotherRound(now - std::chrono::milliseconds(100'000), false));
  EXPECT_FALSE(AnotherRound(now - std::chrono::milliseconds(100'000) - kPatience, false));
  unsetenv("HOTPATH_STRESS_MS");
}

// In a process of its own, for the failure is a real one: an intercepted failure does not reach the listeners.
TEST(StormTest, AFailureInAStepEndsTheStorm) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("HOTPATH_STRESS_MS", "600000", 1);  // the test would time out if the failure did not end the storm
    Storm storm;
    std::atomic<bool> failed{false};
    storm.Crowd(2, [&](Rng&) {
      if (!failed.exchange(true)) ADD_FAILURE() << "planted: this failure is expected";
    });
    storm.Run();
    std::_Exit(HasFailure() ? 3 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST(StormTest, TheSeedOfTheEnvironmentReplaysEveryChoice) {
  setenv("HOTPATH_SEED", "18446744073709551615", 1);
  setenv("HOTPATH_STRESS_MS", "0", 1);
  const auto first_choices = [] {
    std::set<uint64_t> seen;
    std::mutex mu;
    Storm storm;
    EXPECT_EQ(storm.seed(), 18446744073709551615u);
    storm.Crowd(4, [&](Rng& rng) {
      thread_local bool done = false;
      if (std::exchange(done, true)) return;
      std::lock_guard lock(mu);
      seen.insert(rng());
    });
    storm.Run();
    return seen;
  };
  const std::set<uint64_t> once = first_choices();
  EXPECT_EQ(once.size(), 4u) << "two threads share a stream";
  EXPECT_EQ(once, first_choices());
  unsetenv("HOTPATH_SEED");
  unsetenv("HOTPATH_STRESS_MS");
}

TEST(StormTest, AVariableThatIsNoNumberIsNamed) {
  for (const char* bad : {"", "12x", "-1", "18446744073709551616"}) {
    setenv("HOTPATH_SEED", bad, 1);
    EXPECT_NONFATAL_FAILURE(SeedFromEnvironment(),
                            std::string("HOTPATH_SEED=") + bad + " is not a number from 0 to 2^64-1");
  }
  unsetenv("HOTPATH_SEED");
}

}  // namespace
}  // namespace hotpath::stress
