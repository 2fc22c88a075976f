// Caught by linearizability: not linearizable

// A 64-bit time kept as two 32-bit words: a reader gets the low half of one write and the high half of another.
#include <cstdint>
#include <memory>

#include "gtest/gtest.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/specifications.h"

namespace hotpath::stress {
namespace {

struct Clock {
  void Set(uint64_t time) {
    low.store(static_cast<uint32_t>(time), std::memory_order::seq_cst);
    high.store(static_cast<uint32_t>(time >> 32), std::memory_order::seq_cst);
  }
  uint64_t Get() const {
    const uint64_t lower = low.load(std::memory_order::seq_cst);
    return uint64_t{high.load(std::memory_order::seq_cst)} << 32 | lower;
  }
  ChaosSync::Atomic<uint32_t> low{0}, high{0};
};

TEST(Zoo, TwoHalves) {
  ExpectLinearizable<RegisterSpec>(
      {}, [] { return std::make_unique<Clock>(); },
      [](Clock& clock, Rng& rng, Recorder<RegisterSpec>& record) {
        if (rng.OneIn(2)) {
          record({RegisterSpec::kRead}, [&] { return clock.Get(); });
        } else {
          const uint64_t time = rng.Below(1'000) * 0x1'0000'0001;
          record({RegisterSpec::kWrite, 0, time}, [&] { return clock.Set(time), uint64_t{0}; });
        }
      });
}

}  // namespace
}  // namespace hotpath::stress
