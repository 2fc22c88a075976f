#ifndef HOTPATH_BENCH_BASE_ANNOUNCEMENT_H_
#define HOTPATH_BENCH_BASE_ANNOUNCEMENT_H_

#include <atomic>
#include <cstdint>

#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/base/sync.h"

namespace hotpath::bench {

// What a reader does if those who reclaim are to know of it, and no more: a store to a line of its own before, and one
// after. The floor of reads under a guard.
class Announcement {
 public:
  Announcement() {
    mine_.store(epoch_.load(std::memory_order::acquire), std::memory_order::release);
    StdSync::FreeLightFence();
  }
  ~Announcement() { mine_.store(0, std::memory_order::release); }
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

  static const std::atomic<uint64_t>& Mine() { return mine_; }

 private:
  alignas(kCacheLineSize) static inline constinit std::atomic<uint64_t> epoch_{1};
  alignas(kCacheLineSize) static inline constinit thread_local std::atomic<uint64_t> mine_{0};
};

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_ANNOUNCEMENT_H_
