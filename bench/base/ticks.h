#ifndef HOTPATH_BENCH_BASE_TICKS_H_
#define HOTPATH_BENCH_BASE_TICKS_H_

#include <cstdint>
#include <ctime>

namespace hotpath::bench {

inline uint64_t ClockNs(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// A clock that all cores share and that costs a few nanoseconds: the time stamp counter, or steady time.
inline uint64_t Ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return ClockNs(CLOCK_MONOTONIC);
#endif
}

// Measured once, over 20 ms.
double TicksPerNs() noexcept;

inline uint64_t NsToTicks(double ns) noexcept { return static_cast<uint64_t>(ns * TicksPerNs()); }
inline double TicksToNs(double ticks) noexcept { return ticks / TicksPerNs(); }

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_TICKS_H_
