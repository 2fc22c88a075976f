#ifndef HOTPATH_CORE_ADAPTIVE_LOCK_H_
#define HOTPATH_CORE_ADAPTIVE_LOCK_H_

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/parking.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {

namespace adaptive_lock_internal {

template <size_t kBytes>
using WordOf =
    std::conditional_t<kBytes == 1, uint8_t,
                       std::conditional_t<kBytes == 2, uint16_t, std::conditional_t<kBytes == 4, uint32_t, uint64_t>>>;

template <class T>
concept Value = std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T> && !std::is_volatile_v<T>;

// std::copyable keeps out what is trivially copyable but has, say, a const member: With could not assign it.
template <class T>
concept FitsAtomic =
    Value<T> && std::is_trivially_copyable_v<T> && std::copyable<T> && sizeof(T) <= 8 && std::has_single_bit(sizeof(T));

template <class T>
concept Number = std::integral<T> && !std::same_as<T, bool> && FitsAtomic<T>;

// The bytes of a value, as one word. Padding comes along as it happens to be: words are only ever compared with words
// that were read before, never with a value's.
template <class T>
class Word {
 public:
  using Bits = WordOf<sizeof(T)>;
  static constexpr Bits From(const T& value) noexcept { return std::bit_cast<Bits>(std::bit_cast<Bytes>(value)); }
  static constexpr T To(Bits bits) noexcept { return std::bit_cast<T>(bits); }

 private:
  struct Bytes {
    std::byte bytes[sizeof(T)];
  };
};

// No constant expression turns a pointer into a number.
template <class T>
class Word<T*> {
 public:
  using Bits = T*;
  static constexpr T* From(T* value) noexcept { return value; }
  static constexpr T* To(T* bits) noexcept { return bits; }
};

}  // namespace adaptive_lock_internal

// AdaptiveLock<T>: a value that threads share; an atomic where the machine has one for it, a small lock elsewhere.
//
// Contract  Every operation is atomic. What happened before one that writes happens before a later one that sees its
//           value, or one that FetchX, With or CompareExchange made of it; among several objects there is no single
//           order unless the lock makes one. T is atomic (kIsAtomic) if it is trivially copyable and has 1, 2, 4 or 8
//           bytes. Then With runs f on a copy, and again if another thread was faster or the exchange fails without a
//           reason: f is to be pure, and must not write this object, or it goes on for ever. Otherwise f runs once,
//           under the lock; if it throws, T stays as f left it. To use the object inside f is a CHECK failure then.
//           A global of a number, a pointer, a struct without padding or of a locked T is initialised at compile time.
// Progress  Atomic: Load and Store wait-free, on x86-64 FetchAdd and FetchSub too; the rest lock-free. Locked: all
//           blocking.
// Cost      Atomic: sizeof(T), one RMW (Load, Store: none). Locked: sizeof(T) + 8 bytes, an RMW to lock, one to unlock.
// Not for   counters under contention (StripedCounter), values that are mostly read (SeqlockStats, RcuCell); if locked,
//           the child of a fork(2) that came while another thread was inside, signal handlers.
// Proof     adaptive_lock_model fails if any [tag] below is weakened.
// Example   AdaptiveLockTest.KeepsAQueueAndItsLength
template <class T, SyncPolicy Sync = StdSync>
class BasicAdaptiveLock;

template <class T, SyncPolicy Sync>
  requires adaptive_lock_internal::FitsAtomic<T>
class BasicAdaptiveLock<T, Sync> {
  using Word = adaptive_lock_internal::Word<T>;
  using Bits = typename Word::Bits;

 public:
  static constexpr bool kIsAtomic = true;

  constexpr BasicAdaptiveLock() noexcept
    requires std::default_initializable<T>
      : BasicAdaptiveLock(T{}) {}
  constexpr explicit BasicAdaptiveLock(T initial) noexcept : word_(Word::From(initial)) {}
  BasicAdaptiveLock(const BasicAdaptiveLock&) = delete;
  BasicAdaptiveLock& operator=(const BasicAdaptiveLock&) = delete;

  [[nodiscard]] T Load() const noexcept {
    return Word::To(word_.load(std::memory_order::acquire));  // [A1] pairs A2 A3 A4 A5 A6 A7 A8
  }
  void Store(T value) noexcept {
    word_.store(Word::From(value), std::memory_order::release);  // [A2] pairs A1 A3 A4 A5 A6 A7 A8 A9
  }

  // Returns what f(T&) returned, by value, when it ran on the copy that became the value. If f throws, nothing changes.
  template <class F>
    requires std::invocable<F&, T&>
  auto With(F&& f) {
    Bits seen = word_.load(std::memory_order::acquire);  // [A9] pairs A2
    for (;;) {
      T value = Word::To(seen);
      if constexpr (std::is_void_v<std::invoke_result_t<F&, T&>>) {
        std::invoke(f, value);
        if (Replace(seen, Word::From(value))) return;
      } else {
        auto result = std::invoke(f, value);
        if (Replace(seen, Word::From(value))) return result;
      }
    }
  }

  // These wrap. They return the value before. RMWs pair with each other, too.
  T FetchAdd(T delta) noexcept
    requires adaptive_lock_internal::Number<T>
  {
    return Word::To(word_.fetch_add(Word::From(delta), std::memory_order::acq_rel));  // [A4] pairs A1 A2
  }
  T FetchSub(T delta) noexcept
    requires adaptive_lock_internal::Number<T>
  {
    return Word::To(word_.fetch_sub(Word::From(delta), std::memory_order::acq_rel));  // [A5] pairs A1 A2
  }
  T FetchOr(T mask) noexcept
    requires adaptive_lock_internal::Number<T>
  {
    return Word::To(word_.fetch_or(Word::From(mask), std::memory_order::acq_rel));  // [A6] pairs A1 A2
  }
  T FetchAnd(T mask) noexcept
    requires adaptive_lock_internal::Number<T>
  {
    return Word::To(word_.fetch_and(Word::From(mask), std::memory_order::acq_rel));  // [A7] pairs A1 A2
  }

  // True if the value was `expected`, and is `desired` now. Otherwise `expected` becomes what it is.
  [[nodiscard]] bool CompareExchange(T& expected, T desired) noexcept
    requires std::integral<T>
  {
    Bits seen = Word::From(expected);
    const bool done = word_.compare_exchange_strong(seen, Word::From(desired), std::memory_order::acq_rel,
                                                    std::memory_order::acquire);  // [A8] pairs A1 A2
    expected = Word::To(seen);
    return done;
  }

  static constexpr const char* Describe() noexcept {
    constexpr const char* kNames[] = {"", "atomic, 1 byte", "atomic, 2 bytes", "", "atomic, 4 bytes", "", "",
                                      "", "atomic, 8 bytes"};
    return kNames[sizeof(T)];
  }

 private:
  bool Replace(Bits& seen, Bits desired) noexcept {
    return word_.compare_exchange_weak(seen, desired, std::memory_order::acq_rel,
                                       std::memory_order::acquire);  // [A3] pairs A1 A2
  }

  typename Sync::template Atomic<Bits> word_;
  static_assert(Sync::template Atomic<Bits>::is_always_lock_free);
};

template <class T, SyncPolicy Sync>
  requires(adaptive_lock_internal::Value<T> && !adaptive_lock_internal::FitsAtomic<T>)
class BasicAdaptiveLock<T, Sync> {
 public:
  static constexpr bool kIsAtomic = false;

  constexpr BasicAdaptiveLock()
    requires std::default_initializable<T>
  = default;
  constexpr explicit BasicAdaptiveLock(T initial)
    requires std::move_constructible<T>
      : value_(std::move(initial)) {}
  BasicAdaptiveLock(const BasicAdaptiveLock&) = delete;
  BasicAdaptiveLock& operator=(const BasicAdaptiveLock&) = delete;

  [[nodiscard]] T Load() const
    requires std::copy_constructible<T>
  {
    MutexLock lock(lock_);
    return value_.Read();
  }
  // The value before is destroyed after the lock is free.
  void Store(T value)
    requires std::swappable<T>
  {
    MutexLock lock(lock_);
    std::ranges::swap(value_.Edit(), value);
  }
  // Returns what f(T&) returned, by value: no reference escapes the lock.
  template <class F>
    requires std::invocable<F&, T&>
  auto With(F&& f) {
    MutexLock lock(lock_);
    return std::invoke(f, value_.Edit());
  }

  static constexpr const char* Describe() noexcept { return "lock, 8 bytes: spins, then parks on a futex"; }

 private:
  mutable BasicOwnedLock<Sync> lock_;
  typename Sync::template Var<T> value_ HOTPATH_GUARDED_BY(lock_);
};

template <class T>
using AdaptiveLock = BasicAdaptiveLock<T>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_ADAPTIVE_LOCK_H_
