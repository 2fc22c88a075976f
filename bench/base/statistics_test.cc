#include "bench/base/statistics.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "gtest/gtest.h"

namespace hotpath::bench {
namespace {

using Rounds = std::vector<std::optional<double>>;

TEST(StatisticsTest, MedianOfNothingIsNothing) { EXPECT_FALSE(Median({}).has_value()); }
TEST(StatisticsTest, MedianTakesTheMiddleOfAnyOrder) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
}
TEST(StatisticsTest, SummaryKeepsTheExtremes) { EXPECT_EQ(Summarize(std::vector<double>{5, 1, 9}), (Spread{5, 1, 9})); }

TEST(StatisticsTest, RatioComparesRoundWithRound) {
  // A machine that is three times as slow in the second round changes no ratio.
  EXPECT_EQ(Ratio(Rounds{10, 30, 10}, Rounds{5, 15, 5}), (Spread{2, 2, 2}));
}
TEST(StatisticsTest, RatioSkipsARoundWithoutANumber) {
  EXPECT_EQ(Ratio(Rounds{10, std::nullopt, 40}, Rounds{5, 1, std::nullopt}), (Spread{2, 2, 2}));
  EXPECT_FALSE(Ratio(Rounds{std::nullopt}, Rounds{1}).has_value());
}
TEST(StatisticsTest, RatioDoesNotDivideByZero) { EXPECT_FALSE(Ratio(Rounds{1}, Rounds{0}).has_value()); }

TEST(HistogramTest, QuantilesOfSmallValuesAreExact) {
  Histogram h;
  for (uint64_t v = 1; v <= 10; ++v) h.Add(v);
  EXPECT_EQ(h.count(), 10u);
  EXPECT_EQ(h.Quantile(0.5), 5u);
  EXPECT_EQ(h.Quantile(0.99), 10u);
  EXPECT_EQ(h.Quantile(0), 1u);
}
TEST(HistogramTest, QuantilesAreNeverLowAndAtMostASixteenthHigh) {
  for (uint64_t v = 1; v < uint64_t{1} << 62; v = v * 3 + 1) {
    Histogram h;
    h.Add(v);
    EXPECT_GE(h.Quantile(0.5), v);
    EXPECT_LE(h.Quantile(0.5) - v, v / 16) << v;
  }
}
TEST(HistogramTest, TakesTheLargestValue) {
  Histogram h;
  h.Add(UINT64_MAX);
  EXPECT_EQ(h.Quantile(1), UINT64_MAX);
}
TEST(HistogramTest, MergesCounts) {
  Histogram a, b;
  a.Add(1);
  b.Add(9);
  a.Merge(b);
  EXPECT_EQ(a.count(), 2u);
  EXPECT_EQ(a.Quantile(1), 9u);
}
TEST(HistogramTest, QuantileOfNothingIsZero) { EXPECT_EQ(Histogram().Quantile(0.5), 0u); }

}  // namespace
}  // namespace hotpath::bench
