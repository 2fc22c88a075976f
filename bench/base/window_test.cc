#include "bench/base/window.h"

#include <atomic>
#include <cstdint>
#include <vector>

#include "bench/base/ticks.h"
#include "gtest/gtest.h"

// Verdicts and figures are tested on windows made up here; no test compares two times that it measured.

namespace hotpath::bench {
namespace {

constexpr WindowPlan kPlan{.start = 1000, .stop = 2000, .start_slack = 10, .stop_slack = 100};

ThreadWindow Window(uint64_t begin, uint64_t end, uint64_t ops = 100, uint64_t preemptions = 0) {
  return {.ops = ops, .begin = begin, .end = end, .preemptions = preemptions};
}

TEST(JudgeTest, AcceptsThreadsThatRanTogether) {
  EXPECT_EQ(Judge(kPlan, std::vector{Window(1000, 2000), Window(1010, 2100)}), WindowVerdict::kAccepted);
}
TEST(JudgeTest, DropsAWindowThatOneThreadStartedLate) {
  EXPECT_EQ(Judge(kPlan, std::vector{Window(1000, 2000), Window(1011, 2000)}), WindowVerdict::kStartedLate);
}
TEST(JudgeTest, DropsAWindowThatOneThreadEndedLate) {
  EXPECT_EQ(Judge(kPlan, std::vector{Window(1000, 2101), Window(1000, 2000)}), WindowVerdict::kEndedLate);
}
TEST(JudgeTest, DropsAWindowInWhichOneThreadWasPreempted) {
  EXPECT_EQ(Judge(kPlan, std::vector{Window(1000, 2000), Window(1000, 2000, 100, 1)}), WindowVerdict::kPreempted);
}

TEST(FiguresTest, AnOperationTakesAThreadItsShareOfTheWindow) {
  // Two threads for 1000 ticks each, 100 operations each: 10 ticks, whatever the other does.
  EXPECT_EQ(TicksPerOp(std::vector{Window(1000, 2000), Window(1000, 2000)}), 10);
  // Contended counters: half as many operations take twice as long.
  EXPECT_EQ(TicksPerOp(std::vector{Window(1000, 2000, 50), Window(1000, 2000, 50)}), 20);
  EXPECT_EQ(TicksPerOp(std::vector<ThreadWindow>{}), 0);
}
TEST(FiguresTest, ASlowdownByHalfIsOneAndAHalf) {
  const double plain = TicksPerOp(std::vector{Window(0, 3000, 300)});
  const double slow = TicksPerOp(std::vector{Window(0, 3000, 200)});
  EXPECT_DOUBLE_EQ(slow / plain, 1.5);
}
TEST(FiguresTest, FairnessIsTheSlowestThreadsShareOfTheFastest) {
  EXPECT_EQ(Fairness(std::vector{Window(0, 1, 25), Window(0, 1, 100)}), 0.25);
  EXPECT_EQ(Fairness(std::vector{Window(0, 1, 7)}), 1);
  EXPECT_EQ(Fairness(std::vector<ThreadWindow>{}), 1);
}

// A body that counts, and that says when it began and ended.
WindowBody Counting(std::atomic<uint64_t>& ops) {
  return [&ops](int, uint64_t stop, uint64_t batch) {
    ThreadWindow window;
    window.begin = Ticks();
    do {
      for (uint64_t i = 0; i < batch; ++i) ops.fetch_add(1, std::memory_order::relaxed);
      window.ops += batch;
      window.end = Ticks();
    } while (window.end < stop);
    return window;
  };
}

TEST(RunWindowsTest, CountsEveryOperationOfEveryWindow) {
  std::atomic<uint64_t> ops{0};
  std::atomic<int> begun{0}, ended{0};
  const WindowOptions options{.background = 1, .window_ns = 1000, .accept = 3, .judge = false};
  const WindowRound round = RunWindows(options, [&](int) { ++begun; }, Counting(ops), [&](int) { ++ended; });
  EXPECT_EQ(round.measured_ops + round.background_ops, ops.load());
  EXPECT_GT(round.measured_ops, 0u);
  EXPECT_GT(round.background_ops, 0u);
  EXPECT_EQ(round.ns.size(), 3u);
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(ended, 2);
}
TEST(RunWindowsTest, GivesUpWithoutANumber) {
  // Every thread is preempted in every window: its body says so.
  const WindowOptions options{.window_ns = 1000, .accept = 3, .max_windows = 10};
  const WindowRound round = RunWindows(
      options, [](int) {},
      [](int, uint64_t stop, uint64_t) { return ThreadWindow{.ops = 1, .begin = stop * 2, .end = stop * 2}; },
      [](int) {});
  EXPECT_FALSE(round.MedianNs().has_value());
  EXPECT_EQ(round.started_late + round.preempted, 7);  // the first three windows warm up
}
TEST(RunWindowsTest, TellsItsVerdicts) {
  int told = 0;
  std::atomic<uint64_t> ops{0};
  const WindowOptions options{.window_ns = 1000, .accept = 4, .judge = false};
  RunWindows(
      options, [](int) {}, Counting(ops), [](int) {},
      [&](WindowVerdict verdict, std::span<const ThreadWindow> measured) {
        told += verdict == WindowVerdict::kAccepted && measured.size() == 1;
      });
  EXPECT_EQ(told, 4);
}
TEST(RunOversubscribedTest, GivesEveryThreadOfEightItsTurn) {
  std::atomic<uint64_t> ops{0};
  const WindowOptions options{.measured = 8};
  const WindowRound round = RunOversubscribed(options, 1e5, [](int) {}, Counting(ops), [](int) {});
  EXPECT_EQ(round.measured_ops, ops.load());
  EXPECT_GE(round.measured_ops, 8u);
  ASSERT_TRUE(round.MedianNs().has_value());
  EXPECT_GT(*round.MedianNs(), 0);
}

}  // namespace
}  // namespace hotpath::bench
