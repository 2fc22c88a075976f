#ifndef HOTPATH_STRESS_BASE_STORM_H_
#define HOTPATH_STRESS_BASE_STORM_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stress/base/rng.h"

namespace hotpath::stress {

// The seed of this run: HOTPATH_SEED, or drawn once per process. It replays what the threads choose, not how the
// machine interleaves them. Fails the running test if the variable is not a number.
uint64_t SeedFromEnvironment();

// For how long a stress test runs: HOTPATH_STRESS_MS milliseconds, 250 unless set.
std::chrono::milliseconds BudgetFromEnvironment();

// Threads that start at one barrier and repeat their steps until the budget is spent:
//
//   Storm storm;
//   storm.Crowd(2, [&](Rng& rng) { cell.Store(rng()); });
//   storm.Crowd(2, [&](Rng&) { if (!cell.TryLoad(seen)) storm.Collided(); });
//   storm.MustCollide("a reader met a writer");
//   storm.Run();
//
// The seed is printed; HOTPATH_SEED=N replays it. A failed expectation in a step ends the storm early, so that one bug
// makes one report and not a million.
class Storm {
 public:
  Storm();
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  // `threads` more threads repeat step(rng); each has an Rng of its own. A thread's first step always runs.
  void Crowd(int threads, const std::function<void(Rng&)>& step);

  // The run fails unless Collided() is called at least once: threads that never met have tested nothing. `what` says
  // in words what should have happened. Threads that a busy machine has kept apart until the budget is spent go on
  // until they meet, for `patience` at most.
  void MustCollide(std::string what, std::chrono::milliseconds patience = std::chrono::seconds(30));
  void Collided() noexcept { collisions_.fetch_add(1, std::memory_order::relaxed); }

  // Runs the crowds once and joins them. Returns how many steps were taken in all.
  uint64_t Run();

  uint64_t seed() const noexcept { return seed_; }

 private:
  const uint64_t seed_;
  std::vector<std::function<void(Rng&)>> steps_;  // one per thread
  std::string must_collide_;                      // empty: not asked for
  std::chrono::milliseconds patience_{0};
  std::atomic<uint64_t> collisions_{0};
};

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_STORM_H_
