#include <cstdint>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/branch_hints.h"

namespace hotpath::bench {
namespace {

HOTPATH_COLD uint64_t RepairElsewhere(uint64_t x) { return x * x; }
[[gnu::always_inline]] inline uint64_t Repair(uint64_t x) {
  for (uint64_t i = 1; i <= 6; ++i) x = (x ^ x >> 31) * (0x9e3779b97f4a7c15 + i) + (x << i % 7);
  return x;
}

struct AsItComes {
  static uint64_t Check(uint64_t x) { return x < 1000 ? Repair(x) : x; }
};
struct Hinted {
  static uint64_t Check(uint64_t x) {
    if (Unlikely(x < 1000)) x = Repair(x);
    return x;
  }
};
struct Cold {
  static uint64_t Check(uint64_t x) {
    if (x < 1000) x = RepairElsewhere(x);
    return x;
  }
};

// Four checks, none of which fails.
template <class How>
uint64_t Step(uint64_t x) {
  x = How::Check(x * 0xd1342543de82ef95);
  x = How::Check(x ^ x >> 29);
  x = How::Check(x * 0xaf251af3b0f025b5);
  return How::Check(x ^ x >> 32);
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  const auto x = Isolated<uint64_t>(uint64_t{1} << 40);
  paths.Add("four checks, as they come", [x] { Keep(Step<AsItComes>(*x)); });
  paths.Add("four checks, Unlikely", [x] { Keep(Step<Hinted>(*x)); });
  paths.Add("four checks, HOTPATH_COLD", [x] { Keep(Step<Cold>(*x)); });
  paths.Add("HOTPATH_ASSUME", [x] {
    HOTPATH_ASSUME(*x != 0);
    Keep(*x == 0 ? RepairElsewhere(*x) : *x);
  });
}

}  // namespace hotpath::bench
