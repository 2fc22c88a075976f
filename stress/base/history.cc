#include "stress/base/history.h"

#include <atomic>
#include <chrono>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace hotpath::stress {
namespace {

#if defined(__x86_64__)
// The fence keeps the operation from starting before its time is taken.
uint64_t TscBefore() {
  const uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}
// rdtscp waits until all earlier instructions have been executed.
uint64_t TscAfter() {
  unsigned cpu;
  const uint64_t now = __rdtscp(&cpu);
  _mm_lfence();
  return now;
}
bool TscIsInvariant() {
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}
#else
uint64_t TscBefore() { return 0; }
uint64_t TscAfter() { return 0; }
bool TscIsInvariant() { return false; }
#endif

// Hands the counter back and forth between two threads: no reading may be below one that came before it.
bool TscAgreesBetweenThreads() {
  constexpr uint64_t kHandovers = 1'000;
  std::atomic<uint64_t> turn{0}, latest{0};
  std::atomic<bool> agrees{true};
  const auto play = [&](uint64_t player) {
    for (uint64_t i = player; i < kHandovers; i += 2) {
      while (turn.load(std::memory_order::acquire) != i) std::this_thread::yield();
      const uint64_t now = TscBefore();
      if (now < latest.load(std::memory_order::relaxed)) agrees.store(false, std::memory_order::relaxed);
      latest.store(TscAfter(), std::memory_order::relaxed);
      turn.store(i + 1, std::memory_order::release);
    }
  };
  std::jthread other([&] { play(1); });
  play(0);
  other.join();
  return agrees.load(std::memory_order::relaxed);
}

uint64_t Monotonic() { return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }

}  // namespace

HistoryClock& HistoryClock::Get() {
  static HistoryClock clock;
  return clock;
}

HistoryClock::HistoryClock() : tsc_(TscIsInvariant() && TscAgreesBetweenThreads()) {}

uint64_t HistoryClock::Before() const { return tsc_ ? TscBefore() : Monotonic(); }
uint64_t HistoryClock::After() const { return tsc_ ? TscAfter() : Monotonic(); }

}  // namespace hotpath::stress
