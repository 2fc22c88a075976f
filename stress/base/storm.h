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

// How long after that a busy machine may take until what a test is about has happened.
inline constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(30);

// For tests that start threads of their own round by round, from `begin` on: is another round due? `happened`: what the
// test is about.
bool AnotherRound(std::chrono::steady_clock::time_point begin, bool happened);

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

  // The run fails unless happened() is true at its end: threads that never met have tested nothing. `what` says in
  // words what should have happened. If a busy machine has kept it from happening until the budget is spent, the
  // threads go on until it has, for `patience` at most. It is asked while they run. Several may be asked for.
  void MustHappen(std::string what, std::function<bool()> happened, std::chrono::milliseconds patience = kPatience);
  // That Collided() is called at least once.
  void MustCollide(std::string what, std::chrono::milliseconds patience = kPatience);
  void Collided() noexcept { collisions_.fetch_add(1, std::memory_order::relaxed); }

  // Runs the crowds once and joins them. Returns how many steps were taken in all.
  uint64_t Run();

  uint64_t seed() const noexcept { return seed_; }

 private:
  const uint64_t seed_;
  std::vector<std::function<void(Rng&)>> steps_;  // one per thread
  struct Demand {
    std::string what;
    std::function<bool()> happened;
    std::chrono::milliseconds patience;
  };
  std::vector<Demand> demands_;
  std::atomic<uint64_t> collisions_{0};
};

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_STORM_H_
