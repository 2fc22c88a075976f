#include "tools/replay/latency_histogram.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace hotpath::replay {
namespace {

TEST(LatencyHistogramTest, AnEmptyOneHasNoPercentiles) {
  LatencyHistogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.Percentile(0.5), 0u);
  EXPECT_EQ(h.Percentile(1.0), 0u);
}

TEST(LatencyHistogramTest, SmallDurationsAreExact) {
  LatencyHistogram h;
  for (uint64_t ns = 1; ns <= 200; ++ns) h.Add(ns);
  EXPECT_EQ(h.Percentile(0.5), 100u);
  EXPECT_EQ(h.Percentile(0.99), 198u);
  EXPECT_EQ(h.Percentile(1.0), 200u);
  EXPECT_EQ(h.Percentile(0.001), 1u);
  EXPECT_EQ(h.total_ns(), 200u * 201 / 2);
}

TEST(LatencyHistogramTest, AnyDurationComesBackWithinOnePercentAndNeverTooShort) {
  for (uint64_t ns : {0ull, 1ull, 255ull, 256ull, 257ull, 511ull, 512ull, 513ull, 1000ull, 65535ull, 65536ull,
                      1234567ull, 999999999ull, (1ull << 40) - 1}) {
    LatencyHistogram h;
    h.Add(ns);
    EXPECT_GE(h.Percentile(0.5), ns);
    EXPECT_LE(h.Percentile(0.5), ns + ns / 100);
  }
}

TEST(LatencyHistogramTest, EveryBucketBoundaryStaysInOrder) {
  uint64_t last = 0;
  for (uint64_t ns = 1; ns < (1ull << 20); ns = ns + 1 + ns / 97) {
    LatencyHistogram h;
    h.Add(ns);
    EXPECT_GE(h.Percentile(1.0), last) << ns;
    last = h.Percentile(1.0);
  }
}

TEST(LatencyHistogramTest, WhatIsTooLongCountsAsTheLongest) {
  LatencyHistogram h;
  h.Add(UINT64_MAX / 2);
  EXPECT_EQ(h.count(), 1u);
  EXPECT_EQ(h.Percentile(0.5), (uint64_t{1} << 40) - 1);
}

TEST(LatencyHistogramTest, MergingAddsUp) {
  LatencyHistogram a, b;
  for (int i = 0; i < 90; ++i) a.Add(10);
  for (int i = 0; i < 10; ++i) b.Add(100000);
  a.Merge(b);
  EXPECT_EQ(a.count(), 100u);
  EXPECT_EQ(a.total_ns(), 90u * 10 + 10u * 100000);
  EXPECT_EQ(a.Percentile(0.9), 10u);
  EXPECT_GE(a.Percentile(0.91), 100000u);
}

}  // namespace
}  // namespace hotpath::replay
