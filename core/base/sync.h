#ifndef HOTPATH_CORE_BASE_SYNC_H_
#define HOTPATH_CORE_BASE_SYNC_H_

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/copy_words.h"

// What a primitive may ask of the machine, gathered in one policy class: StdSync ships, models and chaos stress bring
// their own. A primitive takes the policy as its last template parameter and names no std::atomic, std::mutex,
// thread_local or raw fence. Every operation of a model's types takes one more argument, a defaulted source location,
// so shipped code calls them by name and spells the order, `x.load(std::memory_order::acquire)`, and never through an
// operator or a conversion.

namespace hotpath {

// When a parked thread gives up. kNoDeadline: never.
using Deadline = std::chrono::steady_clock::time_point;
inline constexpr Deadline kNoDeadline = Deadline::max();

inline constexpr uint32_t kWakeAll = INT32_MAX;

// Something to do when a thread ends; see StdSync::AtThreadExit. It belongs to its user, who embeds it: registering
// allocates nothing. Trivially destructible on purpose: destroying a registered one is the caller's mistake.
struct ThreadExitHook {
  using Run = void (*)(ThreadExitHook&);

  constexpr explicit ThreadExitHook(Run f) noexcept : run(f) {}
  ThreadExitHook(const ThreadExitHook&) = delete;
  ThreadExitHook& operator=(const ThreadExitHook&) = delete;

  const Run run;

  // For the policy only.
  ThreadExitHook* next = nullptr;
  ThreadExitHook** link = nullptr;  // what points at this hook; null: not registered
};

namespace sync_internal {

inline constexpr uint32_t kMaxThreads = 4096;

// This thread's index plus one; 0: it has none yet.
[[gnu::tls_model("initial-exec")]] inline constinit thread_local uint32_t thread_index_plus_one = 0;
uint32_t AcquireThreadIndex() noexcept;

// True once membarrier(2) is known to work: from then on a light fence is free. Never becomes false again.
extern constinit std::atomic<bool> light_fence_is_free;

#ifndef NDEBUG
inline constinit thread_local int no_park_depth = 0;
#endif

}  // namespace sync_internal

struct StdSync {
  // ---- Shared data ----

  template <class T>
  using Atomic = std::atomic<T>;

  // Plain data that another mechanism keeps from racing. Here it costs nothing; a model checks that every Read is
  // ordered with every Write and Edit, and that destroying it is ordered with both. The check stands at the call, so
  // take the reference again after anything that synchronises.
  template <class T>
  class Var {
   public:
    constexpr Var() = default;
    constexpr explicit Var(T value) : value_(std::move(value)) {}
    Var(const Var&) = delete;
    Var& operator=(const Var&) = delete;

    constexpr const T& Read() const noexcept { return value_; }
    constexpr void Write(T value) { value_ = std::move(value); }
    constexpr T& Edit() noexcept { return value_; }  // counts as a write

   private:
    T value_{};
  };

  // Blocking, not recursive. A capability: fields say HOTPATH_GUARDED_BY(mu_), holders use MutexLock.
  class HOTPATH_CAPABILITY("mutex") Mutex {
   public:
    constexpr Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void Lock() HOTPATH_ACQUIRE() { mu_.lock(); }
    [[nodiscard]] bool TryLock() HOTPATH_TRY_ACQUIRE(true) { return mu_.try_lock(); }
    void Unlock() HOTPATH_RELEASE() { mu_.unlock(); }

   private:
    std::mutex mu_;
  };

  // The bytes at `from`, as relaxed atomic words: each word is whole, the words together need not be (see
  // copy_words.h). ceil(kBytes / 8) words are read or written; a last partial word is stored with zeros after its
  // bytes.
  template <size_t kBytes>
  [[gnu::always_inline]] static void CopyWords(void* to, const Atomic<uint64_t>* from) noexcept {
    copy_words_internal::Load<kBytes>(to, from);
  }
  template <size_t kBytes>
  [[gnu::always_inline]] static void CopyWords(Atomic<uint64_t>* to, const void* from) noexcept {
    copy_words_internal::Store<kBytes>(to, from);
  }

  // ---- Fences ----

  static void Fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }

  // The two halves of an asymmetric store-load fence. If thread A does {store X; LightFence; load Y} and thread B does
  // {store Y; HeavyFence; load X}, at least one of them sees the other's store. LightFence is a compiler barrier where
  // the kernel has membarrier(2), a load and a branch around a seq_cst fence where it has not. HeavyFence is a system
  // call of 0.1 to 20 us: pay it once per batch, never per update. Two light fences order nothing between them.
  static void LightFence() noexcept {
    if (sync_internal::light_fence_is_free.load(std::memory_order::relaxed)) [[likely]] {
      std::atomic_signal_fence(std::memory_order::seq_cst);
    } else {
      std::atomic_thread_fence(std::memory_order::seq_cst);
    }
  }
  // The same, for who has seen that AsymmetricFences() is true: no branch.
  static void FreeLightFence() noexcept { std::atomic_signal_fence(std::memory_order::seq_cst); }
  static void HeavyFence() noexcept;

  // True iff HeavyFence is membarrier(2), and a LightFence therefore free.
  [[nodiscard]] static bool AsymmetricFences() noexcept;

  // ---- Waiting ----

  // One pause instruction. Relax is for a spin with a bound of its own, Pause for a loop that ends only when another
  // thread acts: a model schedules that thread there. Such a loop must also Yield at times, because the other thread
  // may not be running: use SpinWait.
  static void Relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
  }
  static void Pause() noexcept { Relax(); }
  static void Yield() noexcept;  // lets another runnable thread have this CPU

  // Sleeps while `word` holds `expected`, until a Wake of it or the deadline. Comparing and falling asleep are one step
  // with respect to Wake. False iff the deadline passed. True says nothing more than "look again": wake-ups may be
  // spurious. No happens-before comes of it: synchronise through `word`. Checked in debug builds: not inside NoPark.
  [[nodiscard]] static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) noexcept;

  // Wakes up to `n` threads parked on `word`. Only the address is used: the word may have been destroyed meanwhile, in
  // which case whoever parks at that address now sees one spurious wake-up.
  static void Wake(Atomic<uint32_t>& word, uint32_t n) noexcept;

  // NoPark(1) opens a stretch in which this thread must not park, NoPark(-1) closes it; they nest. Debug builds only.
  static void NoPark([[maybe_unused]] int change) noexcept {
#ifndef NDEBUG
    sync_internal::no_park_depth += change;
#endif
  }

  // ---- Threads ----

  static constexpr uint32_t kMaxThreads = sync_internal::kMaxThreads;

  // A number below kMaxThreads that no other living thread of this process has: the lowest free one, kept from a
  // thread's first call to its end. What a thread did before it ended happens-before the next owner's first call
  // returns. Wait-free after the first call, which is lock-free. One more thread than kMaxThreads is a CHECK failure.
  static uint32_t ThreadIndex() noexcept {
    const uint32_t plus_one = sync_internal::thread_index_plus_one;
    if (plus_one != 0) [[likely]]
      return plus_one - 1;
    return sync_internal::AcquireThreadIndex();
  }
  // ThreadIndex() + 1, or 0 if this thread has had no call of ThreadIndex() yet. For tables whose first entry means
  // "none": a look-up without a branch. Wait-free.
  static uint32_t ThreadIndexPlusOne() noexcept { return sync_internal::thread_index_plus_one; }

  // True iff the thread that had `index` did not survive fork(2) into this process. Such an index is never given out
  // again, and its hooks never run, for its owner may have stopped in the middle of anything.
  [[nodiscard]] static bool Vanished(uint32_t index) noexcept;

  // hook.run(hook) is called once when the calling thread ends. Order: first every C++ thread_local of the thread is
  // destroyed, then hooks run, last registered first, then ThreadIndex() is given back. A hook may use ThreadIndex(),
  // register hooks, cancel other hooks, and free its own. It may be called during thread teardown too, from the
  // destructors of thread_locals and of pthread keys, except in the last of the PTHREAD_DESTRUCTOR_ITERATIONS rounds of
  // the latter. The thread that calls exit(3) does not end in this sense: its hooks never run. Blocking, brief: one
  // mutex of the process, as at a thread's end.
  static void AtThreadExit(ThreadExitHook& hook) noexcept;

  // From any thread: true if `hook` was registered, and now will not run. False if it is not registered, ran, or never
  // was; if it is running, waits for its end first. A hook that cancels itself is a CHECK failure.
  static bool CancelAtThreadExit(ThreadExitHook& hook) noexcept;

  // ---- Memory ----

  static constexpr size_t kLineSize = kCacheLineSize;

  // new and delete, so that a model can see leaks and uses after the end. New throws what `new` and the constructor do.
  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&... args) {
    return new T(std::forward<Args>(args)...);
  }
  template <class T>
  static void Delete(T* object) noexcept {
    delete object;
  }
};

// What every policy offers. The comments in StdSync are the contract.
template <class S>
concept SyncPolicy = requires(typename S::template Atomic<uint64_t>& word, typename S::template Atomic<uint32_t>& key,
                              typename S::template Var<int>& var, typename S::Mutex& mutex, ThreadExitHook& hook,
                              uint64_t value, uint32_t number, void* bytes, const void* const_bytes, int* object) {
  { word.load(std::memory_order::relaxed) } -> std::same_as<uint64_t>;
  word.store(value, std::memory_order::relaxed);
  { word.exchange(value, std::memory_order::relaxed) } -> std::same_as<uint64_t>;
  { word.fetch_add(value, std::memory_order::relaxed) } -> std::same_as<uint64_t>;
  {
    word.compare_exchange_weak(value, value, std::memory_order::relaxed, std::memory_order::relaxed)
  } -> std::same_as<bool>;
  {
    word.compare_exchange_strong(value, value, std::memory_order::relaxed, std::memory_order::relaxed)
  } -> std::same_as<bool>;
  { std::as_const(var).Read() } -> std::same_as<const int&>;
  var.Write(0);
  { var.Edit() } -> std::same_as<int&>;
  mutex.Lock();
  { mutex.TryLock() } -> std::same_as<bool>;
  mutex.Unlock();
  S::template CopyWords<9>(bytes, &word);
  S::template CopyWords<9>(&word, const_bytes);
  S::Fence(std::memory_order::seq_cst);
  S::LightFence();
  S::FreeLightFence();
  S::HeavyFence();
  { S::AsymmetricFences() } -> std::same_as<bool>;
  S::Relax();
  S::Pause();
  S::Yield();
  { S::Park(key, number) } -> std::same_as<bool>;
  { S::Park(key, number, kNoDeadline) } -> std::same_as<bool>;
  S::Wake(key, number);
  S::NoPark(1);
  { S::ThreadIndex() } -> std::same_as<uint32_t>;
  { S::ThreadIndexPlusOne() } -> std::same_as<uint32_t>;
  { S::Vanished(number) } -> std::same_as<bool>;
  S::AtThreadExit(hook);
  { S::CancelAtThreadExit(hook) } -> std::same_as<bool>;
  { S::template New<int>(1) } -> std::same_as<int*>;
  S::Delete(object);
  requires std::same_as<decltype(S::kMaxThreads), const uint32_t>;
  requires std::same_as<decltype(S::kLineSize), const size_t>;
};
static_assert(SyncPolicy<StdSync>);

// Holds a mutex from here to the end of the block: MutexLock lock(mu_);
template <class Mutex>
class HOTPATH_SCOPED_CAPABILITY [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mu) HOTPATH_ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() HOTPATH_RELEASE() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// One call per turn of a loop that waits for another thread: pauses, and gives the CPU away every kSpins-th time, for
// the other thread may not be running.
template <SyncPolicy Sync = StdSync>
class SpinWait {
 public:
  void operator()() noexcept {
    if (++turns_ % kSpins == 0) {
      Sync::Yield();
    } else {
      Sync::Pause();
    }
  }

 private:
  static constexpr uint32_t kSpins = 64;
  uint32_t turns_ = 0;
};

}  // namespace hotpath

#endif  // HOTPATH_CORE_BASE_SYNC_H_
