#ifndef HOTPATH_CORE_BASE_COUNTING_SYNC_H_
#define HOTPATH_CORE_BASE_COUNTING_SYNC_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hotpath/core/base/sync.h"

namespace hotpath {

struct SyncCounts {
  uint64_t loads = 0, stores = 0, rmws = 0, fences = 0, sleeps = 0, wakes = 0;
  bool operator==(const SyncCounts&) const = default;
};

// For tests of costs: Base, counting what the calling thread does to atomics. Weak exchanges fail for a reason only, so
// that counts repeat. Words are not copied.
template <class Base = StdSync>
struct CountingSync : Base {
  static inline thread_local SyncCounts counts;

  template <class F>
  static SyncCounts CountsOf(F f) {
    counts = {};
    f();
    return counts;
  }

  template <class T>
  class Atomic {
   public:
    constexpr explicit(false) Atomic(T value = T()) : atomic_(value) {}
    T load(std::memory_order order) const {
      ++counts.loads;
      return atomic_.load(order);
    }
    void store(T value, std::memory_order order) {
      ++counts.stores;
      atomic_.store(value, order);
    }
    T exchange(T value, std::memory_order order) {
      ++counts.rmws;
      return atomic_.exchange(value, order);
    }
    T fetch_add(T value, std::memory_order order) {
      ++counts.rmws;
      return atomic_.fetch_add(value, order);
    }
    bool compare_exchange_weak(T& expected, T value, std::memory_order success, std::memory_order failure) {
      return compare_exchange_strong(expected, value, success, failure);
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order success, std::memory_order failure) {
      ++counts.rmws;
      return atomic_.compare_exchange_strong(expected, value, success, failure);
    }

   private:
    friend struct CountingSync;
    std::atomic<T> atomic_;
  };

  static void Fence(std::memory_order order) {
    ++counts.fences;
    Base::Fence(order);
  }
  static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) {
    ++counts.sleeps;
    return Base::Park(word.atomic_, expected, deadline);
  }
  static void Wake(Atomic<uint32_t>& word, uint32_t n) {
    ++counts.wakes;
    Base::Wake(word.atomic_, n);
  }
  template <size_t kBytes>
  static void CopyWords(void*, const Atomic<uint64_t>*) {}
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>*, const void*) {}
};
static_assert(SyncPolicy<CountingSync<>>);

}  // namespace hotpath

#endif  // HOTPATH_CORE_BASE_COUNTING_SYNC_H_
