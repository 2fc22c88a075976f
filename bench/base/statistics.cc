#include "bench/base/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace hotpath::bench {

std::optional<double> Median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::optional<Spread> Summarize(std::span<const double> values) {
  const std::optional<double> median = Median({values.begin(), values.end()});
  if (!median) return std::nullopt;
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  return Spread{*median, *min, *max};
}

std::optional<Spread> Ratio(std::span<const std::optional<double>> theirs,
                            std::span<const std::optional<double>> ours) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(theirs.size(), ours.size()); ++i) {
    if (theirs[i] && ours[i] && *ours[i] > 0) ratios.push_back(*theirs[i] / *ours[i]);
  }
  return Summarize(ratios);
}

size_t Histogram::Bucket(uint64_t value) noexcept {
  if (value < kSteps) return value;
  const size_t shift = static_cast<size_t>(std::bit_width(value)) - 5;  // leaves 16 to 31
  return (shift + 1) * kSteps + (value >> shift) % kSteps;
}

uint64_t Histogram::BucketEnd(size_t bucket) noexcept {
  if (bucket < kSteps) return bucket;
  const size_t shift = bucket / kSteps - 1;
  return ((kSteps + bucket % kSteps + 1) << shift) - 1;
}

void Histogram::Merge(const Histogram& other) noexcept {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

uint64_t Histogram::count() const noexcept {
  uint64_t sum = 0;
  for (const uint64_t n : counts_) sum += n;
  return sum;
}

uint64_t Histogram::Quantile(double q) const noexcept {
  const uint64_t wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count()))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if ((seen += counts_[i]) >= wanted) return BucketEnd(i);
  }
  return 0;
}

}  // namespace hotpath::bench
