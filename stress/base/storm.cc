#include "stress/base/storm.h"

#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <latch>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace hotpath::stress {
namespace {

constexpr uint64_t kDefaultBudgetMs = 250;

uint64_t Environment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  if (text == nullptr) return fallback;
  uint64_t value = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, value);
  if (error == std::errc{} && stopped == end) return value;
  ADD_FAILURE() << name << "=" << text << " is not a number from 0 to 2^64-1";
  return fallback;
}

// True from the first failure on; wakes whoever waits for the budget to be spent.
class Stop : public testing::EmptyTestEventListener {
 public:
  void Request() {
    std::lock_guard lock(mu_);
    requested_.store(true, std::memory_order::relaxed);
    changed_.notify_all();
  }
  bool Requested() const { return requested_.load(std::memory_order::relaxed); }

  void WaitUntil(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mu_);
    changed_.wait_until(lock, deadline, [this] { return Requested(); });
  }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) Request();
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::atomic<bool> requested_{false};
};

}  // namespace

uint64_t SeedFromEnvironment() {
  static const uint64_t drawn = std::random_device{}();
  return Environment("HOTPATH_SEED", drawn);
}

std::chrono::milliseconds BudgetFromEnvironment() {
  return std::chrono::milliseconds(Environment("HOTPATH_STRESS_MS", kDefaultBudgetMs));
}

bool AnotherRound(std::chrono::steady_clock::time_point begin, bool happened) {
  const auto budget = BudgetFromEnvironment();
  return std::chrono::steady_clock::now() < begin + (happened ? budget : budget + kPatience);
}

Storm::Storm() : seed_(SeedFromEnvironment()) {}

void Storm::Crowd(int threads, const std::function<void(Rng&)>& step) {
  steps_.insert(steps_.end(), static_cast<size_t>(threads), step);
}

void Storm::MustCollide(std::string what, std::chrono::milliseconds patience) {
  MustHappen(std::move(what), [this] { return collisions_.load(std::memory_order::relaxed) != 0; }, patience);
}

void Storm::MustHappen(std::string what, std::function<bool()> happened, std::chrono::milliseconds patience) {
  demands_.push_back({std::move(what), std::move(happened), patience});
}

uint64_t Storm::Run() {
  std::cout << "[   STORM  ] " << steps_.size() << " threads, HOTPATH_SEED=" << seed_ << '\n' << std::flush;
  const std::chrono::milliseconds budget = BudgetFromEnvironment();
  std::atomic<uint64_t> taken{0};
  Stop stop;
  testing::UnitTest::GetInstance()->listeners().Append(&stop);
  {
    std::latch start(static_cast<std::ptrdiff_t>(steps_.size()) + 1);
    std::vector<std::jthread> threads;
    threads.reserve(steps_.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      threads.emplace_back([&, i] {
        Rng rng(seed_, i);
        thread_rng = Rng(~seed_, i);
        uint64_t mine = 0;
        start.arrive_and_wait();
        do {
          steps_[i](rng);
          ++mine;
        } while (!stop.Requested());
        taken.fetch_add(mine, std::memory_order::relaxed);
      });
    }
    start.arrive_and_wait();
    const auto begin = std::chrono::steady_clock::now();
    stop.WaitUntil(begin + budget);
    for (const Demand& demand : demands_) {
      while (!demand.happened() && !stop.Requested() &&
             std::chrono::steady_clock::now() < begin + budget + demand.patience) {
        stop.WaitUntil(std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
      }
    }
    stop.Request();
  }
  testing::UnitTest::GetInstance()->listeners().Release(&stop);
  for (const Demand& demand : demands_) {
    if (demand.happened()) continue;
    ADD_FAILURE() << "nothing was tested: expected that " << demand.what << " (HOTPATH_SEED=" << seed_ << ", "
                  << (budget + demand.patience).count() << " ms)";
  }
  return taken.load(std::memory_order::relaxed);
}

}  // namespace hotpath::stress
