#ifndef HOTPATH_CORE_BASE_COUNTING_SYNC_H_
#define HOTPATH_CORE_BASE_COUNTING_SYNC_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ostream>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {

struct SyncCounts {
  uint64_t loads = 0, stores = 0, rmws = 0, fences = 0, light_fences = 0, heavy_fences = 0;
  uint64_t locks = 0, unlocks = 0, sleeps = 0, wakes = 0;
  bool operator==(const SyncCounts&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const SyncCounts& c) {
    return out << c.loads << " loads, " << c.stores << " stores, " << c.rmws << " RMWs, " << c.fences << " fences, "
               << c.light_fences << " light and " << c.heavy_fences << " heavy ones, " << c.locks << " locks, "
               << c.unlocks << " unlocks, " << c.sleeps << " sleeps, " << c.wakes << " wakes";
  }
};

// For tests of costs: Base, counting what the calling thread does to atomics and mutexes. Weak exchanges fail for a
// reason only, so that counts repeat.
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
  class Atomic : public std::atomic<T> {
    using Word = std::atomic<T>;

   public:
    using Word::Word;
    T load(std::memory_order order) const { return ++counts.loads, Word::load(order); }
    void store(T value, std::memory_order order) { ++counts.stores, Word::store(value, order); }
    T exchange(T value, std::memory_order order) { return ++counts.rmws, Word::exchange(value, order); }
    T fetch_add(T value, std::memory_order order) { return ++counts.rmws, Word::fetch_add(value, order); }
    T fetch_sub(T value, std::memory_order order) { return ++counts.rmws, Word::fetch_sub(value, order); }
    T fetch_and(T value, std::memory_order order) { return ++counts.rmws, Word::fetch_and(value, order); }
    T fetch_or(T value, std::memory_order order) { return ++counts.rmws, Word::fetch_or(value, order); }
    bool compare_exchange_weak(T& expected, T value, std::memory_order success, std::memory_order failure) {
      return compare_exchange_strong(expected, value, success, failure);
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order success, std::memory_order failure) {
      return ++counts.rmws, Word::compare_exchange_strong(expected, value, success, failure);
    }
  };

  class HOTPATH_CAPABILITY("mutex") Mutex {
   public:
    void Lock() HOTPATH_ACQUIRE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS { ++counts.locks, mu_.Lock(); }
    bool TryLock() HOTPATH_TRY_ACQUIRE(true) HOTPATH_NO_THREAD_SAFETY_ANALYSIS { return ++counts.locks, mu_.TryLock(); }
    void Unlock() HOTPATH_RELEASE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS { ++counts.unlocks, mu_.Unlock(); }

   private:
    typename Base::Mutex mu_;
  };

  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    counts.loads += (kBytes + 7) / 8;
    Base::template CopyWords<kBytes>(to, from);
  }
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>* to, const void* from) {
    counts.stores += (kBytes + 7) / 8;
    Base::template CopyWords<kBytes>(to, from);
  }

  static void Fence(std::memory_order order) { ++counts.fences, Base::Fence(order); }
  static void LightFence() { ++counts.light_fences, Base::LightFence(); }
  static void FreeLightFence() { ++counts.light_fences, Base::FreeLightFence(); }
  static void HeavyFence() { ++counts.heavy_fences, Base::HeavyFence(); }
  static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) {
    return ++counts.sleeps, Base::Park(word, expected, deadline);
  }
  static void Wake(Atomic<uint32_t>& word, uint32_t n) { ++counts.wakes, Base::Wake(word, n); }
};
static_assert(SyncPolicy<CountingSync<>>);

}  // namespace hotpath

#endif  // HOTPATH_CORE_BASE_COUNTING_SYNC_H_
