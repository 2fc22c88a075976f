#ifndef HOTPATH_MODELS_BASE_RELACY_SYNC_H_
#define HOTPATH_MODELS_BASE_RELACY_SYNC_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/sync.h"
#include "models/base/board.h"
#include "models/base/relacy.h"
#include "models/base/world.h"

namespace hotpath::model {

// The policy under which shipped headers are model-checked. Its operations mean what StdSync says they mean and no
// more: where StdSync promises no happens-before, none is modelled. Relacy runs the threads as fibers of one thread,
// never unwinds a failing one, and replays an execution by running it again. So the code under test must not depend on
// addresses, nor keep state outside the model.
struct RelacySync {
  // ---- Shared data ----

  template <class T>
  class Atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "models have no atomics of more than 64 bits");
    static constexpr bool kIsNumber = std::is_integral_v<T> && !std::is_same_v<T, bool>;
    using Difference = std::conditional_t<std::is_pointer_v<T>, std::ptrdiff_t, T>;

   public:
    static constexpr bool is_always_lock_free = true;

    Atomic() : Atomic(T{}) {}
    explicit(false) Atomic(T value) : bits_(Undisturbed(To(value))) { rl::ctx().enable_preemption(); }
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order order, Where where = Where::current()) const {
      life_.Touch(where);
      return From(bits_.load(Convert(Effective(order, Kind::kLoad, where)), Info(where)));
    }
    void store(T value, std::memory_order order, Where where = Where::current()) {
      life_.Touch(where);
      bits_.store(To(value), Convert(Effective(order, Kind::kStore, where)), Info(where));
    }
    T exchange(T value, std::memory_order order, Where where = Where::current()) {
      life_.Touch(where);
      return From(bits_.exchange(To(value), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure,
                               Where where = Where::current()) {
      return CompareExchange(rl::bool_t<true>(), expected, desired, success, failure, where);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success, std::memory_order failure,
                                 Where where = Where::current()) {
      return CompareExchange(rl::bool_t<false>(), expected, desired, success, failure, where);
    }
    T fetch_add(Difference delta, std::memory_order order, Where where = Where::current())
      requires(kIsNumber || std::is_pointer_v<T>)
    {
      life_.Touch(where);
      return From(bits_.fetch_add(Scaled(delta), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }
    T fetch_sub(Difference delta, std::memory_order order, Where where = Where::current())
      requires(kIsNumber || std::is_pointer_v<T>)
    {
      life_.Touch(where);
      return From(bits_.fetch_sub(Scaled(delta), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }
    T fetch_and(T mask, std::memory_order order, Where where = Where::current())
      requires kIsNumber
    {
      life_.Touch(where);
      return From(bits_.fetch_and(To(mask), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }
    T fetch_or(T mask, std::memory_order order, Where where = Where::current())
      requires kIsNumber
    {
      life_.Touch(where);
      return From(bits_.fetch_or(To(mask), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }
    T fetch_xor(T mask, std::memory_order order, Where where = Where::current())
      requires kIsNumber
    {
      life_.Touch(where);
      return From(bits_.fetch_xor(To(mask), Convert(Effective(order, Kind::kRmw, where)), Info(where)));
    }

   private:
    friend struct RelacySync;

    // Relacy prints, compares and adds the bits; it knows nothing of T.
    using Bits = std::conditional_t<
        sizeof(T) == 1, Byte,
        std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) <= 4, uint32_t, uint64_t>>>;
    static Bits To(T value) {
      Bits bits{};
      std::memcpy(&bits, &value, sizeof(T));
      return bits;
    }
    static T From(Bits bits) {
      T value;
      std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
      return value;
    }
    static Bits Scaled(Difference delta) {
      if constexpr (std::is_pointer_v<T>) {
        return static_cast<Bits>(delta) * sizeof(std::remove_pointer_t<T>);
      } else {
        return To(delta);
      }
    }
    // The first store is Relacy's own, and no place for another thread to run.
    static Bits Undisturbed(Bits bits) {
      rl::ctx().disable_preemption();
      return bits;
    }

    template <class MayFail>
    bool CompareExchange(MayFail may_fail, T& expected, T desired, std::memory_order success, std::memory_order failure,
                         const Where& where) {
      life_.Touch(where);
      success = Effective(success, Kind::kCas, where);
      failure = Effective(failure, Kind::kCasFail, where);
      Bits seen = To(expected);
      bool done;
      if (rl::context& c = ctx(); IsLegalInCxx11(success, failure)) {
        done = bits_.compare_exchange(may_fail, seen, To(desired), Convert(success), Convert(failure), Info(where));
      } else {
        // Relacy knows the pairs of C++11 only, and turns the others into something else without a word. Its failing
        // exchange reads the newest value, so it is known which of the two orders will be wanted.
        c.sched();
        c.disable_preemption();
        const bool equal = bits_.debug_value() == seen;
        const std::memory_order order = equal ? success : failure;
        const std::memory_order other = equal ? std::memory_order::relaxed : failure;
        done = bits_.compare_exchange(may_fail, seen, To(desired), Convert(order), Convert(other), Info(where));
        if (equal && !done) rl::atomic_thread_fence(rl::mo_acquire, Info(where));  // spuriously; a little too strong
        c.enable_preemption();
      }
      expected = From(seen);
      return done;
    }
    static rl::context& ctx() { return rl::ctx(); }
    static bool IsLegalInCxx11(std::memory_order success, std::memory_order failure) {
      return failure == std::memory_order::relaxed || success == std::memory_order::seq_cst ||
             (failure == std::memory_order::acquire &&
              (success == std::memory_order::acquire || success == std::memory_order::acq_rel));
    }

    // The newest value, which the thread has seen from now on; nothing else follows from it, not even for its fences.
    T Observe(const Where& where) const {
      const World::FenceClocks unchanged;
      rl::ctx().disable_preemption();
      Bits other = static_cast<Bits>(~bits_.debug_value());
      static_cast<void>(bits_.compare_exchange(rl::bool_t<false>(), other, other, rl::mo_relaxed, Info(where)));
      rl::ctx().enable_preemption();
      return From(other);
    }

    mutable rl::atomic<Bits> bits_;
    Life life_;  // the last member: destroyed first
  };

  template <class T>
  class Var {
   public:
    Var() = default;
    explicit Var(T value) : value_(std::move(value)) {}
    Var(const Var&) = delete;
    Var& operator=(const Var&) = delete;

    const T& Read(Where where = Where::current()) const {
      life_.Read(where);
      return value_;
    }
    void Write(T value, Where where = Where::current()) {
      life_.Write("write", where);
      value_ = std::move(value);
    }
    T& Edit(Where where = Where::current()) {
      life_.Write("edit", where);
      return value_;
    }

   private:
    T value_{};
    Life life_;
  };

  class HOTPATH_CAPABILITY("mutex") Mutex {
   public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void Lock(Where where = Where::current()) HOTPATH_ACQUIRE() {
      life_.Touch(where);
      mu_.lock(Info(where));
    }
    [[nodiscard]] bool TryLock(Where where = Where::current()) HOTPATH_TRY_ACQUIRE(true) {
      life_.Touch(where);
      return mu_.try_lock(Info(where));  // may fail for no reason, as std::mutex may
    }
    void Unlock(Where where = Where::current()) HOTPATH_RELEASE() {
      life_.Touch(where);
      mu_.unlock(Info(where));
    }

   private:
    rl::mutex mu_;
    Life life_;
  };

  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from, Where where = Where::current()) {
    for (size_t done = 0; done < kBytes; done += 8) {
      const uint64_t word = from[done / 8].load(std::memory_order::relaxed, where);
      std::memcpy(static_cast<std::byte*>(to) + done, &word, std::min<size_t>(8, kBytes - done));
    }
  }
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>* to, const void* from, Where where = Where::current()) {
    for (size_t done = 0; done < kBytes; done += 8) {
      uint64_t word = 0;
      std::memcpy(&word, static_cast<const std::byte*>(from) + done, std::min<size_t>(8, kBytes - done));
      to[done / 8].store(word, std::memory_order::relaxed, where);
    }
  }

  // ---- Fences ----

  static void Fence(std::memory_order order, Where where = Where::current()) {
    order = Effective(order, Kind::kFence, where);
    if (order != std::memory_order::relaxed) rl::atomic_thread_fence(Convert(order), Info(where));
  }
  // Weakened, a light fence is none, and a heavy one is a fence of this thread only.
  static void LightFence(Where where = Where::current()) {
    if (Effective(std::memory_order::seq_cst, Kind::kLightFence, where) == std::memory_order::seq_cst) {
      World::Get().LightFence(where);
    }
  }
  static void FreeLightFence(Where where = Where::current()) { LightFence(where); }
  static void HeavyFence(Where where = Where::current()) {
    if (Effective(std::memory_order::seq_cst, Kind::kHeavyFence, where) == std::memory_order::seq_cst) {
      World::Get().HeavyFence(where);
    } else {
      rl::atomic_thread_fence(rl::mo_seq_cst, Info(where));
    }
  }
  [[nodiscard]] static bool AsymmetricFences() { return true; }

  // ---- Waiting ----

  // Nothing: letting others run here would hide the code that follows a bounded spin.
  static void Relax() {}
  static void Pause(Where where = Where::current()) { rl::yield(1, Info(where)); }
  static void Yield(Where where = Where::current()) { rl::yield(1, Info(where)); }

  [[nodiscard]] static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline,
                                 Where where = Where::current()) {
    World::Get().CheckMayPark();
    word.life_.Touch(where);
    rl::ctx().sched();
    if (word.Observe(where) != expected) return true;
    return World::Get().Sleep(&word, deadline != kNoDeadline, where);
  }
  static void Wake(Atomic<uint32_t>& word, uint32_t n, Where where = Where::current()) {
    World::Get().Wake(&word, n, where);
  }
  static void NoPark(int change) { World::Get().NoPark(change); }

  // ---- Threads ----

  static constexpr uint32_t kMaxThreads = kMaxModelThreads;

  static uint32_t ThreadIndex() { return World::Get().ThreadIndex(); }
  static uint32_t ThreadIndexPlusOne() { return World::Get().ThreadIndexPlusOne(); }
  [[nodiscard]] static bool Vanished(uint32_t) { return false; }  // models do not fork
  static void AtThreadExit(ThreadExitHook& hook) { World::Get().AtThreadExit(hook); }
  static bool CancelAtThreadExit(ThreadExitHook& hook, Where where = Where::current()) {
    return World::Get().CancelAtThreadExit(hook, where);
  }

  // For models: ends the calling thread, as its return from the model's thread() does. What it does afterwards, it does
  // as another thread, with an index of its own.
  static void EndThread() { World::Get().EndThread(); }

  // ---- Memory ----

  static constexpr size_t kLineSize = 8;

  // Relacy tells of leaks, of what is freed twice or used after its end, and gives memory out again at once or late.
  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&... args) {
    static_assert(alignof(T) <= 16, "memory in models is aligned to 16 bytes");
    void* memory = rl::ctx().alloc(sizeof(T), false, Info(Where::current()));
    try {
      return ::new (memory) T(std::forward<Args>(args)...);
    } catch (...) {
      rl::ctx().free(memory, false, Info(Where::current()));
      throw;
    }
  }
  template <class T>
  static void Delete(T* object, Where where = Where::current()) {
    if (object == nullptr) return;
    object->~T();
    rl::ctx().free(const_cast<std::remove_cv_t<T>*>(object), false, Info(where));
  }
};
static_assert(SyncPolicy<RelacySync>);

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_RELACY_SYNC_H_
