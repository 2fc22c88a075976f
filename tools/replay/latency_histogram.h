#ifndef HOTPATH_TOOLS_REPLAY_LATENCY_HISTOGRAM_H_
#define HOTPATH_TOOLS_REPLAY_LATENCY_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace hotpath::replay {

// Counts durations in nanoseconds.  Values below 256 are exact; above, a bucket is 1/128 of its power of two wide, so
// that a percentile is at most 0.8 % off.  Durations from 2^40 ns (18 minutes) on count as the longest.
// Cost of Add: a few instructions and one store; no allocation.  For one thread.
class LatencyHistogram {
 public:
  void Add(uint64_t ns) {
    ++buckets_[BucketOf(ns)];
    ++count_;
    total_ns_ += ns;
  }

  void Merge(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    total_ns_ += other.total_ns_;
  }

  uint64_t count() const { return count_; }
  uint64_t total_ns() const { return total_ns_; }

  // The smallest duration that at least `fraction` of all reached or stayed below, in (0, 1]; 0 if there are none.
  uint64_t Percentile(double fraction) const {
    const auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen >= wanted && seen > 0) return Highest(i);
    }
    return 0;
  }

 private:
  static constexpr int kLinearBits = 8;  // values below 2^8 have a bucket each
  static constexpr int kMaxBits = 40;
  static constexpr size_t kLinear = size_t{1} << kLinearBits;
  static constexpr size_t kHalf = kLinear / 2;  // buckets in a power of two above
  static constexpr size_t kBuckets = kLinear + (kMaxBits - kLinearBits) * kHalf;

  static size_t BucketOf(uint64_t ns) {
    if (ns < kLinear) return ns;
    ns = std::min(ns, (uint64_t{1} << kMaxBits) - 1);
    const int shift = std::bit_width(ns) - kLinearBits;
    return static_cast<size_t>(shift) * kHalf + static_cast<size_t>(ns >> shift);
  }

  // The largest value that falls into a bucket.
  static uint64_t Highest(size_t bucket) {
    if (bucket < kLinear) return bucket;
    const size_t shift = bucket / kHalf - 1;
    const uint64_t mantissa = bucket - shift * kHalf;
    return ((mantissa + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0, total_ns_ = 0;
};

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_LATENCY_HISTOGRAM_H_
