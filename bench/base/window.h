#ifndef HOTPATH_BENCH_BASE_WINDOW_H_
#define HOTPATH_BENCH_BASE_WINDOW_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "bench/base/statistics.h"

// Gated windows: threads that really run at the same time, on a machine that others use too.
//
// In a plain loop two "contending" threads of a busy machine mostly take turns, and a contended fetch_add looks like 5
// ns. Here all threads start a short window together, at one reading of the time stamp counter, and a window in which
// one of them started late, ended late or was preempted is dropped. Where no window is accepted there is no number.

namespace hotpath::bench {

// What one thread did in one window. Times are Ticks().
struct ThreadWindow {
  uint64_t ops = 0;
  uint64_t begin = 0, end = 0;  // of its first and last operation
  uint64_t preemptions = 0;     // ru_nivcsw during the window
};

struct WindowPlan {
  uint64_t start = 0, stop = 0;              // when all begin, and when each finishes its last batch
  uint64_t start_slack = 0, stop_slack = 0;  // how late is not yet late
};

enum class WindowVerdict : uint8_t { kAccepted, kStartedLate, kEndedLate, kPreempted };

WindowVerdict Judge(const WindowPlan& plan, std::span<const ThreadWindow> threads) noexcept;

// What one operation takes the thread that performs it, on average. Throughput is threads divided by this.
double TicksPerOp(std::span<const ThreadWindow> threads) noexcept;

// Operations of the slowest thread divided by those of the fastest: 1 is fair.
double Fairness(std::span<const ThreadWindow> threads) noexcept;

struct WindowOptions {
  int measured = 1;    // threads that are timed
  int background = 0;  // further threads, started and gated alike, that are not
  double window_ns = 200'000;
  int accept = 25;         // windows
  int max_windows = 500;   // gives up then
  double budget_ns = 3e9;  // or then
  bool judge = true;       // false: accepts every window (smoke tests)
};

// What a thread does in a window: operations, in batches, until Ticks() reaches `stop`, at least one batch.
using WindowBody = std::function<ThreadWindow(int thread, uint64_t stop, uint64_t batch)>;
// Runs on the thread before its first and after its last window.
using ThreadHook = std::function<void(int thread)>;
// Is told each window's verdict, by one thread while the others wait.
using WindowSink = std::function<void(WindowVerdict, std::span<const ThreadWindow> measured)>;

struct WindowRound {
  std::vector<double> ns;        // per operation and thread, one of each accepted window
  std::vector<double> fairness;  // likewise
  int started_late = 0, ended_late = 0, preempted = 0;
  uint64_t measured_ops = 0, background_ops = 0;  // in every window, dropped or not

  std::optional<double> MedianNs() const { return Median(ns); }
};

// One round. Its threads are pinned to cores of their own where there are enough; there must be a core for each.
WindowRound RunWindows(const WindowOptions& options, const ThreadHook& begin, const WindowBody& body,
                       const ThreadHook& end, const WindowSink& sink = {});

// For more threads than cores: each runs for `wall_ns`, and what an operation takes is thread CPU time. One sample.
WindowRound RunOversubscribed(const WindowOptions& options, double wall_ns, const ThreadHook& begin,
                              const WindowBody& body, const ThreadHook& end);

// Cores this process may run on.
int Cores() noexcept;

// glibc and libstdc++ skip locks and atomics while a process has never had a second thread: gives it one.
void StartDummyThread();

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_WINDOW_H_
