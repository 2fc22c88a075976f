#include "bench/base/window.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>

#include "bench/base/ticks.h"

namespace hotpath::bench {
namespace {

constexpr int kWarmUps = 3;         // windows; they find the size of a batch
constexpr double kBatchNs = 2'000;  // between two looks at the clock
constexpr double kLeadNs = 5'000;   // from the last arrival to the start
constexpr double kStartSlackNs = 1'000;
constexpr uint64_t kOpsPerWindow = 10;  // at least: a slow operation gets longer windows
constexpr double kMaxWindowNs = 2e8;

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  sched_setaffinity(0, sizeof(set), &set);
}

uint64_t Preemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<uint64_t>(usage.ru_nivcsw);
}

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// So that a thread of another program, or of ours, which waits for this core, gets it.
class Patience {
 public:
  void operator()() {
    if (++spins_ % 4096 == 0) {
      sched_yield();
    } else {
      Relax();
    }
  }

 private:
  uint32_t spins_ = 0;
};

struct alignas(128) Seat {
  ThreadWindow window;
  uint64_t batch = 1;
};

// All threads of a round. The last to arrive at the gate judges the window before, while the others wait.
class Crew {
 public:
  Crew(const WindowOptions& options, const WindowSink& sink)
      : options_(options),
        sink_(sink),
        window_ns_(options.window_ns),
        deadline_(Ticks() + NsToTicks(options.budget_ns)),
        seats_(static_cast<size_t>(options.measured + options.background)) {}

  void Work(int thread, const WindowBody& body) {
    Seat& seat = seats_[static_cast<size_t>(thread)];
    for (uint64_t window = 1;; ++window) {
      if (arrived_.fetch_add(1, std::memory_order::acq_rel) + 1 == seats_.size()) {
        arrived_.store(0, std::memory_order::relaxed);
        if (window > 1) Conclude();
        plan_.start = Ticks() + NsToTicks(kLeadNs);
        plan_.stop = plan_.start + NsToTicks(window_ns_);
        plan_.start_slack = NsToTicks(kStartSlackNs);
        plan_.stop_slack = NsToTicks(window_ns_ / 10);
        open_.store(window, std::memory_order::release);
      } else {
        for (Patience wait; open_.load(std::memory_order::acquire) < window;) wait();
      }
      if (finished_) return;
      const uint64_t preemptions = Preemptions();
      while (Ticks() < plan_.start) {
      }
      seat.window = body(thread, plan_.stop, seat.batch);
      seat.window.preemptions = Preemptions() - preemptions;
      const double took = static_cast<double>(seat.window.end - seat.window.begin);
      const double per_op = std::max(took, 1.0) / static_cast<double>(seat.window.ops);
      seat.batch =
          std::clamp<uint64_t>(static_cast<uint64_t>(static_cast<double>(NsToTicks(kBatchNs)) / per_op), 1, 1u << 20);
    }
  }

  WindowRound Take() { return std::move(round_); }

 private:
  void Conclude() {
    std::vector<ThreadWindow> all;
    for (const Seat& seat : seats_) all.push_back(seat.window);
    const std::span<const ThreadWindow> measured = std::span(all).first(static_cast<size_t>(options_.measured));
    for (const ThreadWindow& w : measured) round_.measured_ops += w.ops;
    for (const ThreadWindow& w : std::span(all).subspan(measured.size())) round_.background_ops += w.ops;

    ++windows_;
    if (windows_ <= kWarmUps && options_.judge) {
      const double op_ns = TicksToNs(TicksPerOp(measured));
      window_ns_ = std::clamp(op_ns * kOpsPerWindow, window_ns_, kMaxWindowNs);
      return;
    }
    const WindowVerdict verdict = options_.judge ? Judge(plan_, all) : WindowVerdict::kAccepted;
    switch (verdict) {
      case WindowVerdict::kAccepted:
        round_.ns.push_back(TicksToNs(TicksPerOp(measured)));
        round_.fairness.push_back(Fairness(measured));
        break;
      case WindowVerdict::kStartedLate:
        ++round_.started_late;
        break;
      case WindowVerdict::kEndedLate:
        // Operations that block make a window end late by nature: a longer one takes them in.
        if (++round_.ended_late % 8 == 0) window_ns_ = std::min(window_ns_ * 2, kMaxWindowNs);
        break;
      case WindowVerdict::kPreempted:
        ++round_.preempted;
        break;
    }
    if (sink_) sink_(verdict, measured);
    finished_ = static_cast<int>(round_.ns.size()) >= options_.accept || windows_ >= options_.max_windows ||
                Ticks() > deadline_;
  }

  const WindowOptions& options_;
  const WindowSink& sink_;
  alignas(128) std::atomic<size_t> arrived_{0};
  alignas(128) std::atomic<uint64_t> open_{0};
  // Written by the last to arrive, before it opens the gate.
  WindowPlan plan_;
  bool finished_ = false;
  double window_ns_;
  const uint64_t deadline_;
  int windows_ = 0;
  WindowRound round_;
  std::vector<Seat> seats_;
};

// thread -> core; empty where there are too few, and for one thread, which may go where a core is free.
std::vector<int> Pinning(int threads) {
  std::vector<int> cpus = AllowedCpus();
  if (threads == 1 || static_cast<int>(cpus.size()) < threads) cpus.clear();
  return cpus;
}

void RunThreads(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> running;
  const std::vector<int> cpus = Pinning(threads);
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      if (!cpus.empty()) PinTo(cpus[static_cast<size_t>(i)]);
      work(i);
    });
  }
  for (std::thread& thread : running) thread.join();
}

}  // namespace

WindowVerdict Judge(const WindowPlan& plan, std::span<const ThreadWindow> threads) noexcept {
  for (const ThreadWindow& thread : threads) {
    if (thread.preemptions != 0) return WindowVerdict::kPreempted;
  }
  for (const ThreadWindow& thread : threads) {
    if (thread.begin > plan.start + plan.start_slack) return WindowVerdict::kStartedLate;
  }
  for (const ThreadWindow& thread : threads) {
    if (thread.end > plan.stop + plan.stop_slack) return WindowVerdict::kEndedLate;
  }
  return WindowVerdict::kAccepted;
}

double TicksPerOp(std::span<const ThreadWindow> threads) noexcept {
  uint64_t ticks = 0, ops = 0;
  for (const ThreadWindow& thread : threads) {
    ticks += thread.end - thread.begin;
    ops += thread.ops;
  }
  return ops == 0 ? 0 : static_cast<double>(ticks) / static_cast<double>(ops);
}

double Fairness(std::span<const ThreadWindow> threads) noexcept {
  if (threads.empty()) return 1;
  const auto [min, max] = std::minmax_element(
      threads.begin(), threads.end(), [](const ThreadWindow& a, const ThreadWindow& b) { return a.ops < b.ops; });
  return max->ops == 0 ? 1 : static_cast<double>(min->ops) / static_cast<double>(max->ops);
}

WindowRound RunWindows(const WindowOptions& options, const ThreadHook& begin, const WindowBody& body,
                       const ThreadHook& end, const WindowSink& sink) {
  Crew crew(options, sink);
  RunThreads(options.measured + options.background, [&](int thread) {
    begin(thread);
    crew.Work(thread, body);
    end(thread);
  });
  return crew.Take();
}

WindowRound RunOversubscribed(const WindowOptions& options, double wall_ns, const ThreadHook& begin,
                              const WindowBody& body, const ThreadHook& end) {
  const int threads = options.measured + options.background;
  std::vector<Seat> seats(static_cast<size_t>(threads));
  std::vector<uint64_t> cpu_ns(seats.size());
  std::atomic<int> ready{0};
  std::atomic<uint64_t> stop{0};
  RunThreads(threads, [&](int thread) {
    begin(thread);
    if (ready.fetch_add(1, std::memory_order::acq_rel) + 1 == threads) {
      stop.store(Ticks() + NsToTicks(wall_ns), std::memory_order::release);
    }
    while (stop.load(std::memory_order::acquire) == 0) sched_yield();
    const uint64_t start = ClockNs(CLOCK_THREAD_CPUTIME_ID);
    const auto i = static_cast<size_t>(thread);
    seats[i].window = body(thread, stop.load(std::memory_order::relaxed), 64);
    cpu_ns[i] = ClockNs(CLOCK_THREAD_CPUTIME_ID) - start;
    end(thread);
  });
  WindowRound round;
  std::vector<ThreadWindow> measured;
  double cpu = 0;
  for (size_t i = 0; i < seats.size(); ++i) {
    if (i < static_cast<size_t>(options.measured)) {
      measured.push_back(seats[i].window);
      round.measured_ops += seats[i].window.ops;
      cpu += static_cast<double>(cpu_ns[i]);
    } else {
      round.background_ops += seats[i].window.ops;
    }
  }
  if (round.measured_ops > 0) {
    round.ns.push_back(cpu / static_cast<double>(round.measured_ops));
    round.fairness.push_back(Fairness(measured));
  }
  return round;
}

int Cores() noexcept { return static_cast<int>(AllowedCpus().size()); }

void StartDummyThread() {
  std::thread([] {}).join();
}

}  // namespace hotpath::bench
