#include "bench/base/ticks.h"

namespace hotpath::bench {

double TicksPerNs() noexcept {
  static const double rate = [] {
    const uint64_t ns = ClockNs(CLOCK_MONOTONIC), ticks = Ticks();
    uint64_t passed = 0;
    while ((passed = ClockNs(CLOCK_MONOTONIC) - ns) < 20'000'000) {
    }
    return static_cast<double>(Ticks() - ticks) / static_cast<double>(passed);
  }();
  return rate;
}

}  // namespace hotpath::bench
