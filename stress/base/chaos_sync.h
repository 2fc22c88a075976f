#ifndef HOTPATH_STRESS_BASE_CHAOS_SYNC_H_
#define HOTPATH_STRESS_BASE_CHAOS_SYNC_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/sync.h"
#include "stress/base/rng.h"

namespace hotpath::stress {

// StdSync with bad luck: before an operation a thread may pause, or give the CPU away; exchanges and try-locks that are
// allowed to fail for no reason do, and parked threads wake up for no reason. On a machine with few cores this is what
// makes threads meet inside the critical windows, so that is where a stress test asks whether they met. The choices are
// drawn from thread_rng. CopyWords copies word by word, with chaos in between, which also lets sanitizers see the
// words.
struct ChaosSync {
  // One thread in about 64 operations loses the CPU, one in 16 is slowed down.
  static void Chaos() noexcept {
    const uint64_t luck = thread_rng();
    if (luck % 16 != 0) [[likely]]
      return;
    if (luck / 16 % 4 == 0) return StdSync::Yield();
    for (uint64_t i = luck / 64 % 64; i > 0; --i) StdSync::Relax();
  }
  // Whether something that may happen for no reason does.
  static bool ForNoReason() noexcept { return thread_rng.OneIn(16); }

  // ---- Shared data ----

  template <class T>
  class Atomic {
   public:
    static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

    constexpr Atomic() = default;
    explicit(false) constexpr Atomic(T value) : atomic_(value) {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order order) const noexcept {
      Chaos();
      return atomic_.load(order);
    }
    void store(T value, std::memory_order order) noexcept {
      Chaos();
      atomic_.store(value, order);
    }
    T exchange(T value, std::memory_order order) noexcept {
      Chaos();
      return atomic_.exchange(value, order);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) noexcept {
      Chaos();
      if (ForNoReason()) {
        expected = atomic_.load(failure);
        return false;
      }
      return atomic_.compare_exchange_weak(expected, desired, success, failure);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                 std::memory_order failure) noexcept {
      Chaos();
      return atomic_.compare_exchange_strong(expected, desired, success, failure);
    }
    template <class Delta>
    T fetch_add(Delta delta, std::memory_order order) noexcept {
      Chaos();
      return atomic_.fetch_add(delta, order);
    }
    template <class Delta>
    T fetch_sub(Delta delta, std::memory_order order) noexcept {
      Chaos();
      return atomic_.fetch_sub(delta, order);
    }
    template <class Mask>
    T fetch_and(Mask mask, std::memory_order order) noexcept {
      Chaos();
      return atomic_.fetch_and(mask, order);
    }
    template <class Mask>
    T fetch_or(Mask mask, std::memory_order order) noexcept {
      Chaos();
      return atomic_.fetch_or(mask, order);
    }
    template <class Mask>
    T fetch_xor(Mask mask, std::memory_order order) noexcept {
      Chaos();
      return atomic_.fetch_xor(mask, order);
    }

   private:
    friend struct ChaosSync;
    std::atomic<T> atomic_{};
  };

  template <class T>
  class Var {
   public:
    constexpr Var() = default;
    constexpr explicit Var(T value) : value_(std::move(value)) {}
    Var(const Var&) = delete;
    Var& operator=(const Var&) = delete;

    const T& Read() const noexcept {
      Chaos();
      return value_;
    }
    void Write(T value) {
      Chaos();
      value_ = std::move(value);
    }
    T& Edit() noexcept {
      Chaos();
      return value_;
    }

   private:
    T value_{};
  };

  class HOTPATH_CAPABILITY("mutex") Mutex {
   public:
    constexpr Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void Lock() HOTPATH_ACQUIRE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
      Chaos();
      mu_.Lock();
    }
    [[nodiscard]] bool TryLock() HOTPATH_TRY_ACQUIRE(true) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
      Chaos();
      return !ForNoReason() && mu_.TryLock();
    }
    void Unlock() HOTPATH_RELEASE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
      Chaos();
      mu_.Unlock();
    }

   private:
    StdSync::Mutex mu_;
  };

  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) noexcept {
    for (size_t at = 0; at < kBytes; at += 8) {
      const uint64_t word = from[at / 8].load(std::memory_order::relaxed);
      std::memcpy(static_cast<std::byte*>(to) + at, &word, std::min<size_t>(8, kBytes - at));
    }
  }
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>* to, const void* from) noexcept {
    for (size_t at = 0; at < kBytes; at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, static_cast<const std::byte*>(from) + at, std::min<size_t>(8, kBytes - at));
      to[at / 8].store(word, std::memory_order::relaxed);
    }
  }

  // ---- Fences ----

  static void Fence(std::memory_order order) noexcept {
    Chaos();
    StdSync::Fence(order);
  }
  static void LightFence() noexcept {
    Chaos();
    StdSync::LightFence();
  }
  static void FreeLightFence() noexcept {
    Chaos();
    StdSync::FreeLightFence();
  }
  static void HeavyFence() noexcept {
    Chaos();
    StdSync::HeavyFence();
  }
  [[nodiscard]] static bool AsymmetricFences() noexcept { return StdSync::AsymmetricFences(); }

  // ---- Waiting ----

  static void Relax() noexcept { StdSync::Relax(); }
  static void Pause() noexcept { StdSync::Pause(); }
  static void Yield() noexcept { StdSync::Yield(); }
  [[nodiscard]] static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) noexcept {
    Chaos();
    return ForNoReason() || StdSync::Park(word.atomic_, expected, deadline);
  }
  static void Wake(Atomic<uint32_t>& word, uint32_t n) noexcept {
    Chaos();
    StdSync::Wake(word.atomic_, n);
  }
  static void NoPark(int change) noexcept { StdSync::NoPark(change); }

  // ---- Threads ----

  static constexpr uint32_t kMaxThreads = StdSync::kMaxThreads;

  static uint32_t ThreadIndex() noexcept { return StdSync::ThreadIndex(); }
  static uint32_t ThreadIndexPlusOne() noexcept { return StdSync::ThreadIndexPlusOne(); }
  [[nodiscard]] static bool Vanished(uint32_t index) noexcept { return StdSync::Vanished(index); }
  static void AtThreadExit(ThreadExitHook& hook) noexcept {
    Chaos();
    StdSync::AtThreadExit(hook);
  }
  static bool CancelAtThreadExit(ThreadExitHook& hook) noexcept {
    Chaos();
    return StdSync::CancelAtThreadExit(hook);
  }

  // ---- Memory ----

  static constexpr size_t kLineSize = StdSync::kLineSize;

  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&... args) {
    Chaos();
    return StdSync::New<T>(std::forward<Args>(args)...);
  }
  template <class T>
  static void Delete(T* object) noexcept {
    Chaos();
    StdSync::Delete(object);
  }
};
static_assert(SyncPolicy<ChaosSync>);

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_CHAOS_SYNC_H_
