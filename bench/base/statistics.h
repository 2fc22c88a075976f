#ifndef HOTPATH_BENCH_BASE_STATISTICS_H_
#define HOTPATH_BENCH_BASE_STATISTICS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hotpath::bench {

// Of no numbers: no number.
std::optional<double> Median(std::vector<double> values);

struct Spread {
  double median = 0, min = 0, max = 0;
  friend bool operator==(const Spread&, const Spread&) = default;
};
std::optional<Spread> Summarize(std::span<const double> values);

// How many times as long `theirs` takes as `ours`, round by round: rounds are interleaved, so that what slows the
// machine down for a while slows both. A round where either has no number counts for nothing.
std::optional<Spread> Ratio(std::span<const std::optional<double>> theirs, std::span<const std::optional<double>> ours);

// Counts durations in buckets 1/16 of a power of two wide: every quantile is right to 6 %.
class Histogram {
 public:
  void Add(uint64_t value) noexcept { ++counts_[Bucket(value)]; }
  void Merge(const Histogram& other) noexcept;
  uint64_t count() const noexcept;
  // The smallest value such that at least `q` of all are no larger, rounded up to its bucket's end; 0 if there is none.
  uint64_t Quantile(double q) const noexcept;

 private:
  static constexpr size_t kSteps = 16;
  static size_t Bucket(uint64_t value) noexcept;
  static uint64_t BucketEnd(size_t bucket) noexcept;

  std::array<uint64_t, kSteps * 61> counts_{};
};

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_STATISTICS_H_
