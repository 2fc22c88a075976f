#ifndef HOTPATH_STRESS_BASE_HISTORY_H_
#define HOTPATH_STRESS_BASE_HISTORY_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "stress/base/linearizability.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {

// What time it is, for all threads, at the price of two dozen cycles and no shared memory: a counter in memory would be
// a seq_cst RMW around every operation, and would hide the very bugs that are looked for. It is the processor's time
// stamp counter if that is invariant (CPUID 8000_0007h) and was seen to agree between two threads, else
// CLOCK_MONOTONIC. Equal times count as concurrent.
class HistoryClock {
 public:
  static HistoryClock& Get();

  // Before an operation: nothing of it has been done yet. After: all of its instructions have been executed. A store
  // may still be in this core's store buffer then, as it may be for a caller: a type that ends with a plain release
  // store is not linearizable to the nanosecond.
  uint64_t Before() const;
  uint64_t After() const;

  const char* Describe() const { return tsc_ ? "invariant TSC" : "CLOCK_MONOTONIC"; }

 private:
  HistoryClock();
  bool tsc_;
};

// Records the operations of one thread, in memory reserved beforehand.
template <class Spec>
class Recorder {
 public:
  Recorder(uint32_t thread, size_t operations) : thread_(thread) { history_.reserve(operations); }

  // Calls f() -> Spec::Result and records it as `call`. If f throws, the operation stays pending.
  template <class F>
  typename Spec::Result operator()(const typename Spec::Call& call, F&& f) {
    Operation<Spec>& operation = history_.emplace_back(Operation<Spec>{.call = call, .thread = thread_});
    operation.invoked = clock_.Before();
    typename Spec::Result result = std::forward<F>(f)();
    operation.returned = clock_.After();
    operation.result = result;
    return result;
  }

  // Records one more operation, which was under way when the last one was: for what a specification takes for several.
  void AtOnce(const typename Spec::Call& call, const typename Spec::Result& result) {
    Operation<Spec> operation = history_.back();
    operation.call = call;
    operation.result = result;
    history_.push_back(operation);
  }

  const std::vector<Operation<Spec>>& history() const { return history_; }

 private:
  const HistoryClock& clock_ = HistoryClock::Get();
  const uint32_t thread_;
  std::vector<Operation<Spec>> history_;
};

struct RoundOptions {
  uint32_t threads = 4;
  size_t operations = 100;  // of each thread
  // How long beyond the budget to go on, if a busy machine has kept the threads apart until then.
  std::chrono::milliseconds patience = std::chrono::seconds(30);
};

// Until the budget (HOTPATH_STRESS_MS) is spent: makes an object, lets the threads call step(object, rng, recorder)
// from a barrier on, one operation each time, and checks that what they did is linearizable. Fails the running test if
// it is not, if that cannot be told, or if no two operations ever overlapped. The seed is printed and replays the
// choices.
template <class Spec, class Make, class Step>
void ExpectLinearizable(const RoundOptions& options, Make make, Step step) {
  const uint64_t seed = SeedFromEnvironment();
  const auto deadline = std::chrono::steady_clock::now() + BudgetFromEnvironment();
  std::cout << "[ HISTORY  ] " << options.threads << " threads, " << HistoryClock::Get().Describe()
            << ", HOTPATH_SEED=" << seed << '\n'
            << std::flush;
  bool overlapped = false;
  uint64_t round = 0;
  const auto goes_on = [&] {
    const auto now = std::chrono::steady_clock::now();
    return now < deadline || (!overlapped && now < deadline + options.patience);
  };
  do {
    auto object = make();
    std::vector<Recorder<Spec>> recorders;
    recorders.reserve(options.threads);
    for (uint32_t i = 0; i < options.threads; ++i) recorders.emplace_back(i, options.operations);
    {
      std::latch start(options.threads);
      std::vector<std::jthread> threads;
      threads.reserve(options.threads);
      for (uint32_t i = 0; i < options.threads; ++i) {
        threads.emplace_back([&, i] {
          Rng rng(seed, round * options.threads + i);
          thread_rng = Rng(~seed, round * options.threads + i);
          start.arrive_and_wait();
          for (size_t n = 0; n < options.operations; ++n) step(*object, rng, recorders[i]);
        });
      }
    }
    std::vector<Operation<Spec>> history;
    for (const Recorder<Spec>& recorder : recorders) {
      for (const Operation<Spec>& operation : recorder.history()) {
        history.push_back(operation);
      }
    }
    std::sort(history.begin(), history.end(), [](const auto& a, const auto& b) { return a.invoked < b.invoked; });
    uint64_t last_return = 0;
    for (const Operation<Spec>& operation : history) {
      overlapped |= operation.invoked < last_return;
      last_return = std::max(last_return, operation.returned);
    }
    const LinearizabilityReport report = CheckLinearizable(history);
    if (report.verdict != Linearizable::kYes) {
      ADD_FAILURE() << report.text << "(round " << round << ", HOTPATH_SEED=" << seed << ")";
      return;
    }
    ++round;
  } while (goes_on());
  EXPECT_TRUE(overlapped) << "no two operations overlapped, so nothing was tested (HOTPATH_SEED=" << seed << ")";
}

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_HISTORY_H_
